package backtest

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/estop-project/estop/detector"
)

// Suggestion is what would quieten one detector, if all that it found is noise. Which of it is, only people
// know.
type Suggestion struct {
	Detector   string     `json:"detector"`
	Detections int        `json:"detections"`
	Allowed    float64    `json:"allowed"` // by the budget, in this history; 0 for a hard limit
	Proposals  []Proposal `json:"proposals"`
}

// Proposal is one change, and what it did to this history when it was played again with it.
type Proposal struct {
	Kind string `json:"kind"` // exception or budget
	YAML string `json:"yaml"`
	// Before and Left are the detections without the change and with it. Dropped are gone; of them Others
	// did not break the detector with a call that the exception names: what it drops beside the noise that it
	// was made for. New are those that come only with the change, such as later ones.
	Before  int `json:"before"`
	Left    int `json:"left"`
	Dropped int `json:"dropped"`
	Others  int `json:"dropped_for_other_reasons"`
	New     int `json:"new"`
	// Excused is how many calls, of those that the detector matches, an exception takes out of its sight.
	Excused int         `json:"calls_excused"`
	Matched int         `json:"calls_matched"`
	Drops   []DropCount `json:"drops"` // by entity, the most first
	Within  *bool       `json:"within_budget,omitempty"`

	index int // of the detector
	match []condition
}

// DropCount is how many detections of an entity a change drops.
type DropCount struct {
	Tenant string `json:"tenant"`
	Entity string `json:"entity"`
	Drops  int    `json:"drops"`
	Others int    `json:"for_other_reasons"`
}

// condition is a field of a match and its value.
type condition struct{ field, value string }

// The bounds of what is suggested.
const (
	mostExceptions = 5    // for one detector
	leastShare     = 0.05 // of the detections, that an exception is worth
	mostDrops      = 20   // entities that are listed
	mostValue      = 256  // bytes
)

// budgets is the group of the tries that change the budget.
const budgets = -1

// suggest proposes changes for the detectors that found more than their budget allows, and plays the
// log again with each of them.
func suggest(ctx context.Context, log Log, p *played, opt Options) ([]Suggestion, error) {
	found := p.sides[0]
	all := []Suggestion{}
	var tries []try
	for i, d := range found.set.Plan.Detectors {
		hits := found.of(i)
		allows := allowed(d) * float64(found.exposure.units[i].known)
		if !opt.wants(d.ID) || len(hits) == 0 || float64(len(hits)) <= allows {
			continue
		}
		all = append(all, Suggestion{Detector: d.ID, Detections: len(hits), Allowed: allows, Proposals: []Proposal{}})
		more, err := triesOf(p, i, hits, allows, opt.As)
		if err != nil {
			return nil, err
		}
		tries = append(tries, more...)
	}
	if len(tries) == 0 {
		return all, nil
	}
	var versions []version
	for _, t := range tries {
		versions = append(versions, t.version)
	}
	again, err := play(ctx, log, opt.Scope, versions, playing{})
	if err != nil {
		return nil, err
	}
	for i := range tries {
		tries[i].judge(found, again.sides[i])
	}
	for i := range all {
		all[i].choose(tries)
	}
	return all, nil
}

// of returns what detector i found.
func (s *side) of(i int) []*Hit {
	var hits []*Hit
	for j := range s.hits {
		if s.hits[j].index == i {
			hits = append(hits, &s.hits[j])
		}
	}
	return hits
}

// try is a change that is tried.
type try struct {
	Proposal
	detector string
	group    int // tries of one group are ways to write the same exception, the narrowest first
	wanted   int // how many detections it is made for
	version  version
}

