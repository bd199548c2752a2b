package clickhouse

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAnInsertIsSeparatedFromItsRows(t *testing.T) {
	type want struct{ target, settings, format, rows string }
	f := func(text string, w want) {
		t.Helper()
		in, ok := splitInsert(text)
		if !ok {
			t.Errorf("%q is not taken for an INSERT with rows", text)
			return
		}
		got := want{in.target, in.settings, in.format, text[in.rows:]}
		if diff := cmp.Diff(w, got, cmp.AllowUnexported(want{})); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
	f("INSERT INTO t (a, b) FORMAT Native\n\x00\n\x01", want{"INSERT INTO t (a, b)", "", "Native", "\x00\n\x01"})
	f("INSERT INTO t FORMAT Native\n\n\x01", want{"INSERT INTO t", "", "Native", "\n\x01"})
	f("insert into t format JSONEachRow {\"a\":1}", want{"insert into t", "", "JSONEachRow", `{"a":1}`})
	f("INSERT INTO t FORMAT CSV \r\n1,2", want{"INSERT INTO t", "", "CSV", "1,2"})
	f("INSERT INTO t VALUES ('x; FORMAT CSV')", want{"INSERT INTO t", "", "Values", " ('x; FORMAT CSV')"})
	f("INSERT INTO t FORMAT Values\n(1)", want{"INSERT INTO t", "", "Values", "\n(1)"})
	f("INSERT INTO t SETTINGS async_insert = 1, x = 'FORMAT CSV' VALUES (1)",
		want{"INSERT INTO t", "SETTINGS async_insert = 1, x = 'FORMAT CSV'", "Values", " (1)"})
	f("INSERT INTO t (a) SETTINGS x=1 FORMAT Native\nrows", want{"INSERT INTO t (a)", "SETTINGS x=1", "Native", "rows"})
	f("INSERT INTO `format` (`values`, select_) VALUES (1)", want{"INSERT INTO `format` (`values`, select_)", "", "Values", " (1)"})
	f("INSERT INTO format VALUES (1)", want{"INSERT INTO format", "", "Values", " (1)"})
	f("INSERT INTO db.values FORMAT TSV\n1", want{"INSERT INTO db.values", "", "TSV", "1"})
	f("INSERT INTO t (* EXCEPT(format)) VALUES (1)", want{"INSERT INTO t (* EXCEPT(format))", "", "Values", " (1)"})
	f("-- note\n/* FORMAT CSV */ INSERT INTO t -- VALUES\nFORMAT TSV\n1", want{"-- note\n/* FORMAT CSV */ INSERT INTO t -- VALUES", "", "TSV", "1"})
	f("INSERT INTO TABLE FUNCTION remote('h', 'FORMAT', t) FORMAT TSV\n1", want{"INSERT INTO TABLE FUNCTION remote('h', 'FORMAT', t)", "", "TSV", "1"})
	f("INSERT INTO t", want{"INSERT INTO t", "", "Values", ""})
	f("INSERT INTO t (a);", want{"INSERT INTO t (a)", "", "Values", ""})
}

func TestOtherStatementsAreNotTakenForAnInsertWithRows(t *testing.T) {
	for _, text := range []string{
		"", "SELECT 1", "INSERT", "INSERT INTO", "INSERT INTO t SELECT 1 FORMAT CSV",
		"INSERT INTO t (SELECT 1)", "INSERT INTO t (a) (WITH x AS (SELECT 1) SELECT * FROM x)",
		"INSERT INTO t WITH 1 AS x SELECT x", "INSERT INTO t FROM INFILE '/etc/passwd' FORMAT CSV",
		"INSERT INTO t FROM s SELECT a", "INSERT INTO t FORMAT 'CSV'", "INSERT INTO t FORMAT",
		"INSERT INTO t VALUES_", "INSERT INTO 't", "WITH 1 AS x INSERT INTO t SELECT x", "/* INSERT INTO t VALUES (1)",
		"CREATE TABLE t (a String) -- INSERT INTO t VALUES",
	} {
		in, ok := splitInsert(text)
		if ok && !(text == "INSERT INTO t VALUES_" && in.rows == len(text)) {
			t.Errorf("%q is taken for an INSERT with rows: %+v", text, in)
		}
	}
}

func TestTheOutlineSeesClausesAndNotWhatLooksLikeThem(t *testing.T) {
	f := func(sql string, want outline) {
		t.Helper()
		got := outlineOf(sql)
		if want.clauses == 0 {
			want.clauses = got.clauses
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(outline{})); diff != "" {
			t.Errorf("%q (-want +got):\n%s", sql, diff)
		}
	}
	f("SELECT 1", outline{clauses: 8})
	f("SELECT 1 -- FORMAT CSV", outline{clauses: 8})
	f("SELECT 1 ; ", outline{clauses: 8})
	f("SELECT 1 FORMAT JSON", outline{format: "JSON", clauses: 9})
	f("SELECT 1 FORMAT JSON;", outline{format: "JSON", clauses: 9})
	f("SELECT 1 FORMAT JSON SETTINGS max_threads = 1", outline{format: "JSON", clauses: 9})
	f("SELECT 1 SETTINGS max_threads = 1 FORMAT JSON", outline{format: "JSON", clauses: 34})
	f("SELECT format FROM t", outline{clauses: 20})
	f("SELECT a AS format FROM t FORMAT CSV", outline{format: "CSV", clauses: 26})
	f("SELECT 'FORMAT JSON', \"INTO OUTFILE\"", outline{})
	f("SELECT * FROM (SELECT 1 FORMAT JSON)", outline{})
	f("SELECT 1; SELECT 2", outline{several: true})
	f("SELECT ';'; -- and\n /* that */ ;", outline{})
	f("SELECT 1 INTO /**/ OUTFILE '/tmp/x'", outline{outfile: true})
	f("INSERT INTO t FROM INFILE 'x' FORMAT CSV", outline{infile: true, insert: true, format: "CSV"})
	f("WITH 1 AS x INSERT INTO t SELECT x", outline{insert: true})
	f("SELECT a, count() FROM t GROUP BY a WITH TOTALS FORMAT JSON", outline{totals: true, format: "JSON"})
	f("SELECT $x$ FORMAT CSV; $x$ AS a", outline{})
}

func TestQuotedTextReadsBackAsOneLiteral(t *testing.T) {
	for _, text := range []string{"", "a", "it's", `\`, `\'`, "a\x00b\n", "; DROP TABLE t --"} {
		l := lexer{sql: quoteText(text)}
		first, second := l.next(), l.next()
		if first.kind != tokenQuoted || second.kind != tokenEnd {
			t.Errorf("%q is quoted as %q, which is not one literal", text, quoteText(text))
		}
	}
}

func FuzzSplitInsert(f *testing.F) {
	for _, seed := range []string{
		"INSERT INTO t (a) SETTINGS x=1 FORMAT Native\n\x00", "INSERT INTO t VALUES (1)", "INSERT INTO `t`.\"u\" FORMAT CSV",
		"insert into function f('(') values", "/* */ INSERT INTO $a$b$a$ VALUES", "INSERT INTO t ((", "INSERT INTO t)) FORMAT TSV",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		in, ok := splitInsert(text)
		if !ok {
			return
		}
		if in.rows < 0 || in.rows > len(text) {
			t.Fatalf("rows begin at %d of %d", in.rows, len(text))
		}
		if !strings.HasPrefix(strings.TrimSpace(text), in.target) {
			t.Fatalf("target %q is not what %q begins with", in.target, text)
		}
		if !isPlainName(in.format) && in.format != "" && in.format[0] < '0' {
			t.Fatalf("format %q", in.format)
		}
		// What is sent to the engine reads one file, the spool, and is one statement.
		shape := outlineOf(in.fromFile("/spool"))
		if shape.several {
			t.Fatalf("%q became several statements: %q", text, in.fromFile("/spool"))
		}
	})
}

func FuzzOutline(f *testing.F) {
	for _, seed := range []string{"SELECT 1 FORMAT JSON;", "SELECT 'a\\'", "WITH TOTALS INTO OUTFILE", "$$ $$", "# x\n#!y\n--z", "(((", "FORMAT FORMAT FORMAT"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		shape := outlineOf(sql)
		if shape.clauses < 0 || shape.clauses > len(sql) {
			t.Fatalf("clauses begin at %d of %d", shape.clauses, len(sql))
		}
		firstWord(sql)
	})
}
