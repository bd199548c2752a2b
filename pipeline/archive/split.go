package archive

import "strings"

// splitStatements cuts a file of SQL at the semicolons between statements. Semicolons in
// strings, quoted names and comments do not cut; comments are left out, so that none of
// them can hide the end of a statement. It knows the lexical rules of ClickHouse: a quote
// inside quotes is doubled or follows a backslash, -- and # end with the line, /* nests not.
func splitStatements(sql string) []string {
	var statements []string
	var b strings.Builder
	flush := func() {
		if s := strings.TrimSpace(b.String()); s != "" {
			statements = append(statements, s)
		}
		b.Reset()
	}
	for i := 0; i < len(sql); {
		n := tokenLength(sql[i:])
		switch token := sql[i : i+n]; {
		case token == ";":
			flush()
		case isComment(token):
			b.WriteByte(' ')
		default:
			b.WriteString(token)
		}
		i += n
	}
	flush()
	return statements
}

// tokenLength returns the length of the string, quoted name or comment that s begins with,
// and 1 for any other byte.
func tokenLength(s string) int {
	switch {
	case s[0] == '\'' || s[0] == '"' || s[0] == '`':
		return quotedLength(s)
	case strings.HasPrefix(s, "--") || strings.HasPrefix(s, "# ") || strings.HasPrefix(s, "#!"):
		return until(s, "\n", 0)
	case strings.HasPrefix(s, "/*"):
		return until(s, "*/", 2)
	}
	return 1
}

func isComment(token string) bool {
	return len(token) > 1 && (token[0] == '-' || token[0] == '#' || token[0] == '/')
}

// until returns the length of s up to and with end, searched from the byte from.
func until(s, end string, from int) int {
	if i := strings.Index(s[from:], end); i >= 0 {
		return from + i + len(end)
	}
	return len(s)
}

func quotedLength(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case s[0]:
			return i + 1 // a doubled quote opens the next quoted token at once
		}
	}
	return len(s)
}

// quoteName quotes the name of a database or table.
func quoteName(name string) string {
	return "`" + strings.NewReplacer(`\`, `\\`, "`", "\\`").Replace(name) + "`"
}
