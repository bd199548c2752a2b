// Package estop_test holds tests of the module as a whole.
package estop_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/estop-project/estop"

// graph is who imports whom, by import path, tests left out.
type graph map[string][]string

// rule says what the packages of a folder may import of ours, and whether only certain
// others.
type rule struct {
	folder string
	ours   []string // folders below the module, with all that is in them; "" is all but cmd
	others []string // modules beside the standard library; nil is any
}

// rules are the direction of imports that the design fixes. The first rule whose folder
// holds a package is that package's.
var rules = []rule{
	{folder: "models", ours: []string{"models"}, others: []string{"gonum.org/v1/gonum"}},
	{folder: "detector/catalog", ours: []string{}},
	{folder: "detector", ours: []string{"detector", "models"}},
	{folder: "revoke/guard", ours: []string{"revoke"}},
	{folder: "revoke", ours: []string{"revoke"}},
	{folder: "pipeline/telemetry", ours: []string{"pipeline/telemetry"}},
	{folder: "pipeline", ours: []string{"pipeline", "detector", "models", "revoke"}},
	{folder: "", ours: []string{""}},
}

// violations lists the imports that go against the rules.
func violations(g graph) []string {
	var bad []string
	for path, imports := range g {
		from := strings.TrimPrefix(strings.TrimPrefix(path, module), "/")
		r := rules[slices.IndexFunc(rules, func(r rule) bool { return within(from, r.folder) })]
		for _, to := range imports {
			if !r.allows(from, to) {
				bad = append(bad, fmt.Sprintf("%s imports %s", path, to))
			}
		}
	}
	slices.Sort(bad)
	return bad
}

func (r rule) allows(from, to string) bool {
	if to == module || strings.HasPrefix(to, module+"/") {
		to = strings.TrimPrefix(strings.TrimPrefix(to, module), "/")
		if within(to, "cmd") {
			return within(from, "cmd") // nothing else imports it
		}
		return slices.ContainsFunc(r.ours, func(folder string) bool { return within(to, folder) })
	}
	first, _, _ := strings.Cut(to, "/")
	if !strings.Contains(first, ".") || r.others == nil {
		return true // the standard library, or any module
	}
	return slices.ContainsFunc(r.others, func(m string) bool { return to == m || strings.HasPrefix(to, m+"/") })
}

func within(path, folder string) bool {
	return folder == "" || path == folder || strings.HasPrefix(path, folder+"/")
}

// load asks the go command for the packages of the module.
func load(t *testing.T) graph {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Imports,Standard", "./...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	g := graph{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); err == io.EOF {
			return g
		} else if err != nil {
			t.Fatal(err)
		}
		g[p.ImportPath] = p.Imports
	}
}

func TestImportsPointOneWay(t *testing.T) {
	g := load(t)
	for _, needed := range []string{"/models", "/detector", "/pipeline", "/revoke/guard", "/cmd/estop"} {
		if _, ok := g[module+needed]; !ok {
			t.Errorf("package %s is not among those that were looked at", needed)
		}
	}
	for _, v := range violations(g) {
		t.Error(v)
	}
}

// The guard is light: whoever puts it into an enforcement point takes NATS and JOSE along,
// but neither Kafka nor ClickHouse nor anything that computes.
func TestTheGuardIsLightToImport(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "./revoke/guard").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	for path := range strings.Lines(string(out)) {
		path = strings.TrimSpace(path)
		for _, heavy := range []string{"github.com/twmb/", "github.com/ClickHouse/", "gonum.org/", "github.com/nats-io/nats-server/", "google.golang.org/grpc", "github.com/envoyproxy/", module + "/pipeline", module + "/detector", module + "/models"} {
			if strings.HasPrefix(path, heavy) {
				t.Errorf("revoke/guard brings in %s", path)
			}
		}
	}
}

func TestEveryForbiddenImportIsFound(t *testing.T) {
	for _, bad := range []struct{ from, to string }{
		{"models", module + "/detector"},
		{"models", "github.com/nats-io/nats.go"},
		{"models/graph", module + "/pipeline/telemetry"},
		{"detector", module + "/pipeline"},
		{"detector", module + "/revoke"},
		{"detector/catalog", module + "/detector"},
		{"revoke/guard", module + "/detector"},
		{"revoke", module + "/pipeline/telemetry"},
		{"pipeline/telemetry", module + "/pipeline"},
		{"pipeline/shard", module + "/cmd/estop"},
		{"pipeline/node", module + "/bench/fleet"},
		{"bench/demo", module + "/cmd/estop"},
	} {
		g := graph{module + "/" + bad.from: {"fmt", bad.to}}
		if got := violations(g); len(got) != 1 {
			t.Errorf("%s importing %s: found %v", bad.from, bad.to, got)
		}
	}
	for _, good := range []struct{ from, to string }{
		{"models", "gonum.org/v1/gonum/stat"},
		{"models", "math"},
		{"detector", module + "/models"},
		{"revoke/guard", module + "/revoke"},
		{"revoke/guard", "github.com/nats-io/nats.go"},
		{"pipeline/shard", module + "/models"},
		{"bench/demo", module + "/pipeline/node"},
		{"cmd/estop", module + "/bench/demo"},
		{"cmd/estop", module + "/cmd/estop/more"},
	} {
		if got := violations(graph{module + "/" + good.from: {good.to}}); len(got) > 0 {
			t.Errorf("%s may import %s, found %v", good.from, good.to, got)
		}
	}
}
