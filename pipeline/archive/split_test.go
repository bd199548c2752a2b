package archive

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSplitStatementsCutsOnlyBetweenStatements(t *testing.T) {
	f := func(sql string, want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, splitStatements(sql)); diff != "" {
			t.Errorf("splitStatements(%q): -want +got\n%s", sql, diff)
		}
	}
	f("")
	f(" ; ;\n")
	f("SELECT 1; SELECT 2", "SELECT 1", "SELECT 2")
	f("SELECT 'a;b'; SELECT 2;", "SELECT 'a;b'", "SELECT 2")
	f(`SELECT 'it''s;', 'a\';b'; X`, `SELECT 'it''s;', 'a\';b'`, "X")
	f("SELECT `a;b`, \"c;d\"; X", "SELECT `a;b`, \"c;d\"", "X")
	f("-- one; two\nSELECT 1 -- three; four\n; X", "SELECT 1", "X")
	f("SELECT /* ; ' */ 1; X", "SELECT   1", "X")
	f("SELECT 1 - 2 / 3; X", "SELECT 1 - 2 / 3", "X")
	f("SELECT '-- no comment;'; X", "SELECT '-- no comment;'", "X")
	f("SELECT 'open; end", "SELECT 'open; end")
	f("SELECT 1 /* open; end", "SELECT 1")
	f(`SELECT 'trailing\`, `SELECT 'trailing\`)
}

func FuzzSplitStatementsLosesNoStatement(f *testing.F) {
	f.Add("SELECT 'a;b' -- c;\n; /* d; */ X", "Y")
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, s := range splitStatements(a) {
			if strings.TrimSpace(s) == "" {
				t.Fatalf("empty statement in %q", a)
			}
		}
		whole := splitStatements("SELECT 1;\n" + a)
		if len(whole) == 0 || whole[0] != "SELECT 1" {
			t.Fatalf("first statement of %q is %q", a, whole)
		}
		if strings.ContainsAny(b, ";'\"`-#/*\\") || strings.TrimSpace(b) == "" {
			return
		}
		if got := splitStatements(b + ";" + b); len(got) != 2 {
			t.Fatalf("%q twice is %d statements", b, len(got))
		}
	})
}

func TestMigrationsAreNumberedAndSplit(t *testing.T) {
	all, err := loadMigrations(migrationFiles)
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range all {
		if int(m.version) != i+1 {
			t.Errorf("migration %q has number %d, want %d", m.name, m.version, i+1)
		}
		for _, s := range m.statements {
			if !strings.HasPrefix(s, "CREATE ") && !strings.HasPrefix(s, "ALTER ") {
				t.Errorf("%s: statement begins %.40q", m.name, s)
			}
		}
	}
	if n := len(all[0].statements); n != 12 {
		t.Errorf("0001 has %d statements, want 12", n)
	}
}
