package detector

import (
	"cmp"
	"fmt"
	"io/fs"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Warning is something in a right detector that its author may not have meant.
type Warning struct {
	File     string `json:"file"`
	Line     int    `json:"line"`
	Column   int    `json:"column"`
	Detector string `json:"detector"`
	Rule     string `json:"rule"` // the name that silences it
	Msg      string `json:"message"`
	Hint     string `json:"hint,omitempty"` // how to put it right
}

// String returns file:line:column: message, with the hint in parentheses and the rule in brackets.
func (w Warning) String() string {
	e := Error{w.File, w.Line, w.Column, w.Msg, w.Hint}
	return fmt.Sprintf("%s [%s]", e.Error(), w.Rule)
}

// LintOptions are what warnings depend on beside the detectors.
type LintOptions struct {
	Now time.Time
	// Kept is for how long calls are kept, so that a backtest can play them.
	Kept time.Duration
	// MostKills is how many false kills a day the budget of one detector may allow among 1000 agents.
	MostKills float64
	Usage     Usage
}

// DefaultLintOptions are those of an archive as it is shipped, which keeps calls for 180 days, and
// agents that make 1000 calls in 10 sessions a day.
func DefaultLintOptions(now time.Time) LintOptions {
	return LintOptions{Now: now, Kept: 180 * day, MostKills: 1, Usage: Usage{Calls: 1000, Sessions: 10}}
}

// LintReport is what there is to say about detectors that are right.
type LintReport struct {
	Warnings []Warning `json:"warnings"`
	Silenced int       `json:"silenced"` // warnings that comments silence
	Costs    []Cost    `json:"costs"`
	Total    Cost      `json:"total"`
}

// LintRule is a sort of warning.
type LintRule struct{ Name, What string }

// LintRules are the sorts of warnings, by name.
func LintRules() []LintRule { return slices.Clone(lintRules) }

var lintRules = []LintRule{
	{"broken-reference", "a reference that begins as an address of the web and is none"},
	{"dead-condition", "a condition of the match that no call can meet, that every call meets, or that adds nothing beside another"},
	{"dead-exception", "an exception that has expired, or excuses no call that the match takes"},
	{"dead-limit", "a hard limit, or a part of it, that is never true or always"},
	{"duplicate-value", "a value that stands twice in a list, or that another one covers"},
	{"exception-without-end", "an exception without until"},
	{"exception-without-owner", "an exception without owner"},
	{"lint-comment", "a comment to this command that cannot be read, or silences nothing"},
	{"loose-budget", "an enforcing detector whose budget allows more than one false kill a day among 1000 agents (--most-kills)"},
	{"no-test", "no test"},
	{"no-warmup-time", "an enforcing detector with a baseline and no time in its warmup: it stops an entity by what it did in its first hours"},
	{"one-outcome", "tests that all want a detection, or all want none"},
	{"short-retention", "a window or a warm-up longer than calls are kept (--kept), so that no backtest sees what the detector sees"},
	{"shut-out", "exceptions that excuse every call that the match takes"},
	{"tenant-scope", "an enforcing detector that stops a whole tenant by itself"},
	{"unbounded-grouping", "a state for each resource, session or identity there is, for there is no match"},
}

// linter looks at one detector.
type linter struct {
	LintOptions
	file     string
	detector *Compiled
	source   Source
	keys     map[string]*yaml.Node // of the detector
	values   map[string]*yaml.Node
	warnings []Warning
}

// Lint says what the authors of detectors may not have meant, and what the detectors take. Errors
// are what is wrong; where there are any, nothing else is said.
func Lint(files fs.FS, o LintOptions) (*LintReport, Errors) {
	set, errs := Load(files)
	if len(errs) > 0 {
		return nil, errs
	}
	texts, errs := readFiles(files)
	if len(errs) > 0 {
		return nil, errs
	}
	report := &LintReport{Warnings: []Warning{}}
	report.Costs, report.Total = EstimateCosts(set.Plan, o.Usage)
	for _, t := range texts {
		f := &formatter{reader: &reader{file: t.name}}
		var found []*linter
		for _, doc := range f.outline(t.data) {
			l := &linter{LintOptions: o, file: t.name}
			if l.find(set, doc.value) {
				l.all()
				found = append(found, l)
			}
		}
		warnings, silenced := f.silence(found)
		report.Warnings = append(report.Warnings, warnings...)
		report.Silenced += silenced
	}
	slices.SortStableFunc(report.Warnings, func(a, b Warning) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), strings.Compare(a.Rule, b.Rule))
	})
	return report, nil
}

