package detector

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// The words of a baseline, and of what evidence gathers within.
var (
	seasonWords = []string{"hour-of-week"}
	withinWords = []string{"session"}
)

// sessionHolders are the entities that have sessions.
var sessionHolders = []string{"agent", "identity", "chain_root", "parent"}

// The bounds of a baseline's memory. What remembers fewer slots than a warm-up takes has hardly
// learned when it forgets.
const (
	minMemorySlots = 20
	maxMemory      = 400 * day
)

// evidence reads the baselines and what belongs to them.
func (r *reader) evidence(o object, d *draft) {
	d.Slot, d.WarmupCalls, d.WarmupSlots = defaultSlot, defaultWarmupCalls, defaultWarmupSlots
	v := o.values["baseline"]
	if v == nil {
		for _, key := range []string{"within", "budget", "slot", "warmup", "relearn"} {
			if k := o.keys[key]; k != nil {
				r.fail(k, "add baseline: or leave it out", "%s means nothing without a baseline", key)
			}
		}
		return
	}
	r.within(o, d)
	for _, item := range r.items(v, "baseline") {
		r.baseline(item, d)
	}
	r.slot(o, d)
	r.memorySlots(d)
	r.warmup(o, d)
	if v := o.values["relearn"]; v != nil {
		r.relearn(v, d)
	}
	if b := r.need(o, "a detector with a baseline", "budget"); b != nil {
		r.budget(b, d)
	}
}

// within reads whether evidence gathers inside one session.
func (r *reader) within(o object, d *draft) {
	v := o.values["within"]
	if v == nil {
		return
	}
	if _, ok := r.choice(v, "within", withinWords); !ok {
		return
	}
	d.Within = true
	if !slices.Contains(sessionHolders, d.GroupBy.String()) {
		r.fail(v, "group by one of "+strings.Join(sessionHolders, ", "), "within: session does not go with group_by: %s", d.GroupBy)
	}
}

func (r *reader) baseline(n *yaml.Node, d *draft) {
	const what = "a baseline"
	o, ok := r.object(n, what, baselineKeys)
	if !ok {
		return
	}
	e := Evidence{Weight: 1}
	if v := o.values["weight"]; v != nil {
		e.Weight = r.weight(v)
	}
	v := r.need(o, what, "feature")
	if v == nil {
		return
	}
	if e.Feature, ok = r.featureText(v, d.GroupBy, &d.features); !ok {
		return
	}
	f := d.features.list[e.Feature]
	if hint := f.insteadOfBaseline(d.features.keys[e.Feature]); hint != "" {
		r.fail(v, hint, "there is no baseline for %s", f.Name)
		return
	}
	if d.Within && f.slotted() {
		r.fail(v, "use it in when:, or write sequence(call) or new(resource)", "%s is counted by slots, and a session has none", f.Name)
		return
	}
	if !d.Within && f.Kind == KindSequence {
		r.fail(v, "add within: session, or use it in when:", "%s is judged session by session", f.Name)
		return
	}
	if slices.ContainsFunc(d.Evidence, func(other Evidence) bool { return other.Feature == e.Feature }) {
		r.fail(v, "leave one out", "the baseline of %s comes twice", f.Name)
		return
	}
	if v := o.values["season"]; v != nil {
		e.Seasonal = r.season(v, f)
	}
	memory := o.values["memory"]
	if memory != nil {
		e.Memory = r.memory(memory, f)
	}
	d.Evidence = append(d.Evidence, e)
	d.memories = append(d.memories, memory)
}

// insteadOfBaseline says what to write in place of a feature that has no baseline; it is empty
// where there is one.
func (f Feature) insteadOfBaseline(key string) string {
	switch f.Kind {
	case KindRate:
		counted := "count"
		if f.Measure > MeasureMinutes {
			counted = "sum"
		}
		return "use it in when:, or write " + strings.Replace(f.Name, "rate", counted, 1)
	case KindDistinct:
		if f.Field != FieldSession {
			return fmt.Sprintf("use it in when:, or write new(%s)", f.argument(key))
		}
		return "use it in when:"
	case KindDepth, KindRecurs:
		return "use it in when:, or write new(chain)"
	case KindQuantile:
		return fmt.Sprintf("use it in when:, or write max(%s, %s)", f.Measure, formatDuration(f.Window))
	}
	return ""
}

// slotted says whether the feature, as evidence, is what one slot holds.
func (f Feature) slotted() bool {
	return f.windowed() || f.Kind == KindRepeats || f.Kind == KindStale || f.Kind == KindBurst
}