// triesOf returns the changes of detector i that are tried.
func triesOf(p *played, i int, hits []*Hit, allows float64, as string) ([]try, error) {
	var tries []try
	set := p.sides[0].set
	add := func(t try, v detector.Variant) error {
		changed, errs := set.With(i, v)
		if err := errs.Err(); err != nil {
			return fmt.Errorf("cannot try a change of %s: %w", set.Plan.Detectors[i].ID, err)
		}
		t.index, t.detector, t.version = i, set.Plan.Detectors[i].ID, newVersion(changed, as)
		t.version.counted = true
		tries = append(tries, t)
		return nil
	}
	for group, c := range clusters(hits, p.traffic, allows) {
		for _, match := range c.ways() {
			text := exceptionYAML(match, time.Unix(0, p.last).UTC().AddDate(0, 3, 0), len(c.hits))
			t := try{Proposal: Proposal{Kind: "exception", YAML: text, match: match}, group: group, wanted: len(c.hits)}
			if err := add(t, detector.Variant{Exceptions: text}); err != nil {
				return nil, err
			}
		}
	}
	for _, budget := range smallerBudgets(set.Plan.Detectors[i].Budget) {
		t := try{Proposal: Proposal{Kind: "budget", YAML: "budget: " + budget + "\n"}, group: budgets}
		if err := add(t, detector.Variant{Budget: budget}); err != nil {
			return nil, err
		}
	}
	return tries, nil
}

// cluster is some detections that have a value in common.
type cluster struct {
	first condition
	hits  []*Hit
}

// clusters divides detections by the values that cover the most of them, and that not most calls have, until no
// more are left than are allowed.
func clusters(hits []*Hit, all *traffic, allows float64) []cluster {
	var found []cluster
	left := slices.Clone(hits)
	for len(left) > 0 && float64(len(left)) > allows && len(found) < mostExceptions {
		counts := map[condition]int{}
		for _, h := range left {
			for _, c := range conditions(h) {
				if !all.common(c) {
					counts[c]++
				}
			}
		}
		best, n := condition{}, 0
		for _, c := range slices.SortedFunc(maps.Keys(counts), byField) {
			if counts[c] > n {
				best, n = c, counts[c]
			}
		}
		if n == 0 || float64(n) < leastShare*float64(len(hits)) {
			break
		}
		var in, out []*Hit
		for _, h := range left {
			if slices.Contains(conditions(h), best) {
				in = append(in, h)
			} else {
				out = append(out, h)
			}
		}
		found = append(found, cluster{best, in})
		left = out
	}
	return found
}

var fieldOrder = []string{"agent", "identity", "action", "tenant"}

// byField puts the fields that say most about who it is first.
func byField(a, b condition) int {
	rank := func(c condition) int {
		if i := slices.Index(fieldOrder, c.field); i >= 0 {
			return i
		}
		return len(fieldOrder)
	}
	return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.field, b.field), cmp.Compare(a.value, b.value))
}

// conditions are the values of a detection's call that an exception may name.
func conditions(h *Hit) []condition {
	all := []condition{{"agent", h.Agent}, {"identity", h.Identity}, {"action", h.Action}}
	for _, p := range h.Context {
		all = append(all, condition{contextPrefix + string(p.Key), string(p.Value)})
	}
	return slices.DeleteFunc(all, func(c condition) bool { return c.value == "" || len(c.value) > mostValue })
}

// ways are the ways to write an exception for the cluster: with all that its detections have in common, and with
// the one value alone, each within the tenant if there is one.
func (c cluster) ways() [][]condition {
	common := conditions(c.hits[0])
	for _, h := range c.hits[1:] {
		own := conditions(h)
		common = slices.DeleteFunc(common, func(x condition) bool { return !slices.Contains(own, x) })
	}
	alone := []condition{c.first}
	tenant := condition{"tenant", c.hits[0].Tenant}
	if tenant.value != "" && !slices.ContainsFunc(c.hits, func(h *Hit) bool { return h.Tenant != tenant.value }) {
		common, alone = append(common, tenant), append(alone, tenant)
	}
	slices.SortFunc(common, byField)
	if len(common) == len(alone) {
		return [][]condition{alone}
	}
	return [][]condition{common, alone}
}

// exceptionYAML writes an exception as an entry of exceptions.
func exceptionYAML(match []condition, last time.Time, n int) string {
	var b strings.Builder
	b.WriteString("- match:\n")
	for _, c := range match {
		fmt.Fprintf(&b, "    %s: %s\n", scalar(c.field), scalar(literal(c.value)))
	}
	fmt.Fprintf(&b, "  until: %s\n  owner: FILL-IN # who answers for it\n  reason: FILL-IN # %s in a backtest\n", last.Format(time.DateOnly), plural(n, "detection"))
	return b.String()
}

