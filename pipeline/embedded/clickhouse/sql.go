package clickhouse

import (
	"strings"
)

// This file looks at SQL as far as the handler must: which kind of statement it is, whether
// rows of an INSERT follow it, and which format an answer asks for. The engine's parser
// judges everything else.

type tokenKind uint8

const (
	tokenEnd    tokenKind = iota
	tokenWord             // a bare word or a number
	tokenQuoted           // 'text', "name", `name` or $tag$text$tag$
	tokenMark             // any other single byte
	tokenBroken           // a quote or comment that does not close
)

type token struct {
	kind       tokenKind
	start, end int
}

// lexer cuts SQL into tokens and skips space and comments, by ClickHouse's rules.
type lexer struct {
	sql string
	pos int
}

func (l *lexer) next() token {
	if !l.skipSpace() {
		return l.rest()
	}
	if l.pos >= len(l.sql) {
		return token{kind: tokenEnd, start: l.pos, end: l.pos}
	}
	start := l.pos
	switch c := l.sql[start]; {
	case isWordByte(c):
		for l.pos < len(l.sql) && isWordByte(l.sql[l.pos]) {
			l.pos++
		}
		return token{tokenWord, start, l.pos}
	case c == '\'' || c == '"' || c == '`':
		return l.quoted(c)
	case c == '$':
		return l.heredoc()
	}
	l.pos++
	return token{tokenMark, start, l.pos}
}

// skipSpace passes over space and comments. It returns false in a comment without an end.
func (l *lexer) skipSpace() bool {
	for l.pos < len(l.sql) {
		rest := l.sql[l.pos:]
		switch {
		case strings.IndexByte(" \t\n\r\f\v", rest[0]) >= 0:
			l.pos++
		case strings.HasPrefix(rest, "--"), strings.HasPrefix(rest, "#!"), strings.HasPrefix(rest, "# "):
			end := strings.IndexByte(rest, '\n')
			if end < 0 {
				end = len(rest)
			}
			l.pos += end
		case strings.HasPrefix(rest, "/*"):
			end := strings.Index(rest[2:], "*/")
			if end < 0 {
				return false
			}
			l.pos += 2 + end + 2
		default:
			return true
		}
	}
	return true
}

func (l *lexer) quoted(quote byte) token {
	start := l.pos
	for i := start + 1; i < len(l.sql); i++ {
		switch l.sql[i] {
		case '\\':
			i++
		case quote:
			if i+1 < len(l.sql) && l.sql[i+1] == quote {
				i++
				continue
			}
			l.pos = i + 1
			return token{tokenQuoted, start, l.pos}
		}
	}
	return l.rest()
}

func (l *lexer) heredoc() token {
	start := l.pos
	tagEnd := start + 1
	for tagEnd < len(l.sql) && isWordByte(l.sql[tagEnd]) {
		tagEnd++
	}
	if tagEnd >= len(l.sql) || l.sql[tagEnd] != '$' {
		l.pos++
		return token{tokenMark, start, l.pos}
	}
	tag := l.sql[start : tagEnd+1]
	end := strings.Index(l.sql[tagEnd+1:], tag)
	if end < 0 {
		return l.rest()
	}
	l.pos = tagEnd + 1 + end + len(tag)
	return token{tokenQuoted, start, l.pos}
}

func (l *lexer) rest() token {
	start := l.pos
	l.pos = len(l.sql)
	return token{tokenBroken, start, l.pos}
}

// is tells whether t is the bare word upper, in any case.
func (l *lexer) is(t token, upper string) bool {
	return t.kind == tokenWord && strings.EqualFold(l.sql[t.start:t.end], upper)
}

// mark returns the byte of a mark, else 0.
func (l *lexer) mark(t token) byte {
	if t.kind != tokenMark {
		return 0
	}
	return l.sql[t.start]
}

func isWordByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

// firstWord returns the first word of a statement in upper case, past opening parentheses;
// empty when the statement begins with something else.
func firstWord(sql string) string {
	l := lexer{sql: sql}
	for {
		t := l.next()
		switch {
		case l.mark(t) == '(':
		case t.kind == tokenWord:
			return strings.ToUpper(sql[t.start:t.end])
		default:
			return ""
		}
	}
}

// outline is what a statement without rows says about itself.
type outline struct {
	format  string // the format that FORMAT names; empty when there is no such clause
	clauses int    // where the FORMAT clause begins; without one, where the statement ends
	outfile bool   // INTO OUTFILE: it would write a file of this machine
	infile  bool   // FROM INFILE: it would read one
	insert  bool   // INSERT INTO, also behind WITH
	totals  bool   // WITH TOTALS
	several bool   // something follows a semicolon
}

