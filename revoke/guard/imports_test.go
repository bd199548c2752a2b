package guard

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// A guard goes into other people's services: what it imports, they carry.
func TestTheGuardIsLight(t *testing.T) {
	f := func(folder string, allowed ...string) {
		t.Helper()
		files, err := filepath.Glob(filepath.Join(folder, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatal(files, err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
			if err != nil {
				t.Fatal(err)
			}
			for _, spec := range parsed.Imports {
				path, err := strconv.Unquote(spec.Path.Value)
				if err != nil {
					t.Fatal(err)
				}
				if !isAllowed(path, allowed) {
					t.Errorf("%s imports %s", file, path)
				}
			}
		}
	}
	f(".", "github.com/nats-io/nats.go", "github.com/estop-project/estop/revoke")
	f("..", "github.com/nats-io/nats.go", "github.com/nats-io/nats.go/jetstream", "github.com/go-jose/go-jose/v4")
}

func isAllowed(path string, allowed []string) bool {
	first, _, _ := strings.Cut(path, "/")
	if !strings.Contains(first, ".") {
		return true // the standard library
	}
	for _, a := range allowed {
		if path == a {
			return true
		}
	}
	return false
}
