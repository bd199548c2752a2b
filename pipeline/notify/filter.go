package notify

import (
	"slices"
	"strings"
)

// The words of detectors, weakest first.
var (
	severityWords = []string{"low", "medium", "high", "critical"}
	modeWords     = []string{"observe", "alert", "enforce"}
)

// Filter says which events a sink gets. Severity, modes and canaries are of detections
// alone: whom somebody stopped is always of interest.
type Filter struct {
	Kinds    []Kind   // none: all
	Tenants  []string // patterns with *; none: all
	Severity string   // the lowest
	Modes    []string
	Canaries bool // also of versions of detectors that run on trial
}

func defaultFilter() Filter { return Filter{Severity: "low", Modes: []string{"alert", "enforce"}} }

func (f *Filter) passes(e *Event) bool {
	if len(f.Kinds) > 0 && !slices.Contains(f.Kinds, e.Kind) {
		return false
	}
	if len(f.Tenants) > 0 && !e.isGlobal() && !slices.ContainsFunc(f.Tenants, func(p string) bool { return matches(p, e.Tenant) }) {
		return false
	}
	d := e.Detection
	if d == nil {
		return !e.isDrill()
	}
	return (f.Canaries || !d.Canary) && slices.Contains(f.Modes, d.Mode) && f.severe(d.Severity)
}

// severe passes a severity that is not known: what is new must not be lost.
func (f *Filter) severe(severity string) bool {
	i := slices.Index(severityWords, severity)
	return i < 0 || i >= slices.Index(severityWords, f.Severity)
}

// matches reports whether a name fits a pattern, in which * stands for any text.
func matches(pattern, name string) bool {
	parts := strings.Split(pattern, "*")
	name, ok := strings.CutPrefix(name, parts[0])
	if len(parts) == 1 {
		return ok && name == ""
	}
	last := len(parts) - 1
	for _, part := range parts[1:last] {
		at := strings.Index(name, part)
		if at < 0 {
			return false
		}
		name = name[at+len(part):]
	}
	return ok && strings.HasSuffix(name, parts[last])
}
