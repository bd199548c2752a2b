package telemetry

import (
	"time"
	"unsafe"
)

// The known fields of native JSON, as bits: a field may be there only once. Two readers
// that disagree on which of two values counts are how such calls get past a guard.
const (
	seenID = 1 << iota
	seenTime
	seenTenant
	seenAgent
	seenIdentity
	seenSession
	seenChain
	seenAction
	seenResource
	seenOutcome
	seenLatency // latency and latency_ns are two spellings of one field
	seenBytesIn
	seenBytesOut
	seenContext
	seenTraceparent
	seenSig
	haveTime // ts was there and not null
)

// native reads one call in native JSON at its opening brace.
func (s *scanner) native(c *Call) bool {
	if s.peek() != '{' {
		return s.wrongType()
	}
	s.i++
	seen := 0
	for first := true; ; first = false {
		key, more := s.member(first)
		if !more {
			break
		}
		if !s.nativeField(c, key, &seen) {
			return false
		}
	}
	return s.reason == "" && s.complete(c, seen)
}

// nativeField reads the value of one field.
func (s *scanner) nativeField(c *Call, key []byte, seen *int) bool {
	switch string(key) {
	case "id":
		return s.once(seen, seenID) && s.text(&c.ID)
	case "ts":
		return s.once(seen, seenTime) && s.timestamp(&c.Time, seen)
	case "tenant":
		return s.once(seen, seenTenant) && s.text(&c.Tenant)
	case "agent":
		return s.once(seen, seenAgent) && s.text(&c.Agent)
	case "identity":
		return s.once(seen, seenIdentity) && s.text(&c.Identity)
	case "session":
		return s.once(seen, seenSession) && s.text(&c.Session)
	case "chain":
		return s.once(seen, seenChain) && s.chain(c)
	case "action":
		return s.once(seen, seenAction) && s.text(&c.Action)
	case "resource":
		return s.once(seen, seenResource) && s.text(&c.Resource)
	case "outcome":
		return s.once(seen, seenOutcome) && s.outcome(&c.Outcome)
	case "latency", "latency_ns":
		return s.once(seen, seenLatency) && s.latency(&c.Latency)
	case "bytes_in":
		return s.once(seen, seenBytesIn) && s.size(&c.BytesIn)
	case "bytes_out":
		return s.once(seen, seenBytesOut) && s.size(&c.BytesOut)
	case "context":
		return s.once(seen, seenContext) && s.context(c)
	case "traceparent":
		return s.once(seen, seenTraceparent) && s.text(&c.Traceparent)
	case "sig":
		return s.once(seen, seenSig) && s.text(&c.Sig)
	}
	c.Unknown++
	return s.skip(1)
}

// complete fails where the call lacks what a call cannot be without.
func (s *scanner) complete(c *Call, seen int) bool {
	reason := incomplete(c, seen)
	return reason == "" || s.fail(reason)
}

// incomplete returns the reason why a call is none, or nothing. An id that was not sent is
// the decoder's to derive.
func incomplete(c *Call, seen int) (reason string) {
	switch {
	case seen&haveTime == 0:
		return ReasonMissingTime
	case len(c.Tenant) == 0:
		return ReasonEmptyTenant
	case len(c.Agent) == 0:
		return ReasonEmptyAgent
	}
	return ""
}

func (s *scanner) once(seen *int, bit int) bool {
	if *seen&bit != 0 {
		return s.fail(ReasonDuplicateKey)
	}
	*seen |= bit
	return true
}

// timestamp reads an RFC 3339 string or integer Unix nanoseconds. null is no time.
func (s *scanner) timestamp(dst *int64, seen *int) bool {
	switch s.peek() {
	case '"':
		*seen |= haveTime
		t, ok := s.str()
		if !ok {
			return false
		}
		ns, reason := parseTime(t)
		if reason != "" {
			return s.fail(reason)
		}
		*dst = ns
		return true
	case 'n':
		return s.word("null")
	}
	*seen |= haveTime
	ns, ok := s.integer()
	if ok && ns < 0 {
		return s.fail(ReasonNegativeTime)
	}
	*dst = ns
	return ok
}

// latency reads a duration ("12ms", as in Go) or integer nanoseconds.
func (s *scanner) latency(dst *time.Duration) bool {
	var d time.Duration
	switch s.peek() {
	case '"':
		t, ok := s.str()
		if !ok {
			return false
		}
		// ParseDuration keeps nothing of its argument, so no copy need be made for it.
		v, err := time.ParseDuration(unsafe.String(unsafe.SliceData(t), len(t)))
		if err != nil {
			return s.fail(ReasonBadValue)
		}
		d = v
	case 'n':
		return s.word("null")
	default:
		ns, ok := s.integer()
		if !ok {
			return false
		}
		d = time.Duration(ns)
	}
	if d < 0 {
		return s.fail(ReasonNegativeTime)
	}
	*dst = d
	return true
}

// size reads a number of bytes.
func (s *scanner) size(dst *int64) bool {
	if s.peek() == 'n' {
		return s.word("null")
	}
	n, ok := s.integer()
	if ok && n < 0 {
		return s.fail(ReasonNegativeBytes)
	}
	*dst = n
	return ok
}

func (s *scanner) outcome(dst *Outcome) bool {
	var t []byte
	if !s.text(&t) {
		return false
	}
	switch string(t) {
	case "ok", "":
		*dst = OutcomeOK
	case "denied":
		*dst = OutcomeDenied
	case "error":
		*dst = OutcomeError
	default:
		return s.fail(ReasonBadValue)
	}
	return true
}

// chain reads an array of agents, none of them empty.
func (s *scanner) chain(c *Call) bool {
	switch s.peek() {
	case 'n':
		return s.word("null")
	case '[':
		s.i++
	default:
		return s.wrongType()
	}
	for first := true; s.element(first); first = false {
		if len(c.Chain) >= s.limits.MaxChain {
			return s.fail(ReasonChainTooDeep)
		}
		if s.peek() != '"' {
			return s.wrongType()
		}
		var m []byte
		if !s.text(&m) {
			return false
		}
		if len(m) == 0 {
			return s.fail(ReasonBadValue)
		}
		c.Chain = append(c.Chain, m)
	}
	return s.reason == ""
}

// context reads an object. Values other than strings are kept as their JSON text; a null
// is no entry.
func (s *scanner) context(c *Call) bool {
	switch s.peek() {
	case 'n':
		return s.word("null")
	case '{':
		s.i++
	default:
		return s.wrongType()
	}
	for first := true; ; first = false {
		key, more := s.member(first)
		if !more {
			return s.reason == ""
		}
		if len(key) > s.limits.MaxField {
			return s.fail(ReasonFieldTooLong)
		}
		null := s.peek() == 'n'
		value, ok := s.scalar(2)
		if !ok {
			return false
		}
		if null {
			continue
		}
		if !s.pair(c, key, value) {
			return false
		}
	}
}

// pair adds a context entry. Entries are few, so looking at each beats a map.
func (s *scanner) pair(c *Call, key, value []byte) bool {
	if len(c.Context) >= s.limits.MaxContext {
		return s.fail(ReasonTooMuchContext)
	}
	for i := range c.Context {
		if string(c.Context[i].Key) == string(key) {
			return s.fail(ReasonDuplicateKey)
		}
	}
	c.Context = append(c.Context, Pair{key, value})
	return true
}
