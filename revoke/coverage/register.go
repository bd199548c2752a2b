// Package coverage says who enforces: the register of guards, and which of them confirmed a revocation.
package coverage

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/estop-project/estop/revoke"
)

const (
	// KnownFor is how long after its last report a guard is known at least. Known guards must
	// acknowledge.
	KnownFor = time.Minute
	// keepLost is how long one that is lost is remembered.
	keepLost = 24 * time.Hour
	// The register holds at most so many guards, and so many bytes of names of tenants: whoever may
	// report must not be able to fill the memory.
	maxGuards = 10_000
	maxNames  = 64 << 20
)

// ErrFull is wrapped where the register has no room for another guard.
var ErrFull = errors.New("the register of guards is full")

// State is how a guard stands.
type State string

// The states. The first three are of known guards.
const (
	Enforcing State = "enforcing" // it has loaded the active set, and it is up to date
	Unsynced  State = "unsynced"  // it has not loaded the active set yet
	Stale     State = "stale"     // what it knows is too old, so it fails as its owner chose
	Lost      State = "lost"      // it reports no more, and did not say bye
	Closed    State = "closed"    // it said bye
)

// Guard is what the register knows of one.
type Guard struct {
	revoke.Report
	State State `json:"state"`
	// Took is how long its last acknowledgement took: from when the register heard the revocation
	// to when it heard the acknowledgement, both by its clock.
	Took    time.Duration `json:"took_ns,omitempty"`
	LastAck time.Time     `json:"last_ack,omitzero"`
	// Twins says that two guards report under this name: an acknowledgement of one of them would
	// count for both.
	Twins bool `json:"twins,omitempty"`
}

// Known reports whether the guard must acknowledge what its tenants' revocations say.
func (g Guard) Known() bool { return g.State != Lost && g.State != Closed }

// Register is the guards that reported. It is not safe for concurrent use.
type Register struct {
	guards map[string]*entry
	names  int // bytes of names of tenants
}

type entry struct {
	report   revoke.Report
	previous string // the start before this one
	twins    time.Time
	took     time.Duration
	lastAck  time.Time
}

// NewRegister returns an empty register.
func NewRegister() *Register { return &Register{guards: make(map[string]*entry)} }

// Hear takes a report that came at a time. It reports whether it says more than that the guard goes on.
func (r *Register) Hear(report revoke.Report, now time.Time) (bool, error) {
	report.Seen = now
	e := r.guards[report.Guard]
	if e == nil {
		if len(r.guards) >= maxGuards || r.names+size(report) > maxNames {
			return false, fmt.Errorf("cannot register guard %q: %w", report.Guard, ErrFull)
		}
		r.guards[report.Guard] = &entry{report: report}
		r.names += size(report)
		return true, nil
	}
	old := &e.report
	switch {
	case report.Start == old.Start && report.Number <= old.Number:
		return false, nil // heard before
	case report.Start != old.Start && report.Kind == revoke.Bye:
		return false, nil // of a run that another one has taken the place of
	case report.Start == e.previous:
		e.twins = now // it was there before the one that took its place, and goes on
	}
	if r.names+size(report)-size(*old) > maxNames {
		return false, fmt.Errorf("cannot register what guard %q serves: %w", report.Guard, ErrFull)
	}
	r.names += size(report) - size(*old)
	if report.Start != old.Start {
		e.previous = old.Start
	}
	changed := report.Start != old.Start || report.Kind != revoke.Here || stateOf(*old, now) != stateOf(report, now) ||
		report.All != old.All || report.Fails != old.Fails || !slices.Equal(report.Tenants, old.Tenants)
	e.report = report
	return changed, nil
}

// Load takes what a record said, which may be a while old. A guard that was there lately counts as there,
// until it is clear that it is not.
func (r *Register) Load(report revoke.Report, now time.Time) error {
	seen := report.Seen
	if now.Sub(seen) < 2*KnownFor {
		seen = now
	}
	_, err := r.Hear(report, seen)
	return err
}

func size(report revoke.Report) int {
	n := 0
	for _, t := range report.Tenants {
		n += len(t) + 16
	}
	return n
}

func stateOf(report revoke.Report, now time.Time) State {
	switch {
	case report.Kind == revoke.Bye:
		return Closed
	case now.Sub(report.Seen) > max(KnownFor, 3*report.Every):
		return Lost
	case !report.Synced:
		return Unsynced
	case report.Stale:
		return Stale
	}
	return Enforcing
}

// Concerned returns the tenant whose guards must confirm r; empty: all guards.
func Concerned(r revoke.Revocation) string {
	if r.Scope == revoke.Global {
		return ""
	}
	return r.Tenant
}

// Serving returns the names of the known guards that serve a tenant, an empty one for all.
func (r *Register) Serving(tenant string, now time.Time) []string {
	var names []string
	for name, e := range r.guards {
		if s := stateOf(e.report, now); s != Lost && s != Closed && (tenant == "" || e.report.Serves(tenant)) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// List returns the guards that serve a tenant, an empty one for all, by name. Closed ones are left out.
func (r *Register) List(tenant string, now time.Time) []Guard {
	list := []Guard{}
	for _, e := range r.guards {
		g := Guard{Report: e.report, State: stateOf(e.report, now), Took: e.took, LastAck: e.lastAck}
		g.Twins = !e.twins.IsZero() && now.Sub(e.twins) < KnownFor
		if g.State == Closed || tenant != "" && !e.report.Serves(tenant) {
			continue
		}
		list = append(list, g)
	}
	slices.SortFunc(list, func(a, b Guard) int { return cmp.Compare(a.Guard, b.Guard) })
	return list
}

// Sweep forgets those that have been lost, or are closed, for long.
func (r *Register) Sweep(now time.Time) {
	for name, e := range r.guards {
		if now.Sub(e.report.Seen) > keepLost || stateOf(e.report, now) == Closed && now.Sub(e.report.Seen) > KnownFor {
			r.names -= size(e.report)
			delete(r.guards, name)
		}
	}
}

// Has reports whether the register has a guard of that name, in whatever state.
func (r *Register) Has(guard string) bool { return r.guards[guard] != nil }

func (r *Register) acked(guard string, took time.Duration, now time.Time) {
	if e := r.guards[guard]; e != nil {
		e.took, e.lastAck = took, now
	}
}
