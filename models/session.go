package models

import "math"

// Session is what the score of one open session needs to remember: its last actions, what
// it used already, and how strange its strangest call was.
//
// What a session used once is not new to it. The last 64 different values and tokens are
// remembered, as 32 bits of their hashes: one of 67 million new ones is held for used.
//
// Units: nats of surprise. Valid range: any hashes; a session of any length. Cost: Used O(64),
// about 20 ns; Take that for each value and token; the rest O(1). Bytes: 296.
type Session struct {
	used  [sessionValues]uint32 // the latest at (uses-1) modulo its length
	past  [longestHistory]uint64
	score float64
	calls uint32
	uses  uint32 // once full, between its length and twice that
}

const (
	sessionValues  = 64
	longestHistory = 3
)

// SessionCall is one call as a session sees it: hashes.
type SessionCall struct {
	Action uint64 // what was done
	// Way is the action with whatever else its values depend on, such as the outcome: values
	// of failed calls are mostly mistakes, new each time.
	Way    uint64
	Value  uint64   // what it was done to
	Tokens []uint64 // the words and numbers that the value is made of
}

// Take takes in a call and its surprise, a negative log probability, and returns the score:
// the largest surprise so far. NaN is no surprise.
func (s *Session) Take(c *SessionCall, surprise float64) (score float64) {
	s.use(c.Value)
	for _, token := range c.Tokens {
		s.use(token)
	}
	copy(s.past[:], s.past[1:])
	s.past[longestHistory-1] = c.Action
	if s.calls < math.MaxUint32 {
		s.calls++
	}
	if surprise > s.score {
		s.score = min(surprise, math.MaxFloat64)
	}
	return s.score
}

// History returns the latest actions, at most three, the most recent last. It is valid
// until the next Take.
func (s *Session) History() []uint64 {
	return s.past[longestHistory-min(s.calls, longestHistory):]
}

// Used says whether a call of the session had this value or token.
func (s *Session) Used(h uint64) bool {
	low := uint32(h)
	for _, u := range s.used[:min(s.uses, sessionValues)] {
		if u == low {
			return true
		}
	}
	return false
}

func (s *Session) use(h uint64) {
	if s.Used(h) {
		return
	}
	s.used[s.uses%sessionValues] = uint32(h)
	if s.uses++; s.uses == 2*sessionValues {
		s.uses = sessionValues
	}
}
