# A page of docs/ as the source of a man page: the title becomes NAME, headings go up one level, links to
# other pages become their words.
NR == 1 {
	sub(/^# /, "")
	split($0, title, ": ")
	print "# NAME\n\n" title[1] " - " title[2] "\n\n# DESCRIPTION"
	next
}
/^```/ { code = !code }
!code {
	while (match($0, /\[[^]]*\]\([^)]*\)/)) {
		link = substr($0, RSTART + 1, RLENGTH - 2)
		sub(/\].*/, "", link)
		$0 = substr($0, 1, RSTART - 1) link substr($0, RSTART + RLENGTH)
	}
	sub(/^##/, "#")
}
!code && /^# / { $0 = toupper($0) }
{ print }
