package detector

import "slices"

// function is a word that makes a feature of its arguments.
type function struct {
	name    string
	kind    FeatureKind
	example string // shown where it is written wrongly; its commas tell the arguments
	// The first argument, that of a quantile the second, is one of these measures, or one of these fields.
	measures, fields []string
	context          bool // the first argument may be a context entry as well
	share            bool // it is its count by that of all calls; for a hard limit alone
}

// edgeFields are the fields of a call that make an edge from an entity. Every session is new, so
// an edge to a session would say nothing.
var edgeFields = []string{"tenant", "agent", "identity", "chain_root", "action", "resource", "parent"}

// edges are the fields that new and surprise tell apart, beside context entries.
var edges = slices.Concat(edgeFields, []string{"chain", "shape", "call"})

// functions are the words that make features.
var functions = []function{
	{name: "count", kind: KindCount, example: "count(calls, 10s)", measures: []string{"calls", "errors", "denied", "minutes"}},
	{name: "sum", kind: KindCount, example: "sum(bytes_out, 1m)", measures: []string{"bytes_in", "bytes_out"}},
	{name: "max", kind: KindMax, example: "max(latency, 1m)", measures: []string{"bytes_in", "bytes_out", "latency"}},
	{name: "rate", kind: KindRate, example: "rate(calls, 1s)", measures: []string{"calls", "errors", "denied", "bytes_in", "bytes_out"}},
	{name: "share", kind: KindCount, example: "share(denied, 5m)", measures: []string{"errors", "denied"}, share: true},
	{name: "quantile", kind: KindQuantile, example: "quantile(0.95, latency, 10m)", measures: []string{"bytes_in", "bytes_out", "latency"}},
	{name: "distinct", kind: KindDistinct, example: "distinct(resource, 1m)", fields: slices.Concat(edges, []string{"session"}), context: true},
	{name: "new", kind: KindNew, example: "new(resource)", fields: edges, context: true},
	{name: "surprise", kind: KindSurprise, example: "surprise(agent)", fields: edges, context: true},
	{name: "sequence", kind: KindSequence, example: "sequence(action)", fields: []string{"action", "resource", "shape", "call"}},
	{name: "repeats", kind: KindRepeats, example: "repeats(call)", fields: []string{"call"}},
	{name: "stale", kind: KindStale, example: "stale(call)", fields: []string{"call"}},
	{name: "depth", kind: KindDepth, example: "depth(chain)", fields: []string{"chain"}},
	{name: "recurs", kind: KindRecurs, example: "recurs(chain)", fields: []string{"chain"}},
	{name: "burst", kind: KindBurst, example: "burst(resource)", fields: []string{"resource", "shape", "identity", "action", "parent", "chain_root"}},
}

// featureWords are the names of functions.
var featureWords = func() []string {
	var names []string
	for _, f := range functions {
		names = append(names, f.name)
	}
	return names
}()

// functionOf returns the first function that holds, nil if none does.
func functionOf(holds func(f *function) bool) *function {
	for i := range functions {
		if holds(&functions[i]) {
			return &functions[i]
		}
	}
	return nil
}
