package guard

import (
	"context"
	"fmt"
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/estop-project/estop/revoke"
)

// Revoked is why the context of a call in flight was cancelled, or why a call did not
// begin: context.Cause gives it.
type Revoked struct {
	Revocation *revoke.Revocation // nil: see Reason
	Reason     string
}

// Error says what was revoked, and why.
func (r *Revoked) Error() string {
	if r.Revocation == nil {
		return "denied: " + r.Reason
	}
	return fmt.Sprintf("revoked: %s %q of tenant %q: %s", r.Revocation.Scope, r.Revocation.Subject, r.Revocation.Tenant, r.Reason)
}

// Begin checks a call and, unless it is denied, watches over it: when a revocation that
// matches arrives, the returned context is cancelled with a *Revoked as its cause. Only the
// action revoke cancels; throttle and restrict are for the next call. The caller calls End
// when the call is over. A denied call gets a context that is cancelled already.
//
// The call is copied; the caller may change it afterwards.
func (g *Guard) Begin(ctx context.Context, c *Call) (context.Context, *InFlight, Decision) {
	ctx, cancel := context.WithCancelCause(ctx)
	f := &InFlight{g: g, call: *c, cancel: cancel}
	f.call.Chain = slices.Clone(c.Chain)
	// What is verified for it now finds no call in flight that has not begun.
	g.verifyBefore(c)
	// It is in the index before the check: a revocation that arrives meanwhile is either
	// in the set when the check reads it, or finds the call here.
	f.enter()
	d := g.Check(c)
	if d.Verdict == Deny {
		cancel(&Revoked{d.Revocation, d.Reason})
		f.End()
	}
	return ctx, f, d
}

// InFlight is a call that has begun and not ended.
type InFlight struct {
	g      *Guard
	call   Call
	cancel context.CancelCauseFunc
	nodes  []node
	state  atomic.Uint32
}

// The states of a call in flight.
const (
	running uint32 = iota
	cancelled
	ended
)

// End says that the call is over and releases its context. It may be called twice.
func (f *InFlight) End() {
	if f.state.Swap(ended) == ended {
		return
	}
	f.leave()
	f.cancel(context.Canceled)
}

// stop cancels the call and reports whether it was still running.
func (f *InFlight) stop(e *entry) bool {
	if !f.state.CompareAndSwap(running, cancelled) {
		return false
	}
	f.cancel(&Revoked{e.rev, e.reason})
	return true
}

// inflightIndex finds the calls in flight by each of their names, so that a revocation
// visits only the calls that bear its name, however many others there are.
type inflightIndex struct {
	shards [64]inflightShard
}

type inflightShard struct {
	mu    sync.Mutex
	heads map[uint64]*node
	_     [40]byte // one cache line each
}

// node is a call in the list of one of its names.
type node struct {
	call       *InFlight
	hash       uint64
	prev, next *node
}

func (x *inflightIndex) init() {
	for i := range x.shards {
		x.shards[i].heads = make(map[uint64]*node)
	}
}

func (x *inflightIndex) shard(hash uint64) *inflightShard {
	return &x.shards[hash>>58]
}

// enter puts f in the list of each of its names, once for each.
func (f *InFlight) enter() {
	c := &f.call
	f.nodes = make([]node, 0, 4+len(c.Chain))
	tenant := maphash.String(f.g.seed, c.Tenant)
	f.addName(tenant, c.Tenant)
	f.addName(tenant, c.Agent)
	f.addName(tenant, c.Identity)
	f.addName(tenant, c.Session)
	for _, member := range c.Chain {
		f.addName(tenant, member)
	}
	for i := range f.nodes {
		n := &f.nodes[i]
		f.g.inflight.shard(n.hash).push(n)
	}
	f.g.counters.inFlight.Add(1)
}

func (f *InFlight) addName(tenant uint64, name string) {
	if name == "" {
		return
	}
	hash := mix(tenant, maphash.String(f.g.seed, name))
	for i := range f.nodes {
		if f.nodes[i].hash == hash {
			return
		}
	}
	f.nodes = append(f.nodes, node{call: f, hash: hash})
}

func (f *InFlight) leave() {
	for i := range f.nodes {
		n := &f.nodes[i]
		f.g.inflight.shard(n.hash).remove(n)
	}
	f.g.counters.inFlight.Add(-1)
}

func (s *inflightShard) push(n *node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n.next = s.heads[n.hash]
	if n.next != nil {
		n.next.prev = n
	}
	s.heads[n.hash] = n
}

func (s *inflightShard) remove(n *node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n.next != nil {
		n.next.prev = n.prev
	}
	switch {
	case n.prev != nil:
		n.prev.next = n.next
	case n.next != nil:
		s.heads[n.hash] = n.next
	default:
		delete(s.heads, n.hash)
	}
}

// has reports whether a call in flight has a name of this hash.
func (x *inflightIndex) has(hash uint64) bool {
	s := x.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heads[hash] != nil
}

// stop cancels the calls in flight that e matches and returns how many.
func (x *inflightIndex) stop(k kind, e *entry, now int64) int {
	hit := x.hit(k, e, now)
	stopped := 0
	for _, f := range hit {
		if f.stop(e) {
			stopped++
		}
	}
	return stopped
}

func (x *inflightIndex) hit(k kind, e *entry, now int64) []*InFlight {
	var hit []*InFlight
	look := func(n *node) {
		for ; n != nil; n = n.next {
			if matches(k, e, &n.call.call) && e.in(now, issuedAt(&n.call.call)) {
				hit = append(hit, n.call)
			}
		}
	}
	if k != kindGlobal {
		s := x.shard(e.hash)
		s.mu.Lock()
		defer s.mu.Unlock()
		look(s.heads[e.hash])
		return hit
	}
	for i := range x.shards {
		s := &x.shards[i]
		s.mu.Lock()
		for _, n := range s.heads {
			look(n)
		}
		s.mu.Unlock()
	}
	return hit
}

// matches is what a look-up in the set of kind k means, for one entry and one call.
func matches(k kind, e *entry, c *Call) bool {
	if k == kindGlobal {
		return true
	}
	if e.tenant != c.Tenant {
		return false
	}
	name := e.rev.Subject
	switch k {
	case kindTenant:
		return name == c.Tenant
	case kindAgent, kindChain:
		return name == c.Agent || slices.Contains(c.Chain, name)
	case kindIdentity:
		return name == c.Identity
	case kindSession:
		return name == c.Session
	}
	return name == c.Agent || name == c.Identity || name == c.Session || slices.Contains(c.Chain, name)
}
