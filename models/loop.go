package models

import "slices"

// Loop counts how long an entity has gone round in a circle: for each period p up to
// longestPeriod, how many calls in a row were the same as the one p calls before.
//
// Valid range: any sequence of hashes; a circle longer than longestPeriod is not seen.
// Cost: Add O(longestPeriod), about 15 ns; the rest O(longestPeriod). Bytes: 104.
type Loop struct {
	past [longestPeriod]uint64 // the latest calls, by number modulo longestPeriod
	runs [longestPeriod]uint32 // by period - 1
	n    uint64                // calls so far
}

const longestPeriod = 8

// Add takes in the next call.
func (l *Loop) Add(call uint64) {
	for p := uint64(1); p <= longestPeriod; p++ {
		run := &l.runs[p-1]
		if p > l.n || l.past[(l.n-p)%longestPeriod] != call {
			*run = 0
		} else if *run < 1<<31 {
			*run++
		}
	}
	l.past[l.n%longestPeriod] = call
	l.n++
}

// Repeats returns how many calls in a row went on with the circle that has lasted longest.
func (l *Loop) Repeats() int { return int(slices.Max(l.runs[:])) }
