package revoke

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func protocol(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// guardReasons are the words under which the guard in Go counts what it refuses.
func guardReasons(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "guard/stats.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	ast.Inspect(file, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok || v.Names[0].Name != "reasons" {
			return true
		}
		ast.Inspect(v, func(n ast.Node) bool {
			if b, ok := n.(*ast.BasicLit); ok && b.Kind == token.STRING {
				word, err := strconv.Unquote(b.Value)
				if err != nil {
					t.Fatal(err)
				}
				words = append(words, word)
			}
			return true
		})
		return false
	})
	return words
}

// otherReasons are those of the guards in other languages.
func otherReasons(t *testing.T) []string {
	t.Helper()
	said := regexp.MustCompile(`(?:new|raise) Refused\("(\w+)"`)
	var words []string
	for _, pattern := range []string{"sdk/python/estop_guard/*.py", "sdk/typescript/src/*.ts"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("no %s: %v", pattern, err)
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range said.FindAllStringSubmatch(string(b), -1) {
				words = append(words, m[1])
			}
		}
	}
	return words
}

func TestTheProtocolListsEveryReasonOfARefusal(t *testing.T) {
	_, section, found := strings.Cut(protocol(t), "\n## Refusals\n")
	if !found {
		t.Fatal("docs/protocol.md has no section of refusals")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	var listed []string
	for _, row := range regexp.MustCompile("(?m)^\\| (`.*?`) \\|").FindAllStringSubmatch(section, -1) {
		for _, word := range regexp.MustCompile("`(\\w+)`").FindAllStringSubmatch(row[1], -1) {
			listed = append(listed, word[1])
		}
	}
	known := append(guardReasons(t), otherReasons(t)...)
	for _, word := range []*[]string{&listed, &known} {
		slices.Sort(*word)
		*word = slices.Compact(*word)
	}
	if !slices.Equal(listed, known) {
		t.Errorf("docs/protocol.md lists  %q\nguards refuse with     %q", listed, known)
	}
	if len(guardReasons(t)) < 15 {
		t.Error("the reasons of the guard are not found in guard/stats.go")
	}
}

// A reason that no vector ends in is one that another language may spell as it likes.
func TestVectorsHaveEveryReasonOfARefusal(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range readVectors(t).Cases {
		for _, s := range c.Steps {
			seen[s.Reason] = true
		}
	}
	for _, word := range guardReasons(t) {
		if !seen[word] && word != "publishers" { // it takes 256 runs
			t.Errorf("no vector is refused with %q", word)
		}
	}
}

// Every member of what travels is named on the page.
func TestTheProtocolNamesEveryMember(t *testing.T) {
	text := protocol(t)
	for _, of := range []any{
		claims{}, event{}, member{}, subID{}, opaque{}, riskClaims{}, riskEvent{}, riskMember{}, beatClaims{}, Ack{}, Report{}, jwkMore{}, keyUse{}, Rules{},
	} {
		kind := reflect.TypeOf(of)
		for i := range kind.NumField() {
			name, _, _ := strings.Cut(kind.Field(i).Tag.Get("json"), ",")
			if name == "" || name == "-" {
				continue
			}
			if !regexp.MustCompile("[`\"]" + regexp.QuoteMeta(name) + "[`\"]").MatchString(text) {
				t.Errorf("docs/protocol.md lacks the member %s of %s", name, kind.Name())
			}
		}
	}
}
