package chaos

import (
	"slices"
	"strings"
	"time"

	"github.com/estop-project/estop/bench/chaos/check"
)

// Delays are how long it took from the append of a call that broke a detector until a guard denied, sorted. They hold
// the time that calls waited for engines and roles which did not run.
type Delays struct{ Direct, Proxied []time.Duration }

// delays takes the times from the answers of guards and from when calls were handed to the producer.
func delays(h *check.History, sent map[string]time.Time) Delays {
	var d Delays
	broke := map[string]time.Time{} // by target: the append of the call that broke it first
	for _, r := range h.Reference {
		at, ok := sent[r.Call]
		if old, before := broke[r.Target]; ok && (!before || at.Before(old)) {
			broke[r.Target] = at
		}
	}
	for _, g := range h.Guards {
		denied := map[string]time.Time{}
		for _, s := range g.Spans {
			if old, ok := denied[s.Target]; s.Answer == check.Denied && (!ok || s.First.Before(old)) {
				denied[s.Target] = s.First
			}
		}
		into := &d.Direct
		if !strings.HasPrefix(g.Name, "direct") {
			into = &d.Proxied
		}
		for target, at := range broke {
			if first, ok := denied[target]; ok {
				*into = append(*into, first.Sub(at))
			}
		}
	}
	slices.Sort(d.Direct)
	slices.Sort(d.Proxied)
	return d
}

// quantile returns a quantile of sorted times, 0 where there are none.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}
