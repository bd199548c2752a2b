package detector

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// tenants looks at what some tenants have instead.
func (l *linter) tenants() {
	n := l.values["tenants"]
	if n == nil {
		return
	}
	type override struct{ key, value *yaml.Node }
	var all []override
	for i := 0; i+1 < len(n.Content); i += 2 {
		all = append(all, override{n.Content[i], n.Content[i+1]})
	}
	// They are compiled with names in front of patterns. What a list holds is not known here.
	pattern := func(o override) bool { return strings.ContainsAny(o.key.Value, "*?") }
	listed := slices.ContainsFunc(all, func(o override) bool { return isReference(o.key) })
	slices.SortStableFunc(all, func(a, b override) int {
		switch {
		case pattern(a) == pattern(b):
			return 0
		case pattern(b):
			return -1
		}
		return 1
	})
	for i, o := range all {
		own := &linter{LintOptions: l.LintOptions, file: l.file, detector: l.detector, keys: map[string]*yaml.Node{"id": o.key}, values: map[string]*yaml.Node{}}
		for j := 0; j+1 < len(o.value.Content); j += 2 {
			own.keys[o.value.Content[j].Value], own.values[o.value.Content[j].Value] = o.value.Content[j], o.value.Content[j+1]
		}
		excused := own.values["exceptions"]
		own.values["match"] = l.values["match"]
		own.exceptions(excused)
		if !listed && len(all) == len(l.detector.Overrides) {
			own.detector = l.detector.Overrides[i].Compiled
			own.answers(l)
		}
		l.warnings = append(l.warnings, own.warnings...)
	}
}

// answers warns of what an override changes for the worse. What it has from the detector itself was
// looked at there.
func (l *linter) answers(base *linter) {
	if l.values["when"] != nil {
		l.limit()
	}
	d := l.detector
	if !d.enforces() {
		return
	}
	first := !base.detector.enforces()
	if first && len(d.Evidence) > 0 && d.WarmupTime == 0 {
		l.shortWarmup()
	}
	if response := l.values["response"]; response != nil {
		l.scope(response)
	} else if first {
		l.scope(base.values["response"])
	}
	if first || l.values["budget"] != nil {
		l.budget()
	}
}