// find finds the detector that a document says.
func (l *linter) find(set *Set, root *yaml.Node) bool {
	i := slices.IndexFunc(set.Sources, func(s Source) bool { return s.File == l.file && s.Line == root.Line })
	if i < 0 {
		return false
	}
	l.detector, l.source = set.Plan.Detectors[i], set.Sources[i]
	l.keys, l.values = map[string]*yaml.Node{}, map[string]*yaml.Node{}
	for j := 0; j+1 < len(root.Content); j += 2 {
		name := root.Content[j].Value
		l.keys[name], l.values[name] = root.Content[j], root.Content[j+1]
	}
	return true
}

func (l *linter) all() {
	l.references()
	l.matches()
	l.limit()
	l.exceptions(l.values["exceptions"])
	l.tenants()
	l.windows()
	l.grouping()
	l.tests()
	l.enforcing()
}

func (l *linter) warn(n *yaml.Node, rule, hint, format string, args ...any) {
	l.warnings = append(l.warnings, Warning{
		File: l.file, Line: n.Line, Column: n.Column, Detector: l.detector.ID, Rule: rule, Msg: fmt.Sprintf(format, args...), Hint: hint,
	})
}

// key returns the node of a key, that of the id where the detector does not have it.
func (l *linter) key(name string) *yaml.Node {
	if n := l.keys[name]; n != nil {
		return n
	}
	return l.keys["id"]
}

// windows warns of what reaches further back than a backtest can see.
func (l *linter) windows() {
	for _, f := range l.detector.Features {
		if f.Window > l.Kept {
			key := "when"
			if b := l.values["baseline"]; b != nil && mentions(b, f.Name) {
				key = "baseline"
			}
			l.warn(l.key(key), "short-retention", "keep calls for longer, or shorten the window",
				"%s looks back further than the %s for which calls are kept, so no backtest sees what it sees", f.Name, formatDuration(l.Kept))
		}
	}
	if l.detector.WarmupTime > l.Kept {
		l.warn(l.key("warmup"), "short-retention", "keep calls for longer, or shorten warmup time",
			"a warm-up of %s is longer than the %s for which calls are kept, so in a backtest the detector never speaks", formatDuration(l.detector.WarmupTime), formatDuration(l.Kept))
	}
}

// mentions says whether a scalar below a node has the text, spaces left aside.
func mentions(n *yaml.Node, text string) bool {
	strip := func(s string) string { return strings.Join(strings.Fields(s), "") }
	if n.Kind == yaml.ScalarNode {
		return strings.Contains(strip(n.Value), strip(text))
	}
	return slices.ContainsFunc(n.Content, func(kid *yaml.Node) bool { return mentions(kid, text) })
}

// grouping warns of a state for each of things whose number nobody bounds.
func (l *linter) grouping() {
	by, _ := l.detector.GroupBy.Partner()
	unbounded := by == ByResource || by == BySession || by == ByIdentity
	if !unbounded || l.detector.Match != nil {
		return
	}
	l.warn(l.key("group_by"), "unbounded-grouping", fmt.Sprintf("add a match that names what matters, or group by agent and count distinct(%s, …)", by),
		"without a match there is a state for each %s that any call names, and nothing bounds how many there are", by)
}

// tests warns of a detector that nobody knows to fire and to be silent.
func (l *linter) tests() {
	if len(l.source.Tests) == 0 {
		l.warn(l.key("id"), "no-test", "add tests: of a bad agent, and of an honest one that comes near", "the detector has no test, so nobody knows that it fires")
		return
	}
	fires, silent := false, false
	for _, t := range l.source.Tests {
		fires = fires || t.Expect.Bound != AtMost && t.Expect.Count > 0
		silent = silent || t.Expect.Bound != AtLeast && t.Expect.Count == 0
	}
	switch {
	case !fires:
		l.warn(l.key("tests"), "one-outcome", "add a test with detections: exactly 1", "no test wants a detection: a detector that never fires would pass")
	case !silent:
		l.warn(l.key("tests"), "one-outcome", "add a test with detections: exactly 0", "no test wants silence: a detector that always fires would pass")
	}
}

