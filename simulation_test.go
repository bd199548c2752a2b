package estop_test

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// compiler checks packages of the module as the compiler does.
type compiler struct {
	files   *token.FileSet
	sources map[string][]string // of a package, by import path
	exports map[string]string   // what the compiler made of it
	types.Importer
}

func newCompiler(t *testing.T, packages ...string) *compiler {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-export", "-deps", "-json=ImportPath,Export,Dir,GoFiles"}, packages...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	c := &compiler{files: token.NewFileSet(), sources: map[string][]string{}, exports: map[string]string{}}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			ImportPath, Export, Dir string
			GoFiles                 []string
		}
		if err := dec.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		c.exports[p.ImportPath] = p.Export
		for _, name := range p.GoFiles {
			c.sources[p.ImportPath] = append(c.sources[p.ImportPath], filepath.Join(p.Dir, name))
		}
	}
	c.Importer = importer.ForCompiler(c.files, "gc", func(path string) (io.ReadCloser, error) { return os.Open(c.exports[path]) })
	return c
}

// checked is a package with its types.
type checked struct {
	files []*ast.File
	uses  map[*ast.Ident]types.Object
	errs  []string
}

// check checks a package with one more file, if there is one.
func (c *compiler) check(t *testing.T, path, more string) checked {
	t.Helper()
	var p checked
	add := func(name string, text any) {
		f, err := parser.ParseFile(c.files, name, text, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		p.files = append(p.files, f)
	}
	for _, name := range c.sources[path] {
		add(name, nil)
	}
	if more != "" {
		add("more.go", more)
	}
	info := types.Info{Uses: map[*ast.Ident]types.Object{}}
	conf := types.Config{Importer: c, Error: func(err error) { p.errs = append(p.errs, err.Error()) }}
	_, _ = conf.Check(path, c.files, p.files, &info)
	p.uses = info.Uses
	return p
}

// users lists the functions of a package that use a function or a type, as PACKAGE.Name or PACKAGE.Type.Name.
func (c *compiler) users(t *testing.T, path string, of func(name string) bool) (users []string) {
	t.Helper()
	p := c.check(t, path, "")
	if len(p.errs) > 0 {
		t.Fatalf("%s: %v", path, p.errs)
	}
	for id, object := range p.uses {
		if !of(nameOf(object)) {
			continue
		}
		for _, f := range p.files {
			for _, decl := range f.Decls {
				if decl.Pos() <= id.Pos() && id.Pos() < decl.End() {
					user := filepath.Base(c.files.Position(f.Pos()).Filename)
					if fn, ok := decl.(*ast.FuncDecl); ok {
						user = fn.Name.Name
					}
					users = append(users, user)
				}
			}
		}
	}
	slices.Sort(users)
	return slices.Compact(users)
}

// nameOf names an object with its package, below the module, and of a method the type.
func nameOf(o types.Object) string {
	if o.Pkg() == nil {
		return o.Name()
	}
	name := strings.TrimPrefix(strings.TrimPrefix(o.Pkg().Path(), module), "/")
	if fn, ok := o.(*types.Func); ok && fn.Signature().Recv() != nil {
		of := types.TypeString(fn.Signature().Recv().Type(), func(*types.Package) string { return "" })
		name += "." + strings.TrimPrefix(of, "*")
	}
	return name + "." + o.Name()
}

// A simulation that leaks a decision: crowdsecurity/crowdsec#1343. What cannot be written cannot be forgotten: of what
// a simulation has in its hands, the type checker lets nothing become a revocation.
func TestComplaint07NothingButAnEnforcerCanBeAnswered(t *testing.T) {
	c := newCompiler(t, "./pipeline", "./pipeline/backtest")
	outside := func(body string) string {
		return "package outside\nimport (\n\"" + module + "/detector\"\n\"" + module + "/pipeline/backtest\"\n)\nvar _ backtest.Hit\n" + body
	}
	inside := func(body string) string {
		return "package pipeline\nfunc more(d *Detect, w *worker, e detector.Enforcer, c *detector.Compiled, s detector.Supposed, found *detector.Detection) {\n" + body +
			"\n}\nfunc init() { _ = more }\n"
	}
	withImport := func(text string) string {
		return strings.Replace(text, "package pipeline\n", "package pipeline\nimport (\n\"context\"\n\"time\"\n\""+module+"/detector\"\n)\nvar (\n_ context.Context\n_ time.Time\n)\n", 1)
	}
	for _, s := range []struct{ name, path, text, want string }{
		{"an enforcer has a response", "outside", outside("func f(e detector.Enforcer) detector.Response { return e.Response() }"), ""},
		{"a detector has none", "outside", outside("func f(c *detector.Compiled) detector.Response { return c.Response() }"), "c.Response undefined"},
		{"nor has a detection", "outside", outside("func f(d *detector.Detection) detector.Response { return d.Response }"), "d.Response undefined"},
		{"what is supposed is none", "outside", outside("func f(s detector.Supposed) detector.Response { return s }"), "cannot use s"},
		{"and turns into none", "outside", outside("func f(s detector.Supposed) detector.Response { return detector.Response(s) }"), "cannot convert s"},
		{"and hands none out", "outside", outside("func f(s detector.Supposed) detector.Response { return s.response }"), "s.response undefined"},
		{"no enforcer can be made", "outside", outside("func f(c *detector.Compiled) detector.Enforcer { return detector.Enforcer{Compiled: c, responses: nil} }"), "unexported field responses"},
		{"an enforcer kills", module + "/pipeline", inside("d.kill(context.Background(), w, e, found); _ = order(e, found, time.Time{})"), ""},
		{"a detector does not", module + "/pipeline", inside("d.kill(context.Background(), w, c, found)"), "cannot use c"},
		{"nor what is supposed", module + "/pipeline", inside("d.kill(context.Background(), w, s, found)"), "cannot use s"},
		{"a detector orders nothing", module + "/pipeline", inside("_ = order(c, found, time.Time{})"), "cannot use c"},
		{"nor does what is supposed", module + "/pipeline", inside("_ = order(s, found, time.Time{})"), "cannot use s"},
	} {
		t.Run(s.name, func(t *testing.T) {
			errs := c.check(t, s.path, withImport(s.text)).errs
			switch {
			case s.want == "" && len(errs) > 0:
				t.Errorf("%v", errs)
			case s.want != "" && (len(errs) != 1 || !strings.Contains(errs[0], s.want)):
				t.Errorf("errors %q, want one with %q", errs, s.want)
			}
		})
	}
}

// publishing are the functions with which a revocation goes out. Who must not publish must not use them, nor
// anything that has them.
func publishing(name string) bool {
	return slices.Contains([]string{
		"revoke.Publisher.Publish", "revoke.NewPublisher", "revoke.NewClient", "revoke.Client.Kill", "revoke.Client.Send", "revoke.Client.Release",
		"revoke.Signer.Record", "pipeline.RevocationRecord", "pipeline/node.NewControl",
	}, name)
}

// A gate has no way to publish, whether it enforces or its policies are tried: nor has what 'estop policy test' runs.
func TestComplaint07NoGateCanPublish(t *testing.T) {
	c := newCompiler(t, "./revoke/gate/...", "./pipeline/gate/...")
	gates := 0
	for path := range c.sources {
		rest, ok := strings.CutPrefix(path, module)
		if !ok || !strings.HasPrefix(rest, "/revoke/gate") && !strings.HasPrefix(rest, "/pipeline/gate/") || strings.HasSuffix(rest, "/gatetest") {
			continue
		}
		gates++
		if users := c.users(t, path, publishing); len(users) > 0 {
			t.Errorf("%s can publish: %v", rest, users)
		}
	}
	if gates < 8 {
		t.Errorf("%d packages are looked at: the search finds too few", gates)
	}
	if users := c.users(t, module+"/pipeline/gate/gatetest", publishing); len(users) == 0 {
		t.Error("the person in the tests of gates does not publish either: the search finds nothing")
	}
}

func TestComplaint07SimulationsHoldNothingThatPublishes(t *testing.T) {
	c := newCompiler(t, "./detector/...", "./pipeline", "./pipeline/shard", "./pipeline/backtest", "./pipeline/history", "./cmd/estop")
	simulations := []string{"/detector", "/pipeline/shard", "/pipeline/backtest", "/pipeline/history"}
	for _, path := range simulations {
		if users := c.users(t, module+path, publishing); len(users) > 0 {
			t.Errorf("%s can publish: %v", path, users)
		}
	}
	// In the pipeline it is one function, and what repeats it until it is stored.
	if diff := cmp.Diff([]string{"stop", "untilStored"}, c.users(t, module+"/pipeline", publishing)); diff != "" {
		t.Errorf("who publishes: %s", diff)
	}
	for of, want := range map[string][]string{
		"pipeline.Detect.stop": {"drill", "kill"}, "pipeline.Detect.kill": {"answer"},
		"pipeline.order": {"kill", "readDrill"}, "detector.Enforcer.Response": {"order"},
	} {
		if diff := cmp.Diff(want, c.users(t, module+"/pipeline", func(name string) bool { return name == of })); diff != "" {
			t.Errorf("who uses %s: %s", of, diff)
		}
	}
	// Nobody else asks an enforcer for its response, the commands among them.
	for path := range c.sources {
		if !strings.HasPrefix(path, module+"/") || path == module+"/pipeline" || path == module+"/detector" {
			continue
		}
		if users := c.users(t, path, func(name string) bool { return name == "detector.Enforcer.Response" }); len(users) > 0 {
			t.Errorf("%s asks an enforcer: %v", path, users)
		}
	}
	// Of the commands, those publish with which people stop, release and rehearse a stop.
	people := c.users(t, module+"/cmd/estop", publishing)
	if len(people) == 0 {
		t.Error("no command stops anybody: the search finds nothing")
	}
	for _, user := range people {
		for _, simulation := range []string{"backtest", "detector", "explain", "diff", "replay", "eval", "lint"} {
			if strings.Contains(strings.ToLower(user), simulation) {
				t.Errorf("estop %s can publish, in %s", simulation, user)
			}
		}
	}
}