// outlineOf reads the outline of a statement. Quotes and comments do not count, so a text
// that looks like a clause is not mistaken for one.
func outlineOf(sql string) outline {
	var o outline
	l := lexer{sql: sql}
	depth := 0
	ended := false
	named := token{}           // the word behind a FORMAT, until it is clear what it is
	var before, previous token // the two tokens before t
	for t := l.next(); t.kind != tokenEnd; before, previous, t = previous, t, l.next() {
		mark := l.mark(t)
		if ended && mark != ';' {
			o.several = true
		}
		if named.kind != tokenEnd && mark != ';' && !l.is(t, "SETTINGS") {
			o.format = "" // a column or table of that name
		}
		named = token{}
		switch mark {
		case '(', '[', '{':
			depth++
		case ')', ']', '}':
			depth--
		case ';':
			ended = true
		}
		if !ended && o.format == "" {
			o.clauses = t.end
		}
		if t.kind != tokenWord {
			continue
		}
		o.outfile = o.outfile || l.is(t, "OUTFILE") && l.is(previous, "INTO")
		o.infile = o.infile || l.is(t, "INFILE") && l.is(previous, "FROM")
		o.insert = o.insert || l.is(t, "INTO") && l.is(previous, "INSERT")
		o.totals = o.totals || l.is(t, "TOTALS") && l.is(previous, "WITH")
		if depth == 0 && l.is(previous, "FORMAT") && before.kind != tokenEnd {
			o.format, o.clauses, named = sql[t.start:t.end], previous.start, t
		}
	}
	return o
}

// insertion is an INSERT whose rows follow the statement.
type insertion struct {
	target   string // INSERT INTO t (a, b)
	settings string // SETTINGS x = 1, or empty
	format   string // the format of the rows, e.g. Native
	rows     int    // where the rows begin in the text that was split
}

// splitInsert finds out whether text is an INSERT with rows behind it. It returns false for
// every other statement, and for INSERT … SELECT and INSERT … FROM INFILE. Text that ends
// before FORMAT or VALUES counts as an INSERT of Values, as ClickHouse has it.
func splitInsert(text string) (insertion, bool) {
	l := lexer{sql: text}
	if !l.is(l.next(), "INSERT") {
		return insertion{}, false
	}
	t := l.next()
	if l.is(t, "INTO") {
		t = l.next()
	}
	if l.is(t, "TABLE") || l.is(t, "FUNCTION") {
		t = l.next()
	}
	if t.kind != tokenWord && t.kind != tokenQuoted { // the name, which may look like a clause
		return insertion{}, false
	}
	targetEnd, settingsStart, depth := -1, -1, 0
	opened := false // the token before was a parenthesis
	for {
		t = l.next()
		if t.kind == tokenBroken {
			return insertion{}, false
		}
		if opened && (l.is(t, "SELECT") || l.is(t, "WITH")) {
			return insertion{}, false
		}
		m := l.mark(t)
		opened = m == '('
		switch {
		case m == '(':
			depth++
		case m == ')':
			depth--
		case m == '.' && depth == 0:
			t = l.next() // the second part of the name
		case depth > 0 && t.kind != tokenEnd:
		case l.is(t, "SELECT"), l.is(t, "WITH"), l.is(t, "FROM"), l.is(t, "WATCH"), l.is(t, "EXPLAIN"):
			return insertion{}, false
		case l.is(t, "SETTINGS"):
			targetEnd, settingsStart = t.start, t.start
		case l.is(t, "VALUES"):
			return cutInsert(text, targetEnd, settingsStart, t, "Values", t.end), true
		case l.is(t, "FORMAT"):
			name := l.next()
			if name.kind != tokenWord {
				return insertion{}, false
			}
			format := text[name.start:name.end]
			if strings.EqualFold(format, "Values") {
				return cutInsert(text, targetEnd, settingsStart, t, format, name.end), true
			}
			return cutInsert(text, targetEnd, settingsStart, t, format, rowsStart(text, name.end)), true
		case t.kind == tokenEnd, m == ';':
			return cutInsert(text, targetEnd, settingsStart, t, "Values", t.end), true
		}
	}
}

func cutInsert(text string, targetEnd, settingsStart int, clause token, format string, rows int) insertion {
	in := insertion{format: format, rows: rows}
	if settingsStart >= 0 {
		in.settings = strings.TrimSpace(text[settingsStart:clause.start])
	} else {
		targetEnd = clause.start
	}
	in.target = strings.TrimSpace(text[:targetEnd])
	return in
}

// rowsStart passes over what ClickHouse passes over between a format's name and the rows:
// blanks, and then one line's end.
func rowsStart(text string, pos int) int {
	for pos < len(text) && strings.IndexByte(" \t\f", text[pos]) >= 0 {
		pos++
	}
	if pos < len(text) && text[pos] == '\r' {
		pos++
	}
	if pos < len(text) && text[pos] == '\n' {
		pos++
	}
	return pos
}

// quoteText writes s as a text literal of SQL.
func quoteText(s string) string {
	var b strings.Builder
	b.Grow(len(s) + 2)
	b.WriteByte('\'')
	for i := 0; i < len(s); i++ {
		if s[i] == '\'' || s[i] == '\\' {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	b.WriteByte('\'')
	return b.String()
}

// quoteName writes s as a name of SQL.
func quoteName(s string) string {
	return "`" + strings.NewReplacer("\\", "\\\\", "`", "\\`").Replace(s) + "`"
}
