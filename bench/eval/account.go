package eval

import (
	"cmp"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/estop-project/estop/bench/cloudtrail"
	"github.com/estop-project/estop/bench/metrics"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// The honest account that techniques are grafted on.
const (
	accountDays = 36   // five weeks of history, and the day of the graft
	accountGap  = 24   // seconds between two calls, on average
	sessionMean = 12.0 // calls of a session of one agent
	sessionStep = 4.0  // seconds between two of them
	officeShare = 0.7  // of the sessions that begin between officeFrom and officeTo, UTC, of a weekday
	officeFrom  = 7 * time.Hour
	officeTo    = 17 * time.Hour
)

// account is the honest traffic of a synthetic AWS account in order of time, for whole days. The calls
// are those that bench/cloudtrail makes; they come at other times.
func account(m *measurement) ([]*telemetry.Call, error) {
	days := m.much(accountDays, 16)
	n := int(float64(days) * day.Seconds() / accountGap)
	r, w := io.Pipe()
	go func() { w.CloseWithError(cloudtrail.Write(w, m.seed(), n)) }()
	defer r.Close()
	calls, err := decoded(r)
	if err != nil {
		return nil, err
	}
	begin := slices.MinFunc(calls, byTime).Time / int64(day) * int64(day)
	inSessions(calls, begin, days, rand.New(rand.NewPCG(m.seed(), 2)))
	return calls, nil
}

func byTime(a, b *telemetry.Call) int { return cmp.Compare(a.Time, b.Time) }

// inSessions gives the calls of each agent other times, in the same order, and sorts them: sessions of a
// geometric number of calls a few seconds apart, most of them in the hours of an office, where
// the generator draws each call's time by itself. Counts are then far more scattered than those of a
// Poisson process, as real ones are.
func inSessions(calls []*telemetry.Call, begin int64, days int, r *rand.Rand) {
	of := map[string][]*telemetry.Call{}
	for _, c := range calls {
		of[string(c.Agent)] = append(of[string(c.Agent)], c)
	}
	for _, agent := range slices.Sorted(maps.Keys(of)) {
		own := of[agent]
		slices.SortStableFunc(own, byTime)
		var times []int64
		for len(times) < len(own) {
			t := begin + int64(sessionStart(days, r))
			for more := true; more && len(times) < len(own); more = r.Float64() > 1/sessionMean {
				times = append(times, min(t, begin+int64(days)*int64(day)-1))
				t += int64(r.ExpFloat64() * sessionStep * float64(time.Second))
			}
		}
		slices.Sort(times)
		for i, c := range own {
			c.Time = times[i]
		}
	}
	slices.SortStableFunc(calls, byTime)
}

// sessionStart draws when a session begins, from the begin of the account on, a Monday.
func sessionStart(days int, r *rand.Rand) time.Duration {
	for {
		d := r.IntN(days)
		if r.Float64() >= officeShare {
			return time.Duration(d)*day + time.Duration(r.Float64()*float64(day))
		}
		if weekday := d % 7; weekday < 5 {
			return time.Duration(d)*day + officeFrom + time.Duration(r.Float64()*float64(officeTo-officeFrom))
		}
	}
}

// dispersion is the variance of an agent's counts in an hour over their mean, 1 for a Poisson process; the median
// of all agents with a call an hour at least.
func dispersion(calls []*telemetry.Call) float64 {
	type hour struct {
		agent string
		at    int64
	}
	counts, agents := map[hour]float64{}, map[string]float64{}
	for _, c := range calls {
		counts[hour{string(c.Agent), c.Time / int64(time.Hour)}]++
		agents[string(c.Agent)]++
	}
	hours := math.Ceil(float64(calls[len(calls)-1].Time-calls[0].Time) / float64(time.Hour))
	squares := map[string]float64{}
	for at, n := range counts {
		squares[at.agent] += n * n
	}
	var all []float64
	for agent, n := range agents {
		if mean := n / hours; mean >= 1 {
			all = append(all, squares[agent]/n-mean)
		}
	}
	return metrics.Quantile(all, 0.5)
}
