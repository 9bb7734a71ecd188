# etc/egret.ini, which is the table of keys as egretd has it, as a page: docs/egret.ini.md.
BEGIN {
	print "# egret.ini: the machine that egretd runs on\n"
	print "Made from etc/egret.ini by `make keys`: every key, with its default. egretd reads the file again when it"
	print "changes, and on SIGHUP; an edit with a mistake in it changes nothing. A comment starts at `;` or `#`, with a blank before"
	print "it; quotes around a value keep both. Each key stands once. Who may go where is in acl.ini ([policy.md](policy.md))."
}
/^\[/ {
	printf "\n## %s\n%s", $0, about
	about = ""
	begun = 1
	next
}
/^; Values: / { sub(/^; /, ""); values = $0; next }
/^;/ { sub(/^; ?/, ""); about = about $0 "\n"; next }
/ = / {
	key = $0; sub(/ = .*/, "", key)
	value = $0; sub(/^[^=]*= /, "", value)
	gsub(/</, "\\&lt;", about)
	printf "\n### %s\nDefault: `%s`. %s\n\n%s", key, value, values, about
	about = ""
}
!begun { about = "" } # what the file says of itself
