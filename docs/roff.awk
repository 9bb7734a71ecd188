# What lowdown writes, without what mandoc warns of: \fC for code, which not every device has, and a
# paragraph behind a heading, where one begins anyway.
/^\.[LP]P$/ && heading { heading = 0; next }
{
	heading = before ~ /^\.S[HS]$/
	before = $0
	gsub(/\\fC/, "\\fB")
	print
}
