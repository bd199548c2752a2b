package backtest

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"go.yaml.in/yaml/v3"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/detector/catalog"
)

// TestBreakingAnyConditionOfTheCatalogueMakesATestFail breaks one condition of one detector at a time, and
// wants one of the tests beside it to notice.
func TestBreakingAnyConditionOfTheCatalogueMakesATestFail(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs the tests of some 450 broken detectors")
	}
	names, err := fs.Glob(catalog.FS, "*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		data, err := fs.ReadFile(catalog.FS, name)
		if err != nil {
			t.Fatal(err)
		}
		mutants := mutantsOf(t, name, data)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			t.Logf("%d mutants", len(mutants))
			for _, m := range mutants {
				if !m.noticed() {
					t.Errorf("%s: no test notices: %s", name, m.what)
				}
			}
		})
	}
}

// A mutation that no test could notice would make the test above a test of nothing.
func TestMutantsAreOfEachSortAndDiffer(t *testing.T) {
	data := []byte(`{id: x, title: x, match: {action|contains: [a, b], outcome: ok, any: [{resource: c}, {resource: d}]}, baseline: [{feature: "count(calls, 1m)", memory: 42d}, {feature: new(resource)}],
  budget: 1 per 1000 agent-days, warmup: {calls: 10, time: 7d, peers: 5}, relearn: context.version, when: "count(calls, 10m) > 20 or new(resource) > 0", slot: 1m, exceptions: [{match: {agent: z}, reason: x}]}`)
	var got []string
	texts := map[string]bool{string(data): true}
	for _, m := range mutantsOf(t, "x.yaml", data) {
		got = append(got, m.what)
		if text := string(m.text); texts[text] {
			t.Errorf("%s changes nothing, or the same as another", m.what)
		} else {
			texts[text] = true
		}
	}
	for _, want := range []string{
		"match.action|contains removed", "match.action|contains never holds", "match.outcome removed", "match.outcome never holds", "match.any[0] removed", "match.any[1].resource never holds",
		"baseline[0] removed", "baseline[1] removed", "baseline[0].memory removed", "warmup removed", "warmup.time removed", "warmup.peers removed", "relearn removed",
		"when: 20 is 200", "when: 20 is 2", "when: 0 is 10", "when: 10m is 100m", "exceptions removed", "when removed",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("no mutant %q among %q", want, got)
		}
	}
}

// mutant is a detector file with one condition broken.
type mutant struct {
	name, what string
	text       []byte
	set        *detector.Set
}

// noticed says whether one of the detector's tests fails.
func (m mutant) noticed() bool {
	for _, test := range m.set.Sources[0].Tests {
		if Test(m.set, 0, test).Failure != "" {
			return true
		}
	}
	return false
}

// mutantsOf returns each way in which one condition of a detector can be broken so that the file still loads.
func mutantsOf(t *testing.T, name string, data []byte) []mutant {
	t.Helper()
	whole, errs := detector.Load(fstest.MapFS{path.Base(name): {Data: data}})
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	var all []mutant
	for _, change := range changes(parseMapping(t, data)) {
		root := parseMapping(t, data)
		what, ok := change(root)
		if !ok {
			continue
		}
		text, err := yaml.Marshal(root)
		if err != nil {
			t.Fatal(err)
		}
		set, errs := detector.Load(fstest.MapFS{path.Base(name): {Data: text}})
		if len(errs) > 0 {
			continue // the language itself refuses it
		}
		if sameTiming := timing(set) == timing(whole); sameTiming && (strings.HasPrefix(what, "warmup") || strings.HasPrefix(what, "slot")) {
			continue // it said what holds anyway
		}
		all = append(all, mutant{name, what, text, set})
	}
	return all
}

// timing is what a detector's slot and warm-up come to.
func timing(set *detector.Set) string {
	d := set.Plan.Detectors[0]
	return fmt.Sprint(d.Slot, d.WarmupCalls, d.WarmupSlots, d.WarmupTime, d.WarmupPeers)
}

