package detector

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/estop-project/estop/models"
)

// The keys of each mapping of the language. schema.json lists the same.
var (
	detectorKeys = []string{
		"id", "title", "description", "severity", "tags", "mode", "match", "group_by", "baseline", "budget",
		"slot", "warmup", "when", "quiet", "response", "exceptions", "tests",
	}
	baselineKeys  = []string{"feature", "weight"}
	warmupKeys    = []string{"calls", "slots", "time"}
	responseKeys  = []string{"action", "scope", "for"}
	exceptionKeys = []string{"match", "until", "owner", "reason"}
)

// What holds where a detector does not say.
const (
	defaultSlot        = 10 * time.Second
	defaultQuiet       = 10 * time.Minute
	defaultWarmupCalls = 200
	defaultWarmupSlots = 20
)

// The bounds of what a detector may say.
const (
	maxSlot       = time.Hour
	maxResponse   = 30 * day
	maxWarmup     = 1_000_000
	maxWarmupTime = 30 * day
)

// draft is a checked detector whose conditions are not yet part of a plan.
type draft struct {
	Compiled
	file     string
	line     int
	idNode   *yaml.Node
	match    *tree
	features features
	excuses  []*tree // the matches of Exceptions, by index
	response *Response
	tests    []Test
}

var (
	idForm  = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	tagForm = regexp.MustCompile(`^[a-z0-9_-]+(\.[a-z0-9_-]+)+$`)
)

// detector reads one document. Where it is wrong, the errors are in r.
func (r *reader) detector(n *yaml.Node) *draft {
	const what = "a detector"
	d := &draft{file: r.file, line: n.Line}
	o, ok := r.object(n, what, detectorKeys)
	if !ok {
		return d
	}
	r.about(o, d)
	r.choose(o, "group_by", entityWords, func(i int) { d.GroupBy = Entity(i) })
	r.choose(o, "mode", modeWords, func(i int) { d.Mode = Mode(i) })
	if v := o.values["match"]; v != nil {
		d.match = matcher{reader: r}.match(v, "match")
	}
	r.evidence(o, d)
	if v := o.values["when"]; v != nil {
		d.When, _ = r.when(v, d.GroupBy, &d.features)
		d.WhenText = strings.Join(strings.Fields(v.Value), " ")
	}
	if o.values["baseline"] == nil && o.values["when"] == nil {
		r.fail(n, "add baseline: or when:", "the detector never fires: it has neither baseline nor when")
	}
	r.answer(o, d)
	if v := o.values["exceptions"]; v != nil {
		r.exceptions(v, d)
	}
	if v := o.values["tests"]; v != nil {
		d.tests = r.tests(v)
	}
	return d
}

// about reads what a detector says of itself.
func (r *reader) about(o object, d *draft) {
	if v := r.need(o, "a detector", "id"); v != nil {
		d.idNode = v
		text, ok := r.text(v, "id")
		if ok && (!idForm.MatchString(text) || len(text) > 64) {
			r.fail(v, "small letters, digits and single hyphens, as in call-rate-breach", "the id %q is not well formed", shorten(text))
		}
		d.ID = text
	}
	if v := r.need(o, "a detector", "title"); v != nil {
		d.Title, _ = r.text(v, "title")
	}
	if v := o.values["description"]; v != nil {
		d.Description, _ = r.text(v, "description")
	}
	d.Severity = "medium"
	r.choose(o, "severity", severityWords, func(i int) { d.Severity = severityWords[i] })
	if v := o.values["tags"]; v != nil {
		for _, item := range r.items(v, "tags") {
			tag, ok := r.text(item, "a tag")
			if ok && !tagForm.MatchString(tag) {
				r.fail(item, "write namespace.name, as in attack.t1530", "the tag %q is not well formed", shorten(tag))
			}
			d.Tags = append(d.Tags, tag)
		}
	}
}

// choose reads an optional key that takes one of some words.
func (r *reader) choose(o object, key string, words []string, set func(i int)) {
	if v := o.values[key]; v != nil {
		if i, ok := r.choice(v, key, words); ok {
			set(i)
		}
	}
}

