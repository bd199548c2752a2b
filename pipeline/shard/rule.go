package shard

import (
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/estop-project/estop/detector"
)

// rule is a detector as a shard runs it.
type rule struct {
	*detector.Compiled
	index      int
	shape      uint64    // hash of what its learned state depends on
	logWeights []float64 // of Evidence, summing to 1 before the logarithm
	windowed   []bool    // by feature: the hard limit reads it, so its window is kept
	bare       []int     // features that no evidence reads
	contexts   []string  // by feature: the context key, where its field is a context entry
	values     []float64 // scratch for the hard limit
	sessions   bool      // a feature or the evidence asks for sessions
	relearn    string    // the context key that Relearn names, where it names one
	overrides  []*rule   // by index of Overrides
	bearsRisk  bool      // its evidence counts for an agent's risk
}

func newRule(index int, d *detector.Compiled, contextKeys []string) *rule {
	r := &rule{
		Compiled: d,
		index:    index,
		windowed: make([]bool, len(d.Features)),
		contexts: make([]string, len(d.Features)),
		values:   make([]float64, len(d.Features)),
	}
	var total float64
	for _, ev := range d.Evidence {
		total += ev.Weight
	}
	for _, ev := range d.Evidence {
		r.logWeights = append(r.logWeights, math.Log(ev.Weight/total))
	}
	if d.When != nil {
		for _, i := range d.When.Features() {
			r.windowed[i] = true
		}
	}
	for i := range d.Features {
		if !slices.ContainsFunc(d.Evidence, func(ev detector.Evidence) bool { return ev.Feature == i }) {
			r.bare = append(r.bare, i)
		}
	}
	shape := d.ID + "|" + d.GroupBy.String() + "|" + d.Slot.String()
	for i, f := range d.Features {
		if f.Field >= detector.FieldContext {
			r.contexts[i] = contextKeys[f.Field-detector.FieldContext]
		}
		r.sessions = r.sessions || f.Kind == detector.KindSequence
		shape += "|" + f.Name + strconv.FormatBool(r.windowed[i])
	}
	for _, ev := range d.Evidence {
		shape += "|" + strconv.Itoa(ev.Feature) + strconv.FormatBool(ev.Seasonal) + ev.Memory.String()
	}
	if d.Correlation != nil {
		shape += "|" + d.Correlation.Text
		if d.Correlation.Exchanged() {
			shape += "|exchanged"
		}
	}
	if d.Within {
		r.sessions = true
		shape += "|within"
	}
	if d.HasRelearn && d.Relearn >= detector.FieldContext {
		r.relearn = contextKeys[d.Relearn-detector.FieldContext]
	}
	r.shape = xxhash.Sum64String(shape)
	r.bearsRisk = r.bears()
	for _, o := range d.Overrides {
		r.overrides = append(r.overrides, newRule(index, o.Compiled, contextKeys))
	}
	return r
}

// partCanaries gives a canary state of its own where it would keep the same as the live detector. One that
// keeps other state has the shape that it will have once it is live, so that what it learned stays then; and
// where it keeps the same, what the live one learned stays.
func partCanaries(rules []*rule) {
	live := map[uint64]bool{}
	for _, r := range rules {
		for _, v := range r.versions() {
			live[v.shape] = live[v.shape] || !v.Canary
		}
	}
	for _, r := range rules {
		for _, v := range r.versions() {
			if v.Canary && live[v.shape] {
				v.shape = ^v.shape
			}
		}
	}
}

// versions are the rule and what some tenants have instead.
func (r *rule) versions() []*rule { return append([]*rule{r}, r.overrides...) }

// override returns the rule as the tenant of the call with the given bits has it.
func (r *rule) override(bits []uint64) *rule {
	for i := range r.Overrides {
		if r.Overrides[i].Tenants.Eval(bits) {
			return r.overrides[i]
		}
	}
	return r
}

// of returns the rule as a tenant has it.
func (r *rule) of(tenant string) *rule {
	if len(r.overrides) > 0 {
		if i := r.OverrideOf(tenant); i >= 0 {
			return r.overrides[i]
		}
	}
	return r
}

// exception returns the first one that lets the call pass at its own time t, nil if none does.
func (r *rule) exception(bits []uint64, t int64) *detector.Exception {
	for i := range r.Exceptions {
		x := &r.Exceptions[i]
		if x.Match.Eval(bits) && x.Holds(t) {
			return x
		}
	}
	return nil
}

// windowSlots is how finely a sliding window is cut.
const windowSlots = 20

// exactDistinct is up to how many values a distinct count is exact.
const exactDistinct = 64

// Priors of a new entity: of the count in an active slot, and of its kinds. They only
// matter until the warm-up ends.
const (
	priorCountWeight = 1     // slots
	countMemory      = 2000. // active slots
	minMemory        = 20.   // active slots
	noveltyDiscount  = 0.25
	noveltyStrength  = 1
	noveltyKinds     = 4096
)

// heldFor is how long a surprise feature holds a new kind back, in the calls' own time.
const heldFor = time.Hour

// relearnAfter is the least time between two new versions that let an entity relearn.
const relearnAfter = 24 * time.Hour

// maxHeldDraws bounds the work of learning a held kind.
const maxHeldDraws = 1000

// maxHeld bounds the held kinds of one feature.
const maxHeld = 64
