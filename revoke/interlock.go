package revoke

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
)

// ErrHeldBack is wrapped where the interlock keeps a detector from stopping somebody. The
// detection stays an alert, and a person decides.
var ErrHeldBack = errors.New("held back by the interlock")

// InterlockOptions say how much detectors may stop. Each limit is off where it is zero.
type InterlockOptions struct {
	// Window is the time that the limits are over. It must be positive.
	Window time.Duration
	// Targets is how many targets of all tenants together detectors may stop in Window.
	Targets int
	// TenantPercent is the share of a tenant's known agents, in hundredths, that detectors may stop
	// in Window, and TenantLeast how many they may stop however few are known.
	TenantPercent int
	TenantLeast   int
	// Known returns how many agents of a tenant are known; 0: nobody knows, and then TenantLeast
	// alone counts. It is called under a lock and must return at once.
	Known func(tenant string) int
	// Protected are the agents that detectors never stop, as TENANT/AGENT, in which * stands for any
	// text and ? for one character (path.Match).
	Protected []string
}

// Interlock bounds what detectors may stop, so that one gone mad does not take the fleet down.
// People are not bound by it. It counts targets: one that is stopped again counts once, and
// a whole tenant counts as all of its agents. It is safe for concurrent use.
//
// Every publisher notes what the others publish, so the limits hold for all processes
// together, but for what two decide within the time that a message takes between them.
type Interlock struct {
	opt       InterlockOptions
	protected []pattern

	mu      sync.Mutex
	at      map[string]int // by NATS subject: the stop's number, counted from the first that was ever counted
	stops   []stop         // in the order in which they were counted
	dropped int            // stops that left the window
	total   int            // weight of stops
	tenants map[string]int // weight of stops, by tenant
}

// pattern names agents of tenants.
type pattern struct{ text, tenant, agent string }

// parsePattern reads TENANT/AGENT.
func parsePattern(text string) (p pattern, ok bool) {
	p.text = text
	p.tenant, p.agent, ok = strings.Cut(text, "/")
	p.agent = whole(p.agent)
	for _, part := range []string{p.tenant, p.agent} {
		if _, err := path.Match(part, ""); err != nil || part == "" {
			return p, false
		}
	}
	return p, ok
}

// whole makes one path element of a name, so that * stands for any text.
func whole(name string) string { return strings.ReplaceAll(name, "/", "\x00") }

func (p pattern) ofTenant(tenant string) bool {
	ok, _ := path.Match(p.tenant, tenant) // parsePattern has checked it
	return ok
}

func (p pattern) matches(tenant, agent string) bool {
	ok, _ := path.Match(p.agent, whole(agent))
	return ok && p.ofTenant(tenant)
}

type stop struct {
	subject, tenant string
	weight          int
	at              time.Time
}

// NewInterlock checks the options.
func NewInterlock(opt InterlockOptions) (*Interlock, error) {
	switch {
	case opt.Window <= 0:
		return nil, fmt.Errorf("interlock: the window %v is not positive", opt.Window)
	case opt.Targets < 0 || opt.TenantLeast < 0:
		return nil, errors.New("interlock: a limit is negative")
	case opt.TenantPercent < 0 || opt.TenantPercent > 100:
		return nil, fmt.Errorf("interlock: the share of a tenant, %d %%, is not between 0 and 100", opt.TenantPercent)
	}
	i := &Interlock{opt: opt, at: map[string]int{}, tenants: map[string]int{}}
	for _, text := range opt.Protected {
		p, ok := parsePattern(text)
		if !ok {
			return nil, fmt.Errorf("interlock: protected agent %q is not TENANT/AGENT", text)
		}
		i.protected = append(i.protected, p)
	}
	if i.opt.Known == nil {
		i.opt.Known = func(string) int { return 0 }
	}
	return i, nil
}

// Protects returns the pattern that protects one of the agents of a tenant, if one does. A nil interlock
// protects nobody.
func (i *Interlock) Protects(tenant string, agents ...string) (pattern string, ok bool) {
	if i == nil {
		return "", false
	}
	for _, p := range i.protected {
		if slices.ContainsFunc(agents, func(agent string) bool { return p.matches(tenant, agent) }) {
			return p.text, true
		}
	}
	return "", false
}

