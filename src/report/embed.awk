# SPDX-License-Identifier: BSD-3-Clause
# The page of the report as C: two arrays of its lines, what comes before the data and what comes after. page.html says where style,
# data and script go; style and script lose the blanks and whole-line comments that only their readers need.
#
#   awk -v style=page.css -v script=page.js -f embed.awk page.html
function quote(line) {
    gsub(/\\/, "&&", line)
    gsub(/"/, "\\\\&", line)
    return "    \"" line "\\n\","
}

function include(file,    line, comment) {
    while ((getline line < file) > 0) {
        if (line ~ /^[ \t]*\/\*/)
            comment = 1
        if (!comment) {
            sub(/^[ \t]+/, "", line)
            if (line != "" && line !~ /^\/\//)
                print quote(line)
        }
        if (line ~ /\*\/[ \t]*$/)
            comment = 0
    }
    close(file)
}

BEGIN { print "static const char *const page_before[] = {" }
$0 == "@STYLE@" { include(style); next }
$0 == "@SCRIPT@" { include(script); next }
$0 == "@DATA@" { print "    NULL};\n\nstatic const char *const page_after[] = {"; next }
{ print quote($0) }
END { print "    NULL};" }