// onlyPresence says whether a match asks for nothing but that a field is there. A call without the field that a
// detector groups or counts by gives it nothing to count, so such a match only saves work.
func onlyPresence(n *yaml.Node) bool {
	return n != nil && n.Kind == yaml.MappingNode && len(n.Content) == 2 && strings.HasSuffix(n.Content[0].Value, "|exists") && n.Content[1].Value == "true"
}

// change breaks one condition of a detector, and says which.
type change func(root *yaml.Node) (what string, ok bool)

// changes returns what can be broken in a detector.
func changes(root *yaml.Node) []change {
	var all []change
	for _, key := range []string{"match", "conditions"} {
		all = append(all, matchChanges(root, []string{key})...)
	}
	for _, key := range []string{"match", "when", "warmup", "relearn", "exceptions", "slot", "schedule", "quiet"} {
		all = append(all, removal(key))
	}
	all = append(all, removal("warmup", "time"), removal("warmup", "peers"), removal("warmup", "slots"))
	for i := range items(find(root, "baseline")) {
		at := strconv.Itoa(i)
		all = append(all, removal("baseline", at), removal("baseline", at, "memory"), removal("baseline", at, "season"), dull(at))
	}
	all = append(all, scaled("slot"), ungrouped)
	all = append(all, whenChanges(find(root, "when"))...)
	return all
}

// matchChanges breaks each entry at and below a path: once it is gone, once it never holds.
func matchChanges(root *yaml.Node, at []string) []change {
	var all []change
	n := find(root, at...)
	switch {
	case n == nil:
	case n.Kind == yaml.SequenceNode:
		for i := range n.Content {
			below := append(slices.Clone(at), strconv.Itoa(i))
			all = append(all, removal(below...))
			all = append(all, matchChanges(root, below)...)
		}
	case n.Kind == yaml.MappingNode:
		for i := 0; i < len(n.Content); i += 2 {
			below := append(slices.Clone(at), n.Content[i].Value)
			all = append(all, removal(below...))
			switch key := n.Content[i].Value; {
			case key == "any" || key == "all" || key == "not" || len(at) == 1 && at[0] == "conditions":
				all = append(all, matchChanges(root, below)...)
			default:
				all = append(all, never(below))
			}
		}
	}
	return all
}

// removal takes an entry away.
func removal(at ...string) change {
	return func(root *yaml.Node) (string, bool) {
		up, last := find(root, at[:len(at)-1]...), at[len(at)-1]
		if find(up, last) == nil || at[0] == "match" && onlyPresence(find(root, "match")) {
			return "", false
		}
		switch up.Kind {
		case yaml.SequenceNode:
			i, _ := strconv.Atoi(last)
			up.Content = slices.Delete(up.Content, i, i+1)
		case yaml.MappingNode:
			for i := 0; i < len(up.Content); i += 2 {
				if up.Content[i].Value == last {
					up.Content = slices.Delete(up.Content, i, i+2)
					break
				}
			}
		}
		return spell(at) + " removed", true
	}
}

// never makes an entry of a match one that no call meets, or, of exists, the opposite.
func never(at []string) change {
	return func(root *yaml.Node) (string, bool) {
		key, n := at[len(at)-1], find(root, at...)
		switch n.Value {
		case "true":
			n.Value = "false"
			return spell(at) + " is false", true
		case "false":
			n.Value = "true"
			return spell(at) + " is true", true
		}
		value := "no-such-value"
		switch {
		case strings.Contains(key, "|lt") || strings.Contains(key, "|gt"):
			value = "1e300"
		case key == "outcome":
			value = map[string]string{"denied": "error"}[n.Value]
			if value == "" {
				value = "denied"
			}
		}
		*n = yaml.Node{Kind: yaml.ScalarNode, Value: value}
		return spell(at) + " never holds", true
	}
}

// dull puts a feature in a baseline's place that nothing stands out by.
func dull(at string) change {
	return func(root *yaml.Node) (string, bool) {
		n := find(root, "baseline", at)
		*n = *parseText("{feature: new(tenant)}")
		return "baseline[" + at + "] sees nothing", true
	}
}

