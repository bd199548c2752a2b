package fleet

import (
	"strconv"
	"time"

	"github.com/estop-project/estop/pipeline/telemetry"
)

const (
	heavyTail    = 0.02 // share of bytes and latencies that carry a Pareto factor
	otherUse     = 0.12 // share of calls with an identity that is not the usual one for the action
	failsInBug   = 0.2
	failsInDown  = 0.9
	tries        = 4 // of one call, with growing pauses between
	stormTries   = 20
	givesUpAfter = 25 // failures in a row
)

// Visit is a session as its calls name it.
type visit struct {
	session string
	trace   [32]byte
}

// Worker is an agent at work in one session. Its methods put calls on the agenda.
type worker struct {
	s       *stream
	agent   *agent
	chain   []string
	context []Pair
	visit   *visit
	at      int64
	pace    time.Duration // median of the time to think after a call
	left    int           // calls
	failed  int           // in a row
	scale   float64       // of bytes
	clump   []string      // what the session brought
}

func (s *source) visit() *visit {
	v := &visit{session: string(s.hex([]byte("s-")))}
	s.hex(s.hex(v.trace[:0]))
	return v
}

// Hire returns an agent that begins to work at a time.
func (s *stream) hire(a *agent, chain []string, at int64, v *visit) *worker {
	return &worker{s: s, agent: a, chain: chain, context: s.fleet.runs(a, s.job.release), visit: v, at: at, pace: a.role.think, left: longestSession, scale: 1}
}

// Call makes a call and, where it fails, perhaps tries again. It says whether it worked.
func (w *worker) call(name string, e effect, resource string) bool {
	src := &w.s.job.source
	most := tries
	if w.agent.role.storm {
		most = stormTries
	}
	for try := range most {
		if w.left <= 0 {
			return false
		}
		outcome, latency := w.meet()
		w.put(name, e, resource, outcome, latency)
		w.at += latency + int64(loose.draw(src, float64(w.pace)))
		if outcome == telemetry.OutcomeOK {
			w.failed = 0
			w.tryLater()
			return true
		}
		if outcome == telemetry.OutcomeDenied {
			return false
		}
		if w.failed++; w.failed >= givesUpAfter {
			w.left = 0
		}
		if !src.chance(retried) {
			return false
		}
		if !w.agent.role.storm {
			w.at += int64(loose.draw(src, float64(time.Second<<try)))
		}
	}
	return false
}

// Meet draws how a call at this time ends, and how long it takes.
func (w *worker) meet() (telemetry.Outcome, int64) {
	s, r := w.s, w.agent.role
	src := &s.job.source
	latency := loose.draw(src, float64(r.latency))
	if src.chance(heavyTail) {
		latency *= pareto.draw(src, 1)
	}
	errors := r.errors
	if w.at < s.job.release.buggy {
		errors += failsInBug
	}
	if o, down := s.fleet.outageAt(w.agent, w.at); down && !o.upstream {
		errors = failsInDown
		latency = loose.draw(src, float64(30*time.Millisecond))
		if o.slow {
			latency = tight.draw(src, float64(20*time.Second))
		}
	}
	latency = min(latency, float64(10*time.Minute))
	switch u := src.unit(); {
	case u < errors:
		return telemetry.OutcomeError, int64(latency)
	case u < errors+r.denied:
		return telemetry.OutcomeDenied, int64(latency)
	}
	return telemetry.OutcomeOK, int64(latency)
}

// Put puts a call on the agenda.
func (w *worker) put(name string, e effect, resource string, outcome telemetry.Outcome, latency int64) {
	s := w.s
	w.left--
	in, out := w.bytes(e, outcome)
	s.job.drafts++
	s.job.agenda.add(draft{at: w.at, order: s.job.drafts, by: w, action: name, resource: resource, latency: latency,
		in: in, out: out, identity: w.agent.usual(&s.job.source, e), outcome: outcome})
}

// Bytes draws how much a call takes in and gives out.
func (w *worker) bytes(e effect, o telemetry.Outcome) (in, out int64) {
	src, r := &w.s.job.source, w.agent.role
	small, large := tight.draw(src, r.small), broad.draw(src, r.large*w.scale)
	if src.chance(heavyTail) {
		large *= pareto.draw(src, 1)
	}
	if o != telemetry.OutcomeOK {
		large = 180
	}
	if e != read {
		small, large = large, small
	}
	return int64(small), int64(large)
}

// Usual draws the index of an identity: mostly the one that the agent has for such actions.
func (a *agent) usual(src *source, e effect) uint8 {
	if src.chance(otherUse) {
		return uint8(src.below(len(a.identities)))
	}
	if e == read {
		return 0
	}
	return 1
}

// TryLater now and then uses what a later version brought.
func (w *worker) tryLater() {
	src, n := &w.s.job.source, w.s.job.release.adopted
	if n == 0 || w.left <= 0 || !src.chance(0.03*float64(min(n, 3))) {
		return
	}
	later := w.agent.role.later
	k := src.below(n)
	name := later[k%len(later)]
	outcome, latency := w.meet()
	w.put(name, read, w.agent.home+name+"/"+strconv.Itoa(k+1+n*src.below(4)), outcome, latency)
	w.at += latency
}

// Wait lets time pass, of the given median.
func (w *worker) wait(d time.Duration) { w.at += int64(broad.draw(&w.s.job.source, float64(d))) }

// About draws a whole number of a log-normal with the given median, from low to high.
func (w *worker) about(median float64, low, high int) int {
	return min(max(int(broad.draw(&w.s.job.source, median)), low), high)
}

func (w *worker) below(n int) int { return w.s.job.below(n) }

func (w *worker) chance(p float64) bool { return w.s.job.chance(p) }

// Known draws a resource of the agent's pool.
func (w *worker) known() string { return w.agent.resource(&w.s.job.source, w.at, w.s.fleet.start) }

// Fresh names something that nobody in the team has seen before: numbers grow with time, by
// one in each unit.
func (w *worker) fresh(noun string, unit time.Duration) string {
	return w.agent.home + noun + "/" + strconv.FormatInt(w.at/int64(unit)%1e9, 10)
}