// seasonal says whether its baseline can know the hour of the week.
func (f Feature) seasonal() bool { return f.Kind == KindCount && f.Measure <= MeasureMinutes }

// windowed says whether the feature, as evidence, is over a window that must be the slot.
func (f Feature) windowed() bool { return f.Kind == KindCount || f.Kind == KindMax }

func (r *reader) weight(n *yaml.Node) float64 {
	text, ok := r.text(n, "weight")
	if !ok {
		return 1
	}
	w, err := strconv.ParseFloat(text, 64)
	if err != nil || !(w > 0 && w <= 1000) {
		r.fail(n, "", "weight must be a number over 0 and up to 1000, not %q", shorten(text))
		return 1
	}
	return w
}

func (r *reader) season(n *yaml.Node, f Feature) bool {
	if _, ok := r.choice(n, "season", seasonWords); !ok {
		return false
	}
	if !f.seasonal() {
		r.fail(n, "leave season out", "only count(…) has a season, %s has none", f.Name)
	}
	return true
}

func (r *reader) memory(n *yaml.Node, f Feature) time.Duration {
	if !f.windowed() {
		r.fail(n, "leave memory out", "only count(…), sum(…) and max(…) have a memory, %s has none", f.Name)
		return 0
	}
	memory, _ := r.duration(n, "memory", minWindow, maxMemory)
	return memory
}

// memorySlots checks that each memory holds enough slots, whose length is known by now.
func (r *reader) memorySlots(d *draft) {
	for i, e := range d.Evidence {
		if least := minMemorySlots * d.Slot; e.Memory > 0 && e.Memory < least {
			r.fail(d.memories[i], "write "+formatDuration(least)+" or more", "memory is %s, under %d slots of %s",
				formatDuration(e.Memory), minMemorySlots, formatDuration(d.Slot))
		}
	}
}

// slot reads the step of the e-detector. Counts, sums and maxima are evidence once for each slot, so
// their window must be the slot: overlapping windows would count one call twice.
func (r *reader) slot(o object, d *draft) {
	given := o.values["slot"]
	if given != nil && d.Within {
		r.fail(o.keys["slot"], "leave slot out", "slot means nothing within a session")
		return
	}
	if given != nil {
		if s, ok := r.duration(given, "slot", minWindow, maxSlot); ok {
			d.Slot = s
		}
	}
	first := ""
	for _, e := range d.Evidence {
		f := d.features.list[e.Feature]
		if !f.windowed() {
			continue
		}
		if given == nil && first == "" {
			d.Slot = f.Window
			if d.Slot > maxSlot {
				r.fail(o.keys["baseline"], "", "the window of %s is over %s, the longest slot", f.Name, formatDuration(maxSlot))
			}
		}
		if f.Window != d.Slot {
			other := "the slot"
			if given == nil {
				other = first
			}
			r.fail(o.keys["baseline"], "make them the same", "%s and %s have different lengths", f.Name, other)
			return
		}
		first = f.Name
	}
}

func (r *reader) warmup(o object, d *draft) {
	v := o.values["warmup"]
	if v == nil {
		return
	}
	w, ok := r.object(v, "warmup", warmupKeys)
	if !ok {
		return
	}
	least := map[string]int64{"calls": 1} // what a detector matches may be what an entity never did
	for key, to := range map[string]*int{"calls": &d.WarmupCalls, "slots": &d.WarmupSlots} {
		if v := w.values[key]; v != nil {
			if i, ok := r.integer(v, "warmup "+key, least[key], maxWarmup); ok {
				*to = int(i)
			}
		}
	}
	if v := w.values["time"]; v != nil {
		d.WarmupTime, _ = r.duration(v, "warmup time", 0, maxWarmupTime)
	}
	if v := w.values["peers"]; v != nil {
		peers, _ := r.integer(v, "warmup peers", leastPeers, maxWarmup)
		d.WarmupPeers = int(peers)
	}
}

// relearn reads the field whose new value lets baselines relearn. A session, an outcome or a call
// changes all the time: baselines that relearned with it would never know anything.
func (r *reader) relearn(n *yaml.Node, d *draft) {
	text, ok := r.text(n, "relearn")
	if !ok {
		return
	}
	d.Relearn, d.relearn, d.HasRelearn = fieldNamed(text, edgeFields)
	switch {
	case !d.HasRelearn:
		r.fail(n, didYouMean(text, slices.Concat(edgeFields, []string{"context.KEY"})), "relearn cannot be %q", shorten(text))
	case d.GroupBy.fixes(d.Relearn):
		r.fail(n, "write context.version", "relearn: %s says nothing: the detector groups by %s, so it is always the same", text, text)
	}
}
