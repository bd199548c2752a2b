package fleet

import (
	"math"
	"time"
)

// What happens to many agents at once. Everything here is a function of the seed, the place
// and the time, so that streams agree on it without talking to each other.

// First arguments of mix after the seed: each kind of event draws from numbers of its own.
const (
	ofOutage = iota + 10
	ofHit
	ofDemand
	ofHoliday
	ofRelease
	ofJoining
	ofStagger
)

const (
	hour = int64(time.Hour)
	aDay = 24 * hour
	// An outage begins at most once in a window and ends before the next but one.
	outageWindow = 6 * hour
)

// Fraction maps a hash to [0, 1).
func fraction(h uint64) float64 { return float64(h>>11) / (1 << 53) }

// Outage is one failure of something that a tenant's agents depend on.
type outage struct {
	from, to int64
	upstream bool // no work comes; otherwise calls fail
	slow     bool // calls fail after a timeout
	number   uint64
}

// OutageAt returns the outage of the agent's team at t, if there is one.
func (f *Fleet) outageAt(a *agent, t int64) (outage, bool) {
	if f.opts.Outages <= 0 {
		return outage{}, false
	}
	tenant := uint64(a.index % f.opts.Tenants)
	for window := t/outageWindow - 1; window <= t/outageWindow; window++ {
		o, ok := f.outage(tenant, window)
		if ok && o.from <= t && t < o.to && fraction(mix(f.opts.Seed, ofHit, o.number, a.team.number)) < 0.6 {
			return o, true
		}
	}
	return outage{}, false
}

// Outage returns the outage of the tenant that begins in the window, if there is one.
func (f *Fleet) outage(tenant uint64, window int64) (outage, bool) {
	h := mix(f.opts.Seed, ofOutage, tenant, uint64(window))
	if fraction(h) >= f.opts.Outages/28 {
		return outage{}, false
	}
	start, length := mix(h, 1), mix(h, 2)
	o := outage{number: h, upstream: h&1 == 0, slow: h&2 == 0}
	o.from = window*outageWindow + int64(fraction(start)*float64(outageWindow))
	// The median is 25 minutes.
	minutes := min(max(25*float64(broad.quantiles[length>>52]), 2), 360)
	o.to = o.from + int64(minutes*float64(time.Minute))
	return o, true
}

// Busy returns when work that takes d at a mean hour of a mean day is done, when it begins at t.
func (f *Fleet) busy(a *agent, t int64, d float64) int64 {
	day, demand := int64(math.MinInt64), 1.0
	for {
		local := t/hour + a.shift
		if local/24 != day {
			day, demand = local/24, f.demand(a, t)
		}
		level := demand
		if f.opts.DayShape {
			level *= a.role.week[(local+3*24)%(7*24)] // the epoch was a Thursday
		}
		rest := hour - t%hour
		if done := float64(rest) * level; d >= done {
			d -= done
			t += rest
			continue
		}
		return t + int64(d/level)
	}
}

// Demand returns how busy the agent's day is, about 1 on average over working days.
func (f *Fleet) demand(a *agent, t int64) float64 {
	day := uint64(t/hour+a.shift) / 24
	tenant := uint64(a.index % f.opts.Tenants)
	d := tight.of(mix(f.opts.Seed, ofDemand, tenant, day)) * tight.of(mix(f.opts.Seed, ofDemand, 1<<32+uint64(a.index), day))
	if mix(f.opts.Seed, ofHoliday, tenant, day)%40 == 0 {
		d /= 4
	}
	return d
}

// Joined returns when the agent of that index begins: always, or within four weeks.
func (f *Fleet) joined(index int) int64 {
	h := mix(f.opts.Seed, ofJoining, uint64(index))
	if fraction(h) >= f.opts.Newcomers {
		return math.MinInt64
	}
	return f.start + aDay + int64(fraction(mix(h, 1))*float64(27*aDay))
}

// Onboarding is the share of its rate that an agent has come up to at t.
func (a *agent) onboarding(t int64) float64 {
	if a.joined == math.MinInt64 {
		return 1
	}
	return min(1, 0.3+float64(0.7*float64(t-a.joined)/float64(5*aDay))) // not fused
}

// Release is the version that an agent runs, and when it gets the next one.
type release struct {
	version int
	adopted int     // actions that versions have brought so far
	rate    float64 // factor
	buggy   int64   // until then calls fail more often
	day     int64   // of the version after it
	next    int64
}

// ReleaseAt returns what the agent runs at t. Before Options.Start it is the first version.
func (f *Fleet) releaseAt(a *agent, t int64) release {
	r := release{rate: 1, day: f.start/aDay - 1}
	r.seek(f, a)
	r.until(f, a, t)
	return r
}

// Until rolls out all versions up to t, and says whether there was one.
func (r *release) until(f *Fleet, a *agent, t int64) bool {
	before := r.version
	for r.next <= t {
		h := mix(f.opts.Seed, ofRelease, a.team.number, uint64(r.day), 1)
		r.version++
		r.adopted += int(h & 1)
		r.rate = tight.of(h)
		r.buggy = 0
		if fraction(mix(h, 1)) < 0.1 {
			r.buggy = r.next + 2*hour
		}
		r.seek(f, a)
	}
	return r.version > before
}

// Seek finds the team's next deployment, by day from Monday to Friday, and the agent's part in it.
func (r *release) seek(f *Fleet, a *agent) {
	const horizon = 3 * 365 // days without any: there will be none
	r.next = math.MaxInt64
	if f.opts.Deployments <= 0 {
		return
	}
	for range horizon {
		r.day++
		h := mix(f.opts.Seed, ofRelease, a.team.number, uint64(r.day))
		if (r.day+3)%7 >= 5 || fraction(h) >= f.opts.Deployments/5 {
			continue
		}
		stagger := fraction(mix(f.opts.Seed, ofStagger, uint64(a.index), uint64(r.day)))
		team := fraction(mix(h, 2)) * float64(7*hour)
		r.next = r.day*aDay + 9*hour - a.shift*hour + int64(team) + int64(stagger*float64(hour/2))
		return
	}
}
