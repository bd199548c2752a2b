package detector_test

import (
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/detector/catalog"
)

func format(t *testing.T, text string) string {
	t.Helper()
	out, errs := detector.Format("f.yaml", []byte(text))
	if len(errs) > 0 {
		t.Fatalf("%v\nin\n%s", errs, text)
	}
	return string(out)
}

// notYet are built-in files that wait for a formatting.
var notYet = []string{"first-time-calls.yaml", "new-territory.yaml", "off-task.yaml"}

func TestTheCatalogueIsInCanonicalForm(t *testing.T) {
	done, errs := detector.FormatFiles(catalog.FS)
	if len(errs) > 0 || len(done) == 0 {
		t.Fatalf("%d files, %v", len(done), errs)
	}
	for _, f := range done {
		if f.Changed() && !slices.Contains(notYet, f.File) {
			t.Errorf("%s: %s", f.File, cmp.Diff(strings.Split(string(f.Before), "\n"), strings.Split(string(f.After), "\n")))
		}
		before, _ := detector.Load(files(f.File, string(f.Before)))
		after, wrong := detector.Load(files(f.File, string(f.After)))
		if diff := sameDetectors(before, after); diff != "" || len(wrong) > 0 {
			t.Errorf("%s says something else: %s%v", f.File, diff, wrong)
		}
	}
}

func TestFormat(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"keys come in the order of the manual": {
			"title: A\nwhen: count(calls, 1m) > 1\nid: a\nseverity: low\n",
			"id: a\ntitle: A\nseverity: low\nwhen: count(calls, 1m) > 1\n",
		},
		"a key that is not known stays behind the others": {
			"zeal: 1\ntitle: A\nother: 2\nid: a\n",
			"id: a\ntitle: A\nzeal: 1\nother: 2\n",
		},
		"each reference on a line of its own, so that it can be followed": {
			"id: a\ntitle: A\nreferences: [\"https://example.com/a\", 'A: paper']\ntags: attack.t1\n",
			"id: a\ntitle: A\ntags: attack.t1\nreferences:\n  - https://example.com/a\n  - \"A: paper\"\n",
		},
		"quotes only where they are needed": {
			"id: \"a\"\ntitle: 'It''s: a \"title\"'\ntags: ['attack.t1', \"a, b\"]\nmatch: {agent: \"x\", action: \"1\", resource: \"yes\"}\n",
			"id: a\ntitle: 'It''s: a \"title\"'\ntags: [attack.t1, \"a, b\"]\nmatch: {agent: x, action: \"1\", resource: \"yes\"}\n",
		},
		"short lists and the calls of tests on one line, a blank line between tests": {
			"id: a\ntitle: A\ntags:\n- attack.t1\n- attack.t2\nwarmup:\n    time: 21d\n    calls: 200\ntests:\n- name: one\n  calls:\n  - action: x\n    agent: a\n    at: 1s\n  expect:\n    detections: exactly 0\n- {name: two, calls: [{agent: a, action: x}], expect: {detections: 0}}\n",
			"id: a\ntitle: A\ntags: [attack.t1, attack.t2]\nwarmup: {calls: 200, time: 21d}\n\ntests:\n  - name: one\n    calls:\n      - {at: 1s, agent: a, action: x}\n    expect: {detections: exactly 0}\n\n  - name: two\n    calls:\n      - {agent: a, action: x}\n    expect: {detections: 0}\n",
		},
		"a long list has a line for each": {
			"match: {action|contains: [" + strings.Repeat("abcdefghi, ", 10) + "z]}\n",
			"match:\n  action|contains:\n" + strings.Repeat("    - abcdefghi\n", 10) + "    - z\n",
		},
		"baselines as in the catalogue": {
			"baseline: [{feature: new(call)}, {memory: 42d, feature: \"sum(bytes_out, 1h)\"}]\n",
			"baseline:\n  - feature: new(call)\n  - {feature: \"sum(bytes_out, 1h)\", memory: 42d}\n",
		},
		"comments stay with what they are about": {
			"# yaml-language-server: $schema=x\n# About the title.\ntitle: A # why A\nid: a   # the id\n\n\n\n# About the limit,\n# in two lines.\nwhen: count(calls, 1m) > 1\ntags: [a.b, # one\n  c.d]\nexceptions:\n    - match: {agent: x}\n      reason: r\n      # the end of the exception\n    # the end of the list\n# the end\n",
			"# yaml-language-server: $schema=x\nid: a # the id\n# About the title.\ntitle: A # why A\ntags:\n  - a.b # one\n  - c.d\n\n# About the limit,\n# in two lines.\nwhen: count(calls, 1m) > 1\nexceptions:\n  - match: {agent: x}\n    reason: r\n    # the end of the exception\n  # the end of the list\n# the end\n",
		},
		"a header stays at the top": {
			"# What this file is.\n\n# About the title.\ntitle: A\nid: a\n",
			"# What this file is.\n\nid: a\n# About the title.\ntitle: A\n",
		},
		"block texts keep their lines": {
			"id: a\ndescription:   >-\n      One # no comment\n      two.\n\n      Three.\nwhen: |\n    count(calls, 1m) > 1\n      or rate(calls, 1s) > 5\n",
			"id: a\ndescription: >-\n  One # no comment\n  two.\n\n  Three.\nwhen: |\n  count(calls, 1m) > 1\n    or rate(calls, 1s) > 5\n",
		},
		"a text over several lines that is no block becomes one where it is long": {
			"title: " + strings.Repeat("word ", 15) + "\n  " + strings.Repeat("text ", 15) + "end\nid: a\n",
			"id: a\ntitle: >-\n  " + strings.Repeat("word ", 15) + "text text text text\n  " + strings.Repeat("text ", 11) + "end\n",
		},
		"what tenants have instead": {
			"id: a\ntests: []\ntenants:\n  b:\n    response: {for: 1h, action: revoke, scope: agent}\n    mode: enforce\n  \"c*\": {mode: alert}\nschedule: {hours: \"18:00\", days: [mon]}\n",
			"id: a\nschedule: {days: [mon], hours: \"18:00\"}\ntenants:\n  b:\n    mode: enforce\n    response: {action: revoke, scope: agent, for: 1h}\n  c*: {mode: alert}\n\ntests: []\n",
		},
		"documents stay apart": {
			"---\nid: a\n# behind a\n--- # b comes\nid: b\n...\n",
			"id: a\n# behind a\n---\n# b comes\nid: b\n",
		},
		"carriage returns go":   {"id: a\r\ntitle: b\r\n", "id: a\ntitle: b\n"},
		"nothing stays nothing": {"id:\ntitle: ~\ntags: []\nmatch: {}\n", "id:\ntitle: ~\ntags: []\nmatch: {}\n"},
	} {
		t.Run(name, func(t *testing.T) {
			got := format(t, c.in)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(got, format(t, got)); diff != "" {
				t.Errorf("formatted again it is another: %s", diff)
			}
		})
	}
}

