package main

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/estop-project/estop/detector/catalog"
)

func TestTheCommittedPageIsWhatTheFilesGive(t *testing.T) {
	want, err := write(catalog.FS)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../../docs/catalog.md")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("run make docs (-files +page):\n%s", diff)
	}
}

func TestADetectorWithoutAPhaseOrWithAnUnknownTagIsRefused(t *testing.T) {
	for name, tags := range map[string]string{"no phase": "[owasp.agentic.asi01]", "unknown tag": "[attack.impact, attack.t9999]"} {
		if _, err := write(fstest.MapFS{"x.yaml": {Data: []byte("{id: x, title: x, tags: " + tags + "}")}}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestThePageShowsReferences(t *testing.T) {
	for in, want := range map[string]string{
		"https://example.com/a/": "[example.com/a](https://example.com/a/)", "[https://example.com/a, A paper]": "[example.com/a](https://example.com/a), A paper", "A paper": ", A paper.",
	} {
		page, err := write(fstest.MapFS{"x.yaml": {Data: []byte("{id: x, title: x, tags: [attack.impact], references: " + in + "}")}})
		if err != nil || !strings.Contains(page, want) {
			t.Errorf("%s: %v, no %s in %s", in, err, want, page)
		}
	}
}
