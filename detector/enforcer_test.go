package detector_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/estop-project/estop/detector"
)

func TestOnlyTheModeEnforceGivesAnEnforcer(t *testing.T) {
	const response = "response: {action: revoke, scope: agent, for: 15m}\n"
	for mode, want := range map[string]bool{"": false, "mode: observe\n": false, "mode: alert\n": false, "mode: enforce\n": true} {
		p := load(t, head+response+mode).Plan
		e, ok := p.Enforcer(0)
		if ok != want || (e.Compiled != nil) != want || (e.Response() != detector.Response{}) != want {
			t.Errorf("%q: enforcer %v, response %v", mode, ok, e.Response())
		}
	}
}

func TestAnEnforcerAnswersWithTheStepOfTheDetection(t *testing.T) {
	p := load(t, head+"mode: enforce\nresponse: [{action: throttle, scope: agent, for: 5m}, {action: revoke, scope: identity, for: 1h}]\nescalate: {within: 1h}\n").Plan
	d := p.Detectors[0]
	for step, want := range []detector.Action{detector.Throttle, detector.Throttle, detector.Revoke, detector.Revoke} {
		e, ok := p.EnforcerOf(0, &detector.Detection{Detector: d.ID, Version: d.Version, Mode: "enforce", Step: step})
		if !ok || e.Response().Action != want {
			t.Errorf("step %d: %v %+v, want %v", step, ok, e.Response(), want)
		}
	}
}

// Whoever forges an Enforcer around a detector that observes has no response to give: no
// action, no time.
func TestAForgedEnforcerHasNoResponse(t *testing.T) {
	p := load(t, head+"mode: observe\nresponse: {action: revoke, scope: agent, for: 15m}\n").Plan
	if got := (detector.Enforcer{Compiled: p.Detectors[0]}).Response(); got != (detector.Response{}) {
		t.Errorf("response %+v", got)
	}
}

// The promise that a detector in observe mode cannot stop anybody rests on types: in all that
// the package exports, a Response comes out of Enforcer.Response alone.
func TestNothingButAnEnforcerGivesAResponse(t *testing.T) {
	var sources []string
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".go") && !strings.HasSuffix(e.Name(), "_test.go") {
			text, err := os.ReadFile(e.Name())
			if err != nil {
				t.Fatal(err)
			}
			sources = append(sources, string(text))
		}
	}
	if diff := cmp.Diff([]string{"Enforcer.Response"}, responseGivers(t, sources...)); diff != "" {
		t.Error(diff)
	}
}

func TestTheSearchForResponsesFindsEachWay(t *testing.T) {
	const source = `package detector
func Free() *Response { return nil }
func (c *Compiled) Method() (int, []Response) { return 0, nil }
func Callback(f func(Response)) {}
func (p *Plan) All() iter.Seq[Response] { return nil }
var Global = map[string]Response{}
type Holder struct { Field Response; hidden Response }
type hidden struct { Field Response }
func (h hidden) Method() Response { return Response{} }
func free() Response { return Response{} }
func Taker(r Response) {}
func Other() ResponseKind { return 0 }
`
	want := []string{"Free", "Compiled.Method", "Callback", "Plan.All", "Global", "Holder.Field"}
	if diff := cmp.Diff(want, responseGivers(t, source)); diff != "" {
		t.Error(diff)
	}
}

// responseGivers returns what is exported in the sources and hands out a Response: a result, an
// argument of a callback, a field or a variable.
func responseGivers(t *testing.T, sources ...string) []string {
	t.Helper()
	var found []string
	names := func(prefix string, idents []*ast.Ident, typ ast.Node) {
		for _, id := range idents {
			if id.IsExported() && mentionsResponse(typ) {
				found = append(found, prefix+id.Name)
			}
		}
	}
	for _, source := range sources {
		file, err := parser.ParseFile(token.NewFileSet(), "", source, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				receiver := ""
				if d.Recv != nil {
					receiver = strings.TrimPrefix(fmt.Sprint(typeName(d.Recv.List[0].Type)), "*")
				}
				if !d.Name.IsExported() || receiver != "" && !ast.IsExported(receiver) {
					continue
				}
				gives := d.Type.Results != nil && mentionsResponse(d.Type.Results)
				for _, param := range d.Type.Params.List {
					if f, ok := param.Type.(*ast.FuncType); ok && mentionsResponse(f) {
						gives = true
					}
				}
				if gives {
					found = append(found, strings.TrimPrefix(receiver+"."+d.Name.Name, "."))
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					switch spec := spec.(type) {
					case *ast.ValueSpec:
						names("", spec.Names, spec)
					case *ast.TypeSpec:
						if s, ok := spec.Type.(*ast.StructType); ok && spec.Name.IsExported() {
							for _, field := range s.Fields.List {
								names(spec.Name.Name+".", field.Names, field.Type)
							}
						}
					}
				}
			}
		}
	}
	return found
}

func typeName(e ast.Expr) string {
	if star, ok := e.(*ast.StarExpr); ok {
		e = star.X
	}
	if id, ok := e.(*ast.Ident); ok {
		return id.Name
	}
	return ""
}

func mentionsResponse(n ast.Node) bool {
	found := false
	ast.Inspect(n, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && id.Name == "Response" {
			found = true
		}
		return !found
	})
	return found
}