// Note counts what somebody has published, if it is in the window that ends now.
func (i *Interlock) Note(r Revocation, now time.Time) {
	if !automatic(r) || now.Sub(r.IssuedAt) >= i.opt.Window {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.count(r, r.IssuedAt)
}

// take counts r, or refuses it with ErrHeldBack. counted says by how much, for giveBack.
func (i *Interlock) take(r Revocation, now time.Time) (counted int, err error) {
	if !automatic(r) {
		return 0, nil
	}
	if err := i.protect(r); err != nil {
		return 0, err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.forget(now)
	weight := i.weight(r)
	if old, ok := i.at[Subject(r)]; ok {
		weight -= i.stops[old-i.dropped].weight
	}
	if weight <= 0 { // it is stopped already
		return 0, nil
	}
	if n := i.opt.Targets; n > 0 && i.total+weight > n {
		return 0, fmt.Errorf("%w: detectors may stop %d targets in %v, and have stopped %d", ErrHeldBack, n, i.opt.Window, i.total)
	}
	if n, ok := i.tenantLimit(r.Tenant); ok && i.tenants[r.Tenant]+weight > n {
		return 0, fmt.Errorf("%w: detectors may stop %d agents of tenant %q in %v, %d known at the last count, and have stopped %d",
			ErrHeldBack, n, r.Tenant, i.opt.Window, i.opt.Known(r.Tenant), i.tenants[r.Tenant])
	}
	i.count(r, now)
	return weight, nil
}

// giveBack takes out what take counted for r, which was not sent after all.
func (i *Interlock) giveBack(r Revocation, counted int) {
	if counted == 0 {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	n, ok := i.at[Subject(r)]
	if !ok {
		return // it has left the window meanwhile
	}
	if i.stops[n-i.dropped].weight -= counted; i.stops[n-i.dropped].weight == 0 {
		delete(i.at, Subject(r)) // the next stop of it is a new one
	}
	i.total -= counted
	if i.tenants[r.Tenant] -= counted; i.tenants[r.Tenant] == 0 {
		delete(i.tenants, r.Tenant)
	}
}

// protect refuses what names a protected agent, and a whole tenant that has some.
func (i *Interlock) protect(r Revocation) error {
	if r.Scope == Global {
		return fmt.Errorf("%w: everything is stopped by people alone", ErrHeldBack)
	}
	if r.Scope == Agent || r.Scope == Chain {
		if p, ok := i.Protects(r.Tenant, r.Subject); ok {
			return fmt.Errorf("%w: %q is protected by %q", ErrHeldBack, r.Subject, p)
		}
	}
	if r.Scope != Tenant {
		return nil
	}
	for _, p := range i.protected {
		if p.ofTenant(r.Tenant) {
			return fmt.Errorf("%w: tenant %q has agents that %q protects", ErrHeldBack, r.Tenant, p.text)
		}
	}
	return nil
}

// tenantLimit returns how many agents of a tenant may be stopped, if that is bounded.
func (i *Interlock) tenantLimit(tenant string) (n int, ok bool) {
	if i.opt.TenantPercent == 0 {
		return 0, false
	}
	return max(i.opt.TenantLeast, i.opt.Known(tenant)*i.opt.TenantPercent/100), true
}

func (i *Interlock) weight(r Revocation) int {
	if r.Scope == Tenant {
		return max(1, i.opt.Known(r.Tenant))
	}
	return 1
}

// count takes a stop in; one that is in the window already stays at its time, or a target that is
// stopped again and again would never leave it.
func (i *Interlock) count(r Revocation, at time.Time) {
	subject, weight := Subject(r), i.weight(r)
	if n, ok := i.at[subject]; ok {
		old := &i.stops[n-i.dropped]
		weight, old.weight = weight-old.weight, max(weight, old.weight)
		weight = max(weight, 0)
	} else {
		i.at[subject] = i.dropped + len(i.stops)
		i.stops = append(i.stops, stop{subject, r.Tenant, weight, at})
	}
	i.total += weight
	i.tenants[r.Tenant] += weight
}

// forget drops what left the window. Stops that others dated are nearly in order, and one
// that is not is kept a little longer.
func (i *Interlock) forget(now time.Time) {
	gone := 0
	for gone < len(i.stops) && now.Sub(i.stops[gone].at) >= i.opt.Window {
		s := i.stops[gone]
		if i.at[s.subject] == i.dropped+gone {
			delete(i.at, s.subject)
		}
		i.total -= s.weight
		if i.tenants[s.tenant] -= s.weight; i.tenants[s.tenant] == 0 {
			delete(i.tenants, s.tenant)
		}
		gone++
	}
	i.stops, i.dropped = i.stops[gone:], i.dropped+gone
}

// automatic reports whether a detector stops somebody by r. A drill stops nobody.
func automatic(r Revocation) bool { return r.Initiator != Admin && r.Action != Release && !IsDrill(r) }

// Stopped returns how much detectors have stopped in the window that ends now.
func (i *Interlock) Stopped(now time.Time) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.forget(now)
	return i.total
}
