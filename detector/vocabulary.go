package detector

import "slices"

// Word is a word of the language and what it means, for people.
type Word struct{ Name, What string }

// The vocabulary of the language: what the compiler knows is read from here, and so is the reference.
var (
	fields = []Word{
		{"tenant", "the customer in whose context the call happens"},
		{"agent", "who acts"},
		{"identity", "the credential or role that the agent acts with on this call"},
		{"session", "the run, conversation or request tree that the call belongs to"},
		{"chain_root", "who stands first in the delegation chain"},
		{"action", "what the call does, as in `s3:GetObject`"},
		{"resource", "on what it does that"},
		{"outcome", "`ok`, `denied` or `error`"},
		{"parent", "the agent that delegated the call: the last member but one of the delegation chain; a call without a chain, or with a chain of one, has none"},
		{"chain", "the whole delegation chain; in features alone"},
		{"shape", "the resource with each number in it as 0, so that all tickets are one; in features alone"},
		{"call", "the action and the shape together; in features alone"},
	}
	entities = []Word{
		{"agent", "each agent"},
		{"identity", "each credential or role, whoever acts with it"},
		{"session", "each session"},
		{"chain_root", "each principal that stands first in a delegation chain, with all that is done in its name"},
		{"tenant", "each tenant as a whole"},
		{"resource", "each resource, whoever uses it"},
		{"parent", "each agent that delegates: its own calls, and those that others make at its word"},
	}
	measures = []Word{
		{"calls", "calls"},
		{"errors", "calls whose outcome is `error`"},
		{"denied", "calls whose outcome is `denied`"},
		{"minutes", "minutes in which there was a call, as the calls say when they were made; in a baseline alone"},
		{"bytes_in", "bytes that the calls were given"},
		{"bytes_out", "bytes that they gave out"},
		{"latency", "how long the calls took, in seconds"},
	}
	modifierMeanings = []Word{
		{"contains", "a part of the value; wildcards work in it"},
		{"startswith", "how the value begins; wildcards work in it"},
		{"endswith", "how the value ends; wildcards work in it"},
		{"re", "an RE2 expression that is found anywhere in the value; it regards case, unless it begins with `(?i)`"},
		{"cidr", "the value is an IP address within a network, as in `10.0.0.0/8`"},
		{"in", "the value is one of a list, in which `*` and `?` are no wildcards"},
		{"exists", "`true`: the field is there and not empty; `false`: it is not"},
		{"lt", "the value is a number under this one"},
		{"lte", "the value is a number up to this one"},
		{"gt", "the value is a number over this one"},
		{"gte", "the value is a number from this one on"},
		{"cased", "upper and lower case are told apart"},
		{"all", "every value of the list must hold, where one is enough without it"},
		{"not", "the opposite"},
	}
	units = []Word{
		{"ms", "milliseconds"}, {"s", "seconds"}, {"m", "minutes"}, {"h", "hours"}, {"d", "days of 24 hours"}, {"w", "weeks of 7 days"},
		{"B", "bytes"}, {"KiB", "1024 bytes"}, {"MiB", "1024 KiB"}, {"GiB", "1024 MiB"}, {"KB", "1000 bytes"}, {"MB", "1000 KB"}, {"GB", "1000 MB"},
	}
)

// MatchFields are the fields of a call that a match can name, beside context.KEY.
func MatchFields() []Word { return slices.Clone(fields[:FieldChain]) }

// FeatureFields are the fields that are there for features alone.
func FeatureFields() []Word { return slices.Clone(fields[FieldChain:]) }

// EntityWords are what a detector can group by.
func EntityWords() []Word { return slices.Clone(entities) }

// Partners are those that can stand beside the agent in a pair.
func Partners() []string {
	var names []string
	for _, e := range partners {
		names = append(names, e.String())
	}
	return names
}

// Measures are what windows add up.
func Measures() []Word { return slices.Clone(measures) }

// Modifiers are what may stand behind a field of a match.
func Modifiers() []Word { return slices.Clone(modifierMeanings) }

// Units are those of durations and sizes.
func Units() []Word { return slices.Clone(units) }

// namesOf returns the words alone.
func namesOf(words []Word) []string {
	var names []string
	for _, w := range words {
		names = append(names, w.Name)
	}
	return names
}