// enforcing warns of what is harmless as long as nobody is stopped.
func (l *linter) enforcing() {
	d := l.detector
	if !d.enforces() {
		return
	}
	if len(d.Evidence) > 0 && d.WarmupTime == 0 {
		l.shortWarmup()
	}
	l.scope(l.values["response"])
	l.budget()
}

func (l *linter) shortWarmup() {
	l.warn(l.key("warmup"), "no-warmup-time", "write warmup: {time: 21d}",
		"an entity is stopped by what it did in its first hours: what comes once a day or once a week, the detector has not seen yet")
}

func (l *linter) scope(response *yaml.Node) {
	if n := scopeOfTenant(response); n != nil {
		l.warn(n, "tenant-scope", "write scope: agent, and leave a tenant to a person: estop kill --tenant",
			"one call of one agent stops the whole tenant")
	}
}

func (l *linter) budget() {
	if kills := l.detector.kills(l.Usage); kills > l.MostKills*1.001 {
		l.warn(l.key("budget"), "loose-budget", fmt.Sprintf("write a budget %.3g times smaller than %q", math.Ceil(kills/l.MostKills), l.detector.Budget),
			"the budget allows %.3g false kills a day among 1000 agents", kills)
	}
}

// scopeOfTenant finds scope: tenant in a response.
func scopeOfTenant(n *yaml.Node) *yaml.Node {
	if n == nil {
		return nil
	}
	for i, kid := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 && kid.Value == "scope" && n.Content[i+1].Value == "tenant" {
			return n.Content[i+1]
		}
		if found := scopeOfTenant(kid); found != nil {
			return found
		}
	}
	return nil
}

// lintComment is what silences a rule. It stands in a comment, not in a key: it says nothing about the
// calls, it stands beside what it excuses, and it carries its reason, as an exception does.
var (
	lintComment = regexp.MustCompile(`^#\s*estop-lint:`)
	lintIgnore  = regexp.MustCompile(`^#\s*estop-lint:\s*ignore\s+([a-z-]+(?:\s*,\s*[a-z-]+)*)\s+(?:—|–|--|-)\s*(\S.*)$`)
)

// silence takes away the warnings that comments in the detectors silence, and adds one for each
// comment that does nothing.
func (f *formatter) silence(found []*linter) (left []Warning, silenced int) {
	for _, c := range f.comments() {
		l := f.about(c, found)
		if !lintComment.MatchString(c.text) || l == nil {
			continue
		}
		at := &yaml.Node{Line: c.at.line, Column: c.at.column}
		m := lintIgnore.FindStringSubmatch(c.text)
		if m == nil {
			l.warn(at, "lint-comment", "write # estop-lint: ignore RULE — the reason", "the comment cannot be read")
			continue
		}
		for name := range strings.SplitSeq(m[1], ",") {
			name = strings.TrimSpace(name)
			if !slices.ContainsFunc(lintRules, func(r LintRule) bool { return r.Name == name && name != "lint-comment" }) {
				l.warn(at, "lint-comment", didYouMean(name, ruleNames()), "no rule is called %q", shorten(name))
				continue
			}
			kept := slices.DeleteFunc(slices.Clone(l.warnings), func(w Warning) bool { return w.Rule == name })
			if len(kept) == len(l.warnings) {
				l.warn(at, "lint-comment", "take the comment out", "there is no warning of %s to ignore", name)
				continue
			}
			silenced += len(l.warnings) - len(kept)
			l.warnings = kept
		}
	}
	for _, l := range found {
		left = append(left, l.warnings...)
	}
	return left, silenced
}

func ruleNames() []string {
	var names []string
	for _, r := range lintRules {
		names = append(names, r.Name)
	}
	return names
}

// about returns the detector in whose document a comment stands.
func (f *formatter) about(c comment, found []*linter) *linter {
	var of *linter
	for _, l := range found {
		if of == nil {
			of = l
			continue
		}
		for line := of.source.Line; line <= c.at.line; line++ {
			if line > of.source.Line && f.separates(line) && line <= l.source.Line {
				of = l
				break
			}
		}
	}
	return of
}
