package telemetry

// The bounds that hold for untrusted bytes unless Limits says otherwise.
const (
	DefaultMaxBytes   = 1 << 20  // of one call, unpacked
	DefaultMaxFile    = 64 << 20 // of one CloudTrail file, unpacked
	DefaultMaxRatio   = 256      // gunzipped to gzipped, once past ratioFrom
	DefaultMaxField   = 4 << 10  // of one value that is kept
	DefaultMaxChain   = 64       // members of the delegation chain
	DefaultMaxContext = 64       // context entries
	DefaultMaxDepth   = 64       // nested objects and arrays in JSON

	// MaxTenant and MaxName bound the names that a revocation can carry. An agent, identity,
	// session or chain member with a longer name could not be stopped, so its calls are
	// refused, and a guard denies them.
	MaxTenant = 256
	MaxName   = 1 << 10

	// ratioFrom is how many bytes may come out of gzip before the ratio counts: short
	// repetitive calls compress well and harm nobody.
	ratioFrom = 1 << 20
	// keepBytes is how large a buffer may be that a decoder keeps for the next message.
	keepBytes = 1 << 20
)

// Limits bounds what a Decoder takes in. A zero field means its default.
type Limits struct {
	MaxBytes   int
	MaxFile    int
	MaxRatio   int
	MaxField   int
	MaxChain   int
	MaxContext int
	MaxDepth   int
}

// withDefaults returns the limits with every zero field filled in.
func (l Limits) withDefaults() Limits {
	set := func(f *int, v int) {
		if *f <= 0 {
			*f = v
		}
	}
	set(&l.MaxBytes, DefaultMaxBytes)
	set(&l.MaxFile, DefaultMaxFile)
	set(&l.MaxRatio, DefaultMaxRatio)
	set(&l.MaxField, DefaultMaxField)
	set(&l.MaxChain, DefaultMaxChain)
	set(&l.MaxContext, DefaultMaxContext)
	set(&l.MaxDepth, DefaultMaxDepth)
	return l
}
