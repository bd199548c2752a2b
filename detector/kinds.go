package detector

// Further kinds of features.
const (
	// KindMax is the greatest value of a measure over a sliding window: max(bytes_out, 1m),
	// max(latency, 1m).
	KindMax = KindSurprise + 1 + iota
	// KindSequence is how unexpected the call's value of a field is after those of the calls
	// before it, in nats: sequence(action).
	KindSequence
	// KindRepeats is how many calls in a row repeat the same call, or the same cycle of calls:
	// repeats(call).
	KindRepeats
	// KindDepth is how many members the call's delegation chain has: depth(chain).
	KindDepth
	// KindRecurs is how many members stand in the call's chain more than once: recurs(chain).
	KindRecurs
	// KindBurst is how unexpected it is, in nats, that so many calls in a short time go from
	// the entity to the call's value of a field: burst(resource).
	KindBurst
)