// scaled makes a duration ten times as long.
func scaled(at ...string) change {
	return func(root *yaml.Node) (string, bool) {
		n := find(root, at...)
		if n == nil {
			return "", false
		}
		n.Value = tenfold(n.Value)
		return spell(at) + " is " + n.Value, true
	}
}

// ungrouped throws all entities of a tenant together.
func ungrouped(root *yaml.Node) (string, bool) {
	if n := find(root, "budget"); n != nil {
		n.Value = regexp.MustCompile(`[a-z-]+-(days|hours|weeks)$`).ReplaceAllString(n.Value, "tenant-$1")
	}
	n := find(root, "group_by")
	if n == nil {
		return "", false
	}
	n.Value = "tenant"
	return "group_by is tenant", true
}

var (
	bounds  = regexp.MustCompile(`(<=?|>=?) ?([0-9.]+)`)
	windows = regexp.MustCompile(`, ?([0-9]+[smhd])\)`)
)

// whenChanges makes each bound of a hard limit ten times as large and as small, and each window as long.
func whenChanges(when *yaml.Node) []change {
	if when == nil {
		return nil
	}
	var all []change
	replace := func(from, to int, value string) {
		all = append(all, func(root *yaml.Node) (string, bool) {
			n := find(root, "when")
			what := fmt.Sprintf("when: %s is %s", n.Value[from:to], value)
			n.Value = n.Value[:from] + value + n.Value[to:]
			return what, true
		})
	}
	for _, m := range bounds.FindAllStringSubmatchIndex(when.Value, -1) {
		bound, err := strconv.ParseFloat(when.Value[m[4]:m[5]], 64)
		switch {
		case err != nil:
		case bound == 0:
			replace(m[4], m[5], "10")
		case bound == 1 && when.Value[m[2]:m[3]] == ">=": // any call breaks it
			replace(m[4], m[5], "10")
			return all
		default:
			replace(m[4], m[5], strconv.FormatFloat(10*bound, 'f', -1, 64))
			replace(m[4], m[5], strconv.FormatFloat(bound/10, 'f', -1, 64))
		}
	}
	for _, m := range windows.FindAllStringSubmatchIndex(when.Value, -1) {
		replace(m[2], m[3], tenfold(when.Value[m[2]:m[3]]))
	}
	return all
}

// tenfold is ten times a duration of one unit.
func tenfold(d string) string {
	return regexp.MustCompile(`^[0-9]+`).FindString(d) + "0" + d[len(d)-1:]
}

// find returns the node at the end of a path of keys and indexes, nil where there is none.
func find(n *yaml.Node, at ...string) *yaml.Node {
	for _, key := range at {
		var next *yaml.Node
		switch {
		case n == nil:
		case n.Kind == yaml.SequenceNode:
			if i, err := strconv.Atoi(key); err == nil && i < len(n.Content) {
				next = n.Content[i]
			}
		case n.Kind == yaml.MappingNode:
			for i := 0; i < len(n.Content); i += 2 {
				if n.Content[i].Value == key {
					next = n.Content[i+1]
				}
			}
		}
		n = next
	}
	return n
}

func items(n *yaml.Node) []*yaml.Node {
	if n == nil || n.Kind != yaml.SequenceNode {
		return nil
	}
	return n.Content
}

// spell writes a path as people do: match.any[0].resource.
func spell(at []string) string {
	var b strings.Builder
	for i, key := range at {
		if _, err := strconv.Atoi(key); err == nil {
			b.WriteString("[" + key + "]")
			continue
		}
		if i > 0 {
			b.WriteByte('.')
		}
		b.WriteString(key)
	}
	return b.String()
}

func parseMapping(t *testing.T, data []byte) *yaml.Node {
	t.Helper()
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	return doc.Content[0]
}

func parseText(text string) *yaml.Node {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		panic(err)
	}
	return doc.Content[0]
}
