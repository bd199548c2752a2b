package detector

import (
	"slices"
	"strings"
)

// function is a word that makes a feature of its arguments.
type function struct {
	name    string
	kind    FeatureKind
	example string // shown where it is written wrongly; its commas tell the arguments
	limit   string // an example of a condition over it
	what    string // it is, for people
	model   string // of its baseline; empty where it has none
	section string // of the page of models that tells of the model, or of the feature
	// The first argument, that of a quantile the second, is one of these measures, or one of these fields.
	measures, fields []string
	context          bool     // the first argument may be a context entry as well
	share            bool     // it is its count by that of all calls; for a hard limit alone
	groupings        []Entity // that it works with; nil: all
}

// edgeFields are the fields of a call that make an edge from an entity. Every session is new, so
// an edge to a session would say nothing.
var edgeFields = []string{"tenant", "agent", "identity", "chain_root", "action", "resource", "parent"}

// edges are the fields that new and surprise tell apart, beside context entries.
var edges = slices.Concat(edgeFields, []string{"chain", "shape", "call"})

// The sections of the page of models.
const (
	aboutWindows   = "windows-count-sum-rate-max-quantile-distinct"
	aboutCounts    = "counts"
	aboutSizes     = "sizes-and-tails-sumbytes-max"
	aboutNovelty   = "novelty-new-surprise"
	aboutSequences = "sequences-sequence-repeats-within-session"
	aboutBursts    = "edge-bursts-burst"
)

// functions are the words that make features.
var functions = []function{
	{
		name: "count", kind: KindCount, example: "count(calls, 10s)", limit: "count(denied, 5m) > 20", measures: []string{"calls", "errors", "denied", "minutes"},
		what: "How many calls there are in a sliding window, or how many of them failed or were denied.", model: "how many there are in a slot in which there are any", section: aboutCounts,
	},
	{
		name: "sum", kind: KindCount, example: "sum(bytes_out, 1m)", limit: "sum(bytes_out, 1h) > 5GiB", measures: []string{"bytes_in", "bytes_out"},
		what: "How many bytes the calls of a sliding window have together.", model: "how large the sum of a slot is, with a heavy tail", section: aboutSizes,
	},
	{
		name: "max", kind: KindMax, example: "max(latency, 1m)", limit: "max(latency, 1m) > 30s", measures: []string{"bytes_in", "bytes_out", "latency"},
		what: "The slowest or the largest call of a sliding window.", model: "how large the largest of a slot is, with a heavy tail", section: aboutSizes,
	},
	{
		name: "rate", kind: KindRate, example: "rate(calls, 1s)", limit: "rate(calls, 10s) > 50", measures: []string{"calls", "errors", "denied", "bytes_in", "bytes_out"},
		what: "What there is of the measure for each second of a sliding window.", section: aboutWindows,
	},
	{
		name: "share", kind: KindCount, example: "share(denied, 5m)", limit: "share(denied, 5m) > 0.5 and count(calls, 5m) >= 20", measures: []string{"errors", "denied"}, share: true,
		what: "Which share of the calls in a sliding window failed or was denied, from 0 to 1. The share of one call is 0 or 1, so say beside it how many calls there must be.", section: aboutWindows,
	},
	{
		name: "quantile", kind: KindQuantile, example: "quantile(0.95, latency, 10m)", limit: "quantile(0.95, latency, 10m) > 5s and count(calls, 10m) >= 20", measures: []string{"bytes_in", "bytes_out", "latency"},
		what: "What such a share of the calls in a sliding window do not exceed, within 5 %: 0.95 is 95 % of them.", section: aboutWindows,
	},
	{
		name: "distinct", kind: KindDistinct, example: "distinct(resource, 1m)", limit: "distinct(resource, 1m) > 300", fields: slices.Concat(edges, []string{"session"}), context: true,
		what: "How many different values of a field the calls of a sliding window have.", section: aboutWindows,
	},
	{
		name: "new", kind: KindNew, example: "new(resource)", limit: "new(identity) > 0", fields: edges, context: true,
		what: "1 where the entity never had this value before, else 0.", model: "how probable a value is that was never seen; each counts once", section: aboutNovelty,
	},
	{
		name: "surprise", kind: KindSurprise, example: "surprise(action)", limit: "surprise(action) > 8", fields: edges, context: true,
		what: "How unexpected the value is for the entity, in nats. It goes on for the next calls with the same value, until that has proved itself.", model: "how probable the value is, call for call", section: aboutNovelty,
	},
	{
		name: "sequence", kind: KindSequence, example: "sequence(action)", limit: "sequence(call) > 12", fields: []string{"action", "resource", "shape", "call"},
		what: "How unexpected the value is after those of the calls before it in its session, in nats.", model: "which values follow which", section: aboutSequences,
	},
	{
		name: "repeats", kind: KindRepeats, example: "repeats(call)", limit: "repeats(call) > 50", fields: []string{"call"},
		what: "How many calls in a row repeat the same call, or the same circle of up to eight calls: an agent in a loop.", model: "how many there are in a slot in which there are any", section: aboutSequences,
	},
	{
		name: "stale", kind: KindStale, example: "stale(call)", limit: "stale(call) > 200", fields: []string{"call"},
		what: "How many calls in a row brought nothing new, each like one of the 32 latest different ones: an agent that goes to and fro.", model: "how many there are in a slot in which there are any", section: aboutSequences,
	},
	{
		name: "depth", kind: KindDepth, example: "depth(chain)", limit: "depth(chain) > 8", fields: []string{"chain"},
		what: "How many members the delegation chain has.",
	},
	{
		name: "recurs", kind: KindRecurs, example: "recurs(chain)", limit: "recurs(chain) > 0", fields: []string{"chain"},
		what: "How many members of the delegation chain stand in it more than once.",
	},
	{
		name: "burst", kind: KindBurst, example: "burst(resource)", limit: "burst(resource) > 20", fields: []string{"resource", "shape", "identity", "action", "parent", "chain_root"}, groupings: []Entity{ByTenant},
		what: "How unexpected the traffic between the agent and this value is in this minute, among all agents of the tenant, in nats.", model: "a bound on how improbable seven counts around the edge are", section: aboutBursts,
	},
}

// featureWords are the names of functions.
var featureWords = func() []string {
	var names []string
	for _, f := range functions {
		names = append(names, f.name)
	}
	return names
}()

// arity is how many arguments it takes.
func (f *function) arity() int { return 1 + strings.Count(f.example, ",") }

// functionOf returns the first function that holds, nil if none does.
func functionOf(holds func(f *function) bool) *function {
	for i := range functions {
		if holds(&functions[i]) {
			return &functions[i]
		}
	}
	return nil
}
