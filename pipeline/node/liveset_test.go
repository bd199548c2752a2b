package node

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/estop-project/estop/detector"
)

// atNode is a configuration with a folder of detectors, and a node that serves what runs as every node does.
func atNode(t *testing.T, running *detector.Set) Config {
	t.Helper()
	var live liveDetectors
	if running != nil {
		live.set(running, nil, time.Now())
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /detectors", live.serve)
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	c := Default()
	c.Detectors.Catalog, c.Detectors.Dir = false, t.TempDir()
	c.HTTP.Addr, c.found = strings.TrimPrefix(s.URL, "http://"), true
	return c
}

func writeDetectors(t *testing.T, c Config, texts map[string]string) *detector.Set {
	t.Helper()
	for name, text := range texts {
		file := filepath.Join(c.Detectors.Dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	set, errs := detector.Load(c.DetectorFiles())
	if err := errs.Err(); err != nil {
		t.Fatal(err)
	}
	return set
}

func limitOf(id string, calls int) string {
	return fmt.Sprintf("id: %s\ntitle: x\nwhen: count(calls, 1m) > %d\n", id, calls)
}

func TestTheLiveDetectorsAreThoseThatTheNodeRuns(t *testing.T) {
	there := writeDetectors(t, atNode(t, nil), map[string]string{"a.yaml": limitOf("a", 5), "b.yaml": limitOf("b", 5), "canary/a.yaml": limitOf("a", 9)})
	for name, c := range map[string]struct {
		running *detector.Set
		files   map[string]string
		want    []string // of the error
		note    string
	}{
		"the same, but for canaries": {there, map[string]string{"all.yaml": limitOf("a", 5), "b.yaml": limitOf("b", 5)}, nil, ""},
		"an edited file":             {there, map[string]string{"a.yaml": limitOf("a", 9), "b.yaml": limitOf("b", 5)}, []string{"a in own/a.yaml is version ", ", there " + there.Plan.Detectors[0].Version}, ""},
		"a file that is not there":   {there, map[string]string{"a.yaml": limitOf("a", 5)}, []string{"b runs there from own/b.yaml and stands in no file here"}, ""},
		"a file that is new":         {there, map[string]string{"a.yaml": limitOf("a", 5), "b.yaml": limitOf("b", 5), "c.yaml": limitOf("c", 5)}, []string{"c stands in own/c.yaml and does not run there"}, ""},
		"a node without detectors":   {nil, map[string]string{"a.yaml": limitOf("a", 5)}, nil, "runs no detectors"},
	} {
		t.Run(name, func(t *testing.T) {
			at := atNode(t, c.running)
			files := writeDetectors(t, at, c.files)
			set, note, err := at.LiveDetectors(t.Context())
			if !strings.Contains(note, c.note) || (note == "") != (c.note == "") {
				t.Errorf("note %q, want %q", note, c.note)
			}
			if (err == nil) != (c.want == nil) {
				t.Fatalf("error %v, want %q", err, c.want)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %v, want %q", err, want)
				}
			}
			if err == nil && len(set.Plan.Detectors) != len(files.Plan.Detectors) {
				t.Errorf("%d detectors, want %d", len(set.Plan.Detectors), len(files.Plan.Detectors))
			}
		})
	}
}

func TestWhereNoNodeIsAskedTheFilesAreTakenAndANoteSaysSo(t *testing.T) {
	c := atNode(t, nil)
	writeDetectors(t, c, map[string]string{"a.yaml": limitOf("a", 5)})
	c.HTTP.Addr = ""
	if set, note, err := c.LiveDetectors(t.Context()); err != nil || len(set.Plan.Detectors) != 1 || !strings.Contains(note, "http.addr is not set") {
		t.Errorf("%v, %q, %v", set, note, err)
	}
	c.HTTP.Addr = "127.0.0.1:1"
	if _, _, err := c.LiveDetectors(t.Context()); err == nil || !strings.Contains(err.Error(), "does not say which detectors") {
		t.Errorf("a node that does not answer: %v", err)
	}
}

func TestManyOtherVersionsAreNotAllListed(t *testing.T) {
	if got := someOf([]string{"a", "b", "c", "d", "e", "f", "g"}); got != "a; b; c; d; e; and 2 more" {
		t.Error(got)
	}
}
