package detector

import (
	"regexp"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// The keys of each mapping of the language. schema.json lists the same.
var (
	detectorKeys = []string{
		"id", "title", "description", "severity", "tags", "references", "mode", "constants", "lists", "conditions", "match", "group_by", "within", "baseline",
		"slot", "budget", "warmup", "relearn", "when", "correlation", "quiet", "schedule", "response", "escalate", "exceptions", "tenants", "tests",
	}
	baselineKeys  = []string{"feature", "weight", "season", "memory"}
	warmupKeys    = []string{"calls", "slots", "time", "peers"}
	responseKeys  = []string{"action", "scope", "for"}
	escalateKeys  = []string{"within"}
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
	maxSlot       = day
	maxResponse   = 30 * day
	maxSteps      = 10
	maxWarmup     = 1_000_000
	maxWarmupTime = 30 * day
	leastPeers    = 3
)

// draft is a checked detector whose conditions are not yet part of a plan.
type draft struct {
	Compiled
	file      string
	line      int
	idNode    *yaml.Node
	root      *yaml.Node // the document
	text      string     // likewise
	lists     []listFile // that it names
	match     *tree
	features  features
	excuses   []*tree      // the matches of Exceptions, by index
	memories  []*yaml.Node // of Evidence, by index; nil where it does not say
	relearn   string       // the context entry, where Relearn is FieldContext
	ofNodes   []*yaml.Node // of the members of Correlation
	responses []Response   // by step
	tests     []Test

	overrides []override
}

var (
	idForm  = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	tagForm = regexp.MustCompile(`^[a-z0-9_-]+(\.[a-z0-9_-]+)+$`)
)

// detector reads one document. Where it is wrong, the errors are in r.
func (r *reader) detector(n *yaml.Node) *draft {
	const what = "a detector"
	d := &draft{file: r.file, line: n.Line}
	before := len(r.errs)
	r.constants, r.sources = nil, nil
	o, ok := r.object(n, what, detectorKeys)
	if !ok {
		return d
	}
	r.about(o, d)
	if v := o.values["group_by"]; v != nil {
		r.grouping(v, d)
	}
	r.choose(o, "mode", modeWords, func(i int) { d.Mode = Mode(i) })
	r.names(o)
	r.matching(o, d)
	r.evidence(o, d)
	if v := o.values["when"]; v != nil {
		r.limit(v, d)
	}
	if o.values["correlation"] != nil {
		r.correlation(o, d)
	} else if o.values["baseline"] == nil && o.values["when"] == nil {
		r.fail(n, "add baseline: or when:", "the detector never fires: it has neither baseline nor when")
	}
	r.answer(o, d)
	if v := o.values["exceptions"]; v != nil {
		r.exceptions(v, d)
	}
	r.overrides(o, d)
	if v := o.values["tests"]; v != nil {
		d.tests = r.tests(v)
	}
	if len(r.errs) == before {
		r.unused()
	}
	r.brokenLists()
	return d
}

// limit reads the hard limit.
func (r *reader) limit(n *yaml.Node, d *draft) {
	d.When, _ = r.when(n, d.GroupBy, &d.features)
	d.WhenText = strings.Join(strings.Fields(r.spellOut(n.Value)), " ")
}

// about reads what a detector says of itself.
func (r *reader) about(o object, d *draft) {
	if v := r.need(o, "a detector", "id"); v != nil {
		d.idNode = v
		text, ok := r.text(v, "id")
		if ok && (!idForm.MatchString(text) || len(text) > maxIDLength) {
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
	if v := o.values["references"]; v != nil {
		for _, item := range r.items(v, "references") {
			reference, _ := r.text(item, "a reference")
			d.References = append(d.References, reference)
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
