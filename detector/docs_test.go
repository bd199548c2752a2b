package detector

import (
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/estop-project/estop/detector/catalog"
)

func readManual(t *testing.T) string {
	t.Helper()
	return readPage(t, "detectors.md")
}

func readPage(t *testing.T, name string) string {
	t.Helper()
	page, err := os.ReadFile("../docs/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

func TestEveryExampleOfTheManualLoads(t *testing.T) {
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(readManual(t), -1)
	if len(blocks) < 3 {
		t.Fatalf("%d examples", len(blocks))
	}
	for _, b := range blocks {
		if _, errs := Load(fstest.MapFS{"example.yaml": {Data: []byte(b[1])}, "crown-jewels.txt": {Data: []byte("s3://payroll/\n")}}); len(errs) > 0 {
			t.Errorf("%v\nin\n%s", errs, b[1])
		}
	}
}

func TestTheManualNamesEveryWordOfTheLanguage(t *testing.T) {
	manual := readManual(t) + readPage(t, "reference.md")
	words := slices.Concat(
		detectorKeys, baselineKeys, warmupKeys, responseKeys, exceptionKeys, scheduleKeys, overrideKeys, dayWords, testKeys, testCallsKeys, expectKeys, matchWords,
		modifierWords, featureWords, fieldWords, entityWords, measureWords, scopeWords, actionWords[1:], modeWords, severityWords,
		outcomeWords, boundWords, unitWords, seasonWords, withinWords,
	)
	for _, w := range words {
		if !regexp.MustCompile("`[^`\n]*\\b" + w + "|[0-9]" + w).MatchString(manual) {
			t.Errorf("the manual does not name %s", w)
		}
	}
	page := readPage(t, "catalog.md")
	err := fs.WalkDir(catalog.FS, ".", func(name string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && !strings.Contains(page, "catalog/"+name) {
			t.Errorf("the catalogue's page does not list %s", name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
