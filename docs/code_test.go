package docs_test

import (
	"bytes"
	"go/format"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/backtest"
	"github.com/estop-project/estop/pipeline/node"
	"github.com/estop-project/estop/pipeline/notify"
)

// TestEveryProgramBuilds builds the Go programs of the pages. What is only a part of a
// program must at least be formatted Go.
func TestEveryProgramBuilds(t *testing.T) {
	for _, page := range pages(t) {
		for _, b := range read(t, page) {
			if b.lang != "go" {
				continue
			}
			formatted, err := format.Source([]byte(b.text))
			if err != nil || !bytes.Equal(formatted, []byte(b.text)) {
				t.Errorf("%s:%d: not as gofmt writes it: %v", page, b.line, err)
			}
			if !strings.HasPrefix(b.text, "package main\n") {
				continue
			}
			dir := t.TempDir()
			file := filepath.Join(dir, "main.go")
			if err := os.WriteFile(file, []byte(b.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command("go", "build", "-o", filepath.Join(dir, "program"), file).CombinedOutput(); err != nil {
				t.Errorf("%s:%d: %v\n%s", page, b.line, err, out)
			}
		}
	}
}

var (
	sinks  = regexp.MustCompile(`(?m)^sinks:`)
	secret = regexp.MustCompile(`/run/secrets/([a-z-]+)`)
)

func loadConfig(t *testing.T, text string) error {
	_, err := node.Load(written(t, "estop.yaml", text), nil, nil)
	return err
}

// loadSinks loads a file of sinks where each secret is where the file says.
func loadSinks(t *testing.T, text string) error {
	text = secret.ReplaceAllStringFunc(text, func(path string) string { return written(t, filepath.Base(path), "secret\n") })
	_, err := notify.Load(written(t, "sinks.yaml", text), notify.LoadOptions{KeysDir: t.TempDir(), Lookup: func(name string) (string, bool) {
		if strings.Contains(name, "URL") {
			return "https://hooks.example.com/x", true
		}
		return "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0", true
	}})
	return err
}

func written(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestEveryYAMLLoads loads detectors as detectors, whose tests hold, files of sinks as such, and all else as
// configurations.
func TestEveryYAMLLoads(t *testing.T) {
	for _, page := range pages(t) {
		for _, b := range read(t, page) {
			if b.lang != "yaml" {
				continue
			}
			if strings.HasPrefix(b.text, "id:") {
				set, errs := detector.Load(fstest.MapFS{"example.yaml": {Data: []byte(b.text)}, "crown-jewels.txt": {Data: []byte("s3://payroll/\n")}})
				if errs.Err() != nil {
					t.Errorf("%s:%d: %v", page, b.line, errs.Err())
				}
				for _, r := range backtest.TestAll(set).Tests {
					if r.Failure != "" {
						t.Errorf("%s:%d: the test %q fails: %s", page, b.line+r.Line, r.Name, r.Failure)
					}
				}
				continue
			}
			load := loadConfig
			if sinks.MatchString(b.text) {
				load = loadSinks
			}
			if err := load(t, b.text); err != nil {
				t.Errorf("%s:%d: %v", page, b.line, err)
			}
		}
	}
}