func TestFormatRefusesWhatIsNotADetectorFile(t *testing.T) {
	for in, want := range map[string]string{
		"a: [":       "not YAML",
		"- a":        "must be a mapping",
		"a: &x 1":    "anchors",
		"a: !!str 1": "the tag",
		"? [a]\n: 1": "a key must be a text",
	} {
		out, errs := detector.Format("f.yaml", []byte(in))
		if len(errs) == 0 || !strings.Contains(errs.Error(), want) || out != nil {
			t.Errorf("%q: %v, want %s", in, errs, want)
		}
	}
}

// sameDetectors says how the detectors of two texts differ, apart from where they stand.
func sameDetectors(a, b *detector.Set) string {
	return cmp.Diff(a, b,
		cmpopts.IgnoreFields(detector.Compiled{}, "Version", "When"),
		cmpopts.IgnoreFields(detector.Source{}, "Line"),
		cmpopts.IgnoreFields(detector.Test{}, "Line"),
		cmpopts.IgnoreUnexported(detector.Plan{}, detector.Set{}, detector.Source{}, detector.Compiled{}, detector.Enforcer{}, detector.Supposed{}, detector.Expect{}))
}

// Whatever a file says: formatting it twice is formatting it once, and it stays right or wrong,
// and says the same.
func FuzzFormat(f *testing.F) {
	err := fs.WalkDir(catalog.FS, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := fs.ReadFile(catalog.FS, name)
		text := string(data)
		if i := strings.Index(text, "\ntests:"); i > 0 {
			text = text[:i+1]
		}
		f.Add(text)
		return err
	})
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		"# h\n\n# c\ntitle: 'x' # t\nid: x\nwhen: >\n  count(calls, 1m)\n   > 1\n\n# foot\n---\nid: y\ntitle: y\nwhen: |2\n    count(calls, 1m) > 1\n",
		"id: x\ntitle: x\nwhen: count(calls, 1m) > 1\nmatch: {any: [{agent: [a, # c\n b]}, not: {action: \"#\"}]}\n",
		"tests:\n- # c\n  name: x\n  # d\n- # e\n  - f\n# g\n  # h\n", "a: \"b\\\n  c\" # d\n? e\n: f\n", "a: '\n\n b'\n", "- a\n", "a: |+\n  b\n\n",
		"s:\n- # c\n  # d)- # e\n\n - f #", "s:\n-\n\n  - a\n-\n  # b\n  - c\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		once, errs := detector.Format("f.yaml", []byte(text))
		if len(errs) > 0 {
			return
		}
		twice, errs := detector.Format("f.yaml", once)
		if len(errs) > 0 {
			t.Fatalf("what was formatted cannot be: %v\n%s", errs, once)
		}
		if string(once) != string(twice) {
			t.Fatalf("formatted again it is another: %s", cmp.Diff(string(once), string(twice)))
		}
		before, wrong := detector.Load(files("f.yaml", text))
		after, stillWrong := detector.Load(files("f.yaml", string(once)))
		if (len(wrong) == 0) != (len(stillWrong) == 0) {
			t.Fatalf("errors before: %v, after: %v\n%s", wrong, stillWrong, once)
		}
		if diff := sameDetectors(before, after); diff != "" {
			t.Fatal(diff)
		}
	})
}