// evidence reads the baselines and what belongs to them.
func (r *reader) evidence(o object, d *draft) {
	d.Slot, d.WarmupCalls, d.WarmupSlots = defaultSlot, defaultWarmupCalls, defaultWarmupSlots
	v := o.values["baseline"]
	if v == nil {
		for _, key := range []string{"budget", "slot", "warmup"} {
			if k := o.keys[key]; k != nil {
				r.fail(k, "add baseline: or leave it out", "%s means nothing without a baseline", key)
			}
		}
		return
	}
	nodes := r.items(v, "baseline")
	for _, item := range nodes {
		r.baseline(item, d)
	}
	r.slot(o, d)
	r.warmup(o, d)
	if b := r.need(o, "a detector with a baseline", "budget"); b != nil {
		r.budget(b, d)
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
	i, ok := r.featureText(v, d.GroupBy, &d.features)
	if !ok {
		return
	}
	f := d.features.list[i]
	counts := f.Kind == KindCount && f.Measure <= MeasureDenied
	if !counts && f.Kind != KindNew && f.Kind != KindSurprise {
		r.fail(v, "use it in when:, or write count(calls, 10s), new(resource) or surprise(agent)", "there is no baseline for %s", f.Name)
		return
	}
	if slices.ContainsFunc(d.Evidence, func(other Evidence) bool { return other.Feature == i }) {
		r.fail(v, "", "the baseline of %s comes twice", f.Name)
		return
	}
	e.Feature = i
	d.Evidence = append(d.Evidence, e)
}

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

// slot reads the step of the e-detector. Counts are evidence once for each slot, so their
// window must be the slot: overlapping windows would count one call twice.
func (r *reader) slot(o object, d *draft) {
	given := o.values["slot"]
	if given != nil {
		if s, ok := r.duration(given, "slot", minWindow, maxSlot); ok {
			d.Slot = s
		}
	}
	first := ""
	for _, e := range d.Evidence {
		f := d.features.list[e.Feature]
		if f.Kind != KindCount {
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
	for key, to := range map[string]*int{"calls": &d.WarmupCalls, "slots": &d.WarmupSlots} {
		if v := w.values[key]; v != nil {
			if i, ok := r.integer(v, "warmup "+key, 1, maxWarmup); ok {
				*to = int(i)
			}
		}
	}
	if v := w.values["time"]; v != nil {
		d.WarmupTime, _ = r.duration(v, "warmup time", 0, maxWarmupTime)
	}
}

// budgetUnits are the lengths of time that a budget counts.
var budgetUnits = map[string]time.Duration{"hour": time.Hour, "day": day, "week": 7 * day}

// budget reads "1 per 1000 agent-days" or "1 per 1000000 calls" and sets the alarm level. The e-detector
// steps once for each active slot, of which there are at most as many as slots of time, and at most
// as many as calls: so the level is the same function of either.
func (r *reader) budget(n *yaml.Node, d *draft) {
	const form = "write 1 per 1000 %s-days or 1 per 1000000 calls"
	hint := fmt.Sprintf(form, entityPhrase(d.GroupBy))
	text, ok := r.text(n, "budget")
	if !ok {
		return
	}
	words := strings.Fields(text)
	if len(words) == 3 { // 1 per agent-day
		words = slices.Insert(words, 2, "1")
	}
	if len(words) != 4 || words[1] != "per" {
		r.fail(n, hint, "the budget %q is not a phrase of the form N per M UNIT", shorten(text))
		return
	}
	alarms, err1 := strconv.ParseFloat(words[0], 64)
	span, err2 := strconv.ParseFloat(strings.ReplaceAll(words[2], "_", ""), 64)
	if err1 != nil || err2 != nil || !(alarms > 0) || !(span > 0) || math.IsInf(alarms/span, 0) || math.IsInf(span/alarms, 0) {
		r.fail(n, hint, "the numbers of the budget %q must be positive", shorten(text))
		return
	}
	slots, ok := r.budgetSlots(n, words[3], d)
	if !ok {
		return
	}
	d.Budget = strings.Join(strings.Fields(text), " ")
	d.Level = models.AlarmLevelCalls(span * slots / alarms)
	if d.Level < math.Log(minSlots) {
		r.fail(n, "write a longer time", "the budget %q allows a false alarm within %d slots of %s", shorten(text), minSlots, formatDuration(d.Slot))
	}
}

// budgetSlots returns how many slots one unit of a budget holds.
func (r *reader) budgetSlots(n *yaml.Node, unit string, d *draft) (float64, bool) {
	if unit == "call" || unit == "calls" {
		return 1, true
	}
	offset := len([]rune(n.Value[:strings.LastIndex(n.Value, unit)]))
	entity, span, _ := cutLast(unit, "-")
	length, ok := budgetUnits[strings.TrimSuffix(span, "s")]
	if !ok {
		known := []string{"calls"}
		for _, s := range []string{"days", "hours", "weeks"} {
			known = append(known, entityPhrase(d.GroupBy)+"-"+s)
		}
		r.failIn(n, offset, didYouMean(unit, known), "a budget is not counted in %q", shorten(unit))
		return 0, false
	}
	right := entityPhrase(d.GroupBy)
	if entity = strings.ReplaceAll(entity, "_", "-"); entity != right && entity != "entity" {
		r.failIn(n, offset, fmt.Sprintf("write %s-%s", right, span), "the budget counts %s but the detector groups by %s", shorten(unit), d.GroupBy)
		return 0, false
	}
	return length.Seconds() / d.Slot.Seconds(), true
}

// entityPhrase is an entity as a part of a budget's unit: chain-root in chain-root-days.
func entityPhrase(e Entity) string { return strings.ReplaceAll(e.String(), "_", "-") }

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return "", s, false
}
