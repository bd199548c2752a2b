package detector_test

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/backtest"
)

func TestNewDetectorsAreInOrder(t *testing.T) {
	for _, template := range detector.Templates() {
		t.Run(template.Name, func(t *testing.T) {
			text, err := detector.New("my-own", template.Name, "x.json")
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(string(text), "# yaml-language-server: $schema=x.json\nid: my-own\n") {
				t.Errorf("begins with %.80s", text)
			}
			if diff := cmp.Diff(string(text), format(t, string(text))); diff != "" {
				t.Errorf("not in canonical form: %s", diff)
			}
			fs := files("my-own.yaml", string(text))
			report, errs := detector.Lint(fs, detector.DefaultLintOptions(time.Now()))
			if len(errs) > 0 {
				t.Fatal(errs)
			}
			for _, w := range report.Warnings {
				t.Error(w)
			}
			set, _ := detector.Load(fs)
			for _, r := range backtest.TestAll(set).Tests {
				if r.Failure != "" {
					t.Errorf("%s: %s", r.Name, r.Failure)
				}
			}
		})
	}
}

func TestNewDetectorsNeedANameAndATemplate(t *testing.T) {
	for _, c := range []struct{ id, template, want string }{
		{"My own", "rate", "not well formed"},
		{"my-own", "rat", `did you mean "rate"?`},
		{"my-own", "../schema", "no template"},
	} {
		if text, err := detector.New(c.id, c.template, "x"); err == nil || text != nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s from %s: %v, want %s", c.id, c.template, err, c.want)
		}
	}
}

func TestTheSchemaIsWhereNewDetectorsSayItIs(t *testing.T) {
	var schema struct {
		ID string `json:"$id"`
	}
	published, err := os.ReadFile("../docs/schema/detector.json")
	if err != nil || !bytes.Equal(published, detector.Schema) {
		t.Errorf("docs/schema/detector.json is not detector/schema.json: run make docs (%v)", err)
	}
	if err := json.Unmarshal(detector.Schema, &schema); err != nil || schema.ID != detector.SchemaURL {
		t.Errorf("%v: %s, want %s", err, schema.ID, detector.SchemaURL)
	}
}
