package backtest

import (
	"maps"
	"slices"
	"time"

	"github.com/estop-project/estop/detector"
)

// Comparison is what two versions of detectors found in the same history.
type Comparison struct {
	Against   string               `json:"against"`
	Detectors []DetectorComparison `json:"detectors"`
}

// DetectorComparison compares what two versions of one detector found. A detection of one version
// is the same as one of the other if it is of the same entity and comes at the same time, within the quiet
// time of the longer, or an hour.
type DetectorComparison struct {
	ID            string `json:"id"`
	VersionBefore string `json:"version_before,omitempty"` // empty: there was none
	VersionNow    string `json:"version_now,omitempty"`    // empty: there is none
	Changed       bool   `json:"changed"`
	Before        int    `json:"detections_before"`
	Now           int    `json:"detections_now"`
	KillsBefore   int    `json:"kills_before"`
	KillsNow      int    `json:"kills_now"`
	Both          int    `json:"both"` // at the same call
	Earlier       int    `json:"earlier"`
	Later         int    `json:"later"`
	OnlyBefore    int    `json:"only_before"`
	OnlyNow       int    `json:"only_now"`
	// The first of those that only one version has, and of those that moved.
	Differences []Difference `json:"differences"`
}

// Difference is a detection that the versions do not share.
type Difference struct {
	What   string    `json:"what"` // only_before, only_now, earlier or later
	Tenant string    `json:"tenant"`
	Entity string    `json:"entity"`
	Before time.Time `json:"before,omitzero"`
	Now    time.Time `json:"now,omitzero"`
	CallID string    `json:"call_id"` // of the version that has it, the present one if both
}

// mostDifferences bounds those of one detector that are listed.
const mostDifferences = 10

// compare holds a version against the one before.
func compare(before, now *side, opt Options) *Comparison {
	c := &Comparison{Against: opt.AgainstName, Detectors: []DetectorComparison{}}
	was, is := byID(before), byID(now)
	ids := slices.Collect(maps.Keys(was))
	for id := range is {
		if was[id] == nil {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	for _, id := range ids {
		if opt.wants(id) {
			c.Detectors = append(c.Detectors, compareOne(id, was[id], is[id]))
		}
	}
	return c
}

// foundBy is a detector and what it found.
type foundBy struct {
	*detector.Compiled
	hits []*Hit
}

func byID(s *side) map[string]*foundBy {
	all := map[string]*foundBy{}
	for _, d := range s.set.Plan.Detectors {
		all[d.ID] = &foundBy{Compiled: d}
	}
	for i := range s.hits {
		f := all[s.hits[i].Detector]
		f.hits = append(f.hits, &s.hits[i])
	}
	return all
}

func compareOne(id string, before, now *foundBy) DetectorComparison {
	c := DetectorComparison{ID: id, Changed: true, Differences: []Difference{}}
	window := time.Hour
	var was, is []*Hit
	if before != nil {
		c.VersionBefore, was = before.Version, before.hits
		window = max(window, before.Quiet)
	}
	if now != nil {
		c.VersionNow, is = now.Version, now.hits
		window = max(window, now.Quiet)
	}
	c.Changed = c.VersionBefore != c.VersionNow
	c.Before, c.Now, c.KillsBefore, c.KillsNow = len(was), len(is), kills(was), kills(is)
	for _, p := range pair(was, is, window) {
		c.count(p)
	}
	return c
}

func kills(hits []*Hit) (n int) {
	for _, h := range hits {
		if h.Killed {
			n++
		}
	}
	return n
}

// twin is a detection of both versions, or of one.
type twin struct{ before, now *Hit }

// pair finds the detections that are the same, in the order of the log.
func pair(was, is []*Hit, window time.Duration) []twin {
	type entity struct{ by, tenant, name string }
	of := func(h *Hit) entity { return entity{h.EntityBy, h.Tenant, h.Entity} }
	waiting := map[entity][]*Hit{}
	for _, h := range was {
		waiting[of(h)] = append(waiting[of(h)], h)
	}
	var twins []twin
	for _, h := range is {
		queue := waiting[of(h)]
		for len(queue) > 0 && queue[0].call < h.call && h.Time.Sub(queue[0].Time) > window {
			twins = append(twins, twin{before: queue[0]})
			queue = queue[1:]
		}
		t := twin{now: h}
		if len(queue) > 0 && queue[0].Time.Sub(h.Time).Abs() <= window {
			t.before, queue = queue[0], queue[1:]
		}
		twins = append(twins, t)
		waiting[of(h)] = queue
	}
	for _, queue := range waiting {
		for _, h := range queue {
			twins = append(twins, twin{before: h})
		}
	}
	slices.SortStableFunc(twins, func(a, b twin) int { return int(a.call() - b.call()) })
	return twins
}

func (t twin) call() int64 {
	if t.now != nil {
		return t.now.call
	}
	return t.before.call
}

func (c *DetectorComparison) count(t twin) {
	d := Difference{}
	switch {
	case t.before == nil:
		c.OnlyNow++
		d.What = "only_now"
	case t.now == nil:
		c.OnlyBefore++
		d.What = "only_before"
	case t.before.call == t.now.call:
		c.Both++
		return
	case t.now.call < t.before.call:
		c.Earlier++
		d.What = "earlier"
	default:
		c.Later++
		d.What = "later"
	}
	if len(c.Differences) == mostDifferences {
		return
	}
	h := t.now
	if h == nil {
		h = t.before
	}
	d.Tenant, d.Entity, d.CallID = h.Tenant, h.Entity, h.CallID
	if t.before != nil {
		d.Before = t.before.Time
	}
	if t.now != nil {
		d.Now = t.now.Time
	}
	c.Differences = append(c.Differences, d)
}