// literal writes a value so that it stands for itself alone.
func literal(value string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`).Replace(value)
}

// scalar writes a text as YAML.
func scalar(text string) string {
	b, err := yaml.Marshal(text)
	if err != nil {
		return strconv.Quote(text)
	}
	if s := strings.TrimSuffix(string(b), "\n"); !strings.Contains(s, "\n") {
		return s
	}
	return strconv.Quote(text)
}

// smallerBudgets are budgets that allow fewer false alarms: a third, a tenth, and so on.
func smallerBudgets(budget string) []string {
	words := strings.Fields(budget)
	if len(words) == 3 { // 1 per agent-day
		words = slices.Insert(words, 2, "1")
	}
	if len(words) != 4 {
		return nil
	}
	span, err := strconv.ParseFloat(strings.ReplaceAll(words[2], "_", ""), 64)
	if err != nil {
		return nil
	}
	var all []string
	for _, k := range []float64{3, 10, 30, 100, 1000} {
		all = append(all, fmt.Sprintf("%s per %s %s", words[0], strconv.FormatFloat(math.Ceil(span*k), 'f', -1, 64), words[3]))
	}
	return all
}

// judge counts what a change did.
func (t *try) judge(before, after *side) {
	was, now := before.of(t.index), after.of(0)
	quiet := max(time.Hour, before.set.Plan.Detectors[t.index].Quiet)
	t.Before, t.Left = len(was), len(now)
	drops := drops{}
	for _, p := range pair(was, now, quiet) {
		switch {
		case p.before == nil:
			t.New++
		case p.now == nil:
			t.drop(p.before, drops)
		}
	}
	t.Drops = drops.sorted()
	d := before.set.Plan.Detectors[t.index]
	t.Matched = before.exposure.units[t.index].matched
	t.Excused = t.Matched - after.exposure.units[0].matched
	if allows := allowed(d) * float64(before.exposure.units[t.index].known); allows > 0 {
		within := float64(len(now)) <= allows
		t.Within = &within
	}
}

func (t *try) drop(h *Hit, drops drops) {
	t.Dropped++
	n := drops.of(h)
	n.Drops++
	if t.Kind == "exception" && !t.names(h) {
		t.Others++
		n.Others++
	}
}

// drops counts by entity.
type drops map[[2]string]*DropCount

func (d drops) of(h *Hit) *DropCount {
	key := [2]string{h.Tenant, h.Entity}
	if d[key] == nil {
		d[key] = &DropCount{Tenant: h.Tenant, Entity: h.Entity}
	}
	return d[key]
}

// sorted returns the most first, and no more than are listed.
func (d drops) sorted() []DropCount {
	all := []DropCount{}
	for _, n := range d {
		all = append(all, *n)
	}
	slices.SortFunc(all, func(a, b DropCount) int {
		return cmp.Or(cmp.Compare(b.Drops, a.Drops), cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Entity, b.Entity))
	})
	return all[:min(len(all), mostDrops)]
}

// names reports whether the exception names the call that broke the detector.
func (t *try) names(h *Hit) bool {
	has := append(conditions(h), condition{"tenant", h.Tenant})
	return !slices.ContainsFunc(t.match, func(c condition) bool { return !slices.Contains(has, c) })
}

// choose takes of the ways to write an exception the narrowest that does what it is made for, and of
// the budgets the largest that would have held.
func (s *Suggestion) choose(tries []try) {
	byGroup := map[int][]try{}
	for _, t := range tries {
		if t.detector == s.Detector {
			byGroup[t.group] = append(byGroup[t.group], t)
		}
	}
	for _, group := range slices.Sorted(maps.Keys(byGroup)) {
		ways := byGroup[group]
		if group == budgets {
			continue
		}
		best := ways[0]
		for _, w := range ways[1:] {
			if best.Dropped*5 < best.wanted*4 && w.Dropped > best.Dropped {
				best = w
			}
		}
		if best.Dropped > 0 && 2*best.Excused <= best.Matched { // more would blind the detector
			s.Proposals = append(s.Proposals, best.Proposal)
		}
	}
	for _, t := range byGroup[budgets] {
		if t.Within != nil && *t.Within {
			s.Proposals = append(s.Proposals, t.Proposal)
			break
		}
	}
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
