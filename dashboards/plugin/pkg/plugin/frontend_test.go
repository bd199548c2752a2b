package plugin

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// front is where the front end is.
const front = "../.."

func source(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(front, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

var kindInTypes = regexp.MustCompile(`(?s)\n  (\w+): \{\s*label: '[^']+',\s*series: (true|false),\s*filters: \[([^\]]*)\],?\s*\}`)

func TestTheQueryEditorOffersWhatTheBackEndAnswers(t *testing.T) {
	var names []string
	for _, m := range kindInTypes.FindAllStringSubmatch(source(t, "src/types.ts"), -1) {
		name := m[1]
		names = append(names, name)
		if series := kinds[name].series != ""; (m[2] == "true") != series {
			t.Errorf("%s: a time series is offered: %s; there is one: %v", name, m[2], series)
		}
		filters := strings.FieldsFunc(m[3], func(r rune) bool { return strings.ContainsRune("', \n", r) })
		if want := slices.Sorted(maps.Keys(kinds[name].filters)); !slices.Equal(filters, want) {
			t.Errorf("%s: the filters %v are offered, and there are %v", name, filters, want)
		}
	}
	if slices.Sort(names); !slices.Equal(names, kindNames()) {
		t.Errorf("the kinds %v are offered, and there are %v", names, kindNames())
	}
}

func TestWhatGrafanaReadsFitsTheBackEnd(t *testing.T) {
	var about struct {
		ID, Executable                            string
		Backend, Streaming, Alerting, Annotations bool
	}
	if err := json.Unmarshal([]byte(source(t, "src/plugin.json")), &about); err != nil {
		t.Fatal(err)
	}
	if about.ID != ID || !about.Backend || !about.Streaming || !about.Alerting || !about.Annotations {
		t.Errorf("plugin.json: %+v", about)
	}
	if !strings.Contains(source(t, "../../Makefile"), about.Executable+"_") {
		t.Errorf("no target of the Makefile makes %s", about.Executable)
	}
	if !strings.Contains(source(t, "src/datasource.ts"), "'"+actHeader+"'") {
		t.Errorf("the front end does not send %s", actHeader)
	}
}

func TestTheLockFileNamesNoRegistry(t *testing.T) {
	lock := source(t, "package-lock.json")
	for _, bad := range []string{`"resolved"`, "git+", "registry."} {
		if strings.Contains(lock, bad) {
			t.Errorf("package-lock.json has %s", bad)
		}
	}
	if !strings.Contains(lock, `"integrity"`) {
		t.Error("package-lock.json proves nothing of what is installed")
	}
}
