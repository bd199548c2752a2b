package guard

import (
	"bytes"
	"context"
	"hash/maphash"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/estop-project/estop/revoke"
)

const (
	// maxUnverified bounds the bytes of what waits to be verified. What comes past it is verified on the
	// spot: nobody fills a guard's memory with forgeries.
	maxUnverified = 256 << 20
	// overhead is what a message takes beside its token and its subject: a forgery may have an empty one.
	overhead      = 256
	minUnverified = 1024 // slots
	verifyStep    = 64   // slots that a worker takes at a time
)

// unverified are messages that were read and whose signatures were not verified yet. Verifying is what
// takes the time of a guard that has much to read, and the NATS subject names the target: so the guard
// answers as soon as it has the messages, and verifies those of a call's names when the call comes.
//
// What is in here stops nobody and undoes nothing. It says what must be verified before a call is answered.
type unverified struct {
	table atomic.Pointer[unverifiedTable] // nil: nothing waits
	left  atomic.Int64                    // how many wait
	bytes atomic.Int64                    // that they take

	mu sync.Mutex // held by whoever adds or clears
}

// waiting is one message. Once verified it is only a mark that nothing is to be done.
type waiting struct {
	hash    uint64 // of its target, as in the set
	subject string
	size    int64

	done     atomic.Bool
	mu       sync.Mutex // held while it is verified, too
	token    []byte
	sequence uint64
	came     time.Time // what counts is whether it was in force then, not when it is verified
	onDisk   *kept     // where it is from disk
}

// none reports whether all that was read is verified, and so in force, noted and acknowledged.
func (s *unverified) none() bool { return s.left.Load() == 0 }

func (s *unverified) add(w *waiting) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.table.Load()
	if t == nil || 2*t.used >= len(t.slots) {
		t = t.rebuilt()
		s.table.Store(t)
	}
	s.left.Add(1)
	s.bytes.Add(w.size)
	t.add(w)
}

// clear lets go of the marks when nothing waits.
func (s *unverified) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.none() {
		s.table.Store(nil)
	}
}

// unverifiedTable is an open-addressing hash table with linear probing, read without locks. Slots are
// never emptied; growth makes a new table.
type unverifiedTable struct {
	slots []atomic.Pointer[waiting]
	used  int // by the writer
}

// rebuilt returns a table with room for as many again as wait in t.
func (t *unverifiedTable) rebuilt() *unverifiedTable {
	var old []atomic.Pointer[waiting]
	if t != nil {
		old = t.slots
	}
	n := 0
	for i := range old {
		if w := old[i].Load(); w != nil && !w.done.Load() {
			n++
		}
	}
	slots := minUnverified
	for slots < 4*n {
		slots *= 2
	}
	anew := &unverifiedTable{slots: make([]atomic.Pointer[waiting], slots)}
	for i := range old {
		// One that is done by now needs no mark.
		if w := old[i].Load(); w != nil && !w.done.Load() {
			anew.add(w)
		}
	}
	return anew
}

func (t *unverifiedTable) add(w *waiting) {
	mask := uint64(len(t.slots) - 1)
	i := w.hash & mask
	for t.slots[i].Load() != nil {
		i = (i + 1) & mask
	}
	t.used++
	t.slots[i].Store(w)
}

// each calls f for the messages of a target.
func (t *unverifiedTable) each(hash uint64, f func(*waiting)) {
	if t == nil {
		return
	}
	mask := uint64(len(t.slots) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		w := t.slots[i].Load()
		if w == nil {
			return
		}
		if w.hash == hash {
			f(w)
		}
	}
}

// targetHash returns the hash that the target of a NATS subject has in the set. ok is false where the subject
// has only a hash of the name, and for scopes whose target is not one name of a call.
func (g *Guard) targetHash(subject string) (hash uint64, ok bool) {
	rest, ok := strings.CutPrefix(subject, revoke.RevokePrefix+".")
	if !ok {
		return 0, false
	}
	first, rest, _ := strings.Cut(rest, ".")
	scope, last, _ := strings.Cut(rest, ".")
	switch revoke.Scope(scope) {
	case revoke.Agent, revoke.Chain, revoke.Identity, revoke.Session:
	default:
		return 0, false
	}
	tenant, ok := revoke.TokenName(first)
	if !ok {
		return 0, false
	}
	name, ok := revoke.TokenName(last)
	return mix(maphash.String(g.seed, tenant), maphash.String(g.seed, name)), ok
}

// postpone lets a message wait, and reports false where it must be verified now. The messages of one
// subject are verified in their order.
func (g *Guard) postpone(m revoke.StreamMessage, onDisk *kept) bool {
	hash, ok := g.targetHash(m.Subject)
	if !ok || g.unverified.bytes.Load() >= maxUnverified {
		return false
	}
	now, repeated := g.clock(), false
	g.unverified.table.Load().each(hash, func(w *waiting) {
		switch {
		case w.subject != m.Subject || repeated:
		case onDisk == nil && w.repeated(m, now):
			repeated = true
		default:
			g.verify(w)
		}
	})
	if repeated {
		return true
	}
	g.unverified.add(&waiting{
		hash: hash, subject: m.Subject, size: int64(len(m.Token) + len(m.Subject) + overhead),
		token: m.Token, sequence: m.Sequence, came: now, onDisk: onDisk,
	})
	// A call is in the index before it looks for what waits, so one of the two finds the other.
	if g.inflight.has(hash) {
		g.verifyTarget(m.Subject)
	}
	return true
}

// repeated reports whether w waits and is what was on disk of m, of the stream. It is m from then on.
func (w *waiting) repeated(m revoke.StreamMessage, now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.onDisk == nil || !bytes.Equal(w.token, m.Token) {
		return false
	}
	w.sequence, w.came, w.onDisk = m.Sequence, now, nil
	return true
}

// verify does with w what was put off, or waits until another goroutine has done it.
func (g *Guard) verify(w *waiting) {
	if w.done.Load() {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.done.Load() {
		return
	}
	if w.onDisk != nil {
		g.restoreLate(*w.onDisk, w.came)
	} else {
		g.take(w.subject, w.token, w.sequence, w.came)
	}
	w.token, w.onDisk = nil, nil
	w.done.Store(true)
	g.unverified.bytes.Add(-w.size)
	g.unverified.left.Add(-1)
}

// verifyTarget verifies what waits on a NATS subject.
func (g *Guard) verifyTarget(subject string) {
	t := g.unverified.table.Load()
	if t == nil {
		return
	}
	hash, ok := g.targetHash(subject)
	if !ok {
		return // nothing on it waits
	}
	t.each(hash, func(w *waiting) {
		if w.subject == subject {
			g.verify(w)
		}
	})
}

// verifyBefore verifies what waits and may be about c, before it is answered.
func (g *Guard) verifyBefore(c *Call) {
	if t := g.unverified.table.Load(); t != nil {
		g.verifyFor(t, c)
	}
}

// verifyFor takes no lock and allocates nothing where nothing in t is about c.
func (g *Guard) verifyFor(t *unverifiedTable, c *Call) {
	tenant := maphash.String(g.seed, c.Tenant)
	t.each(mix(tenant, maphash.String(g.seed, c.Agent)), g.verify)
	for _, member := range c.Chain {
		if member != "" && member != c.Agent {
			t.each(mix(tenant, maphash.String(g.seed, member)), g.verify)
		}
	}
	for _, name := range [...]string{c.Identity, c.Session} {
		if name != "" {
			t.each(mix(tenant, maphash.String(g.seed, name)), g.verify)
		}
	}
}

// verifyAll verifies all that waits, on all processors, and gives way to whoever else wants one.
func (g *Guard) verifyAll(ctx context.Context) error {
	t := g.unverified.table.Load()
	if t == nil {
		return ctx.Err()
	}
	var next atomic.Int64
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for ctx.Err() == nil {
				from := int(next.Add(verifyStep)) - verifyStep
				if from >= len(t.slots) {
					return
				}
				g.verifySome(t.slots[from : from+verifyStep])
			}
		})
	}
	workers.Wait()
	g.unverified.clear()
	return ctx.Err()
}

func (g *Guard) verifySome(slots []atomic.Pointer[waiting]) {
	for i := range slots {
		if w := slots[i].Load(); w != nil && !w.done.Load() {
			g.verify(w)
			runtime.Gosched()
		}
	}
}

// receive takes a message after those that wait on its subject.
func (g *Guard) receive(subject string, token []byte, sequence uint64) {
	g.verifyTarget(subject)
	g.take(subject, token, sequence, g.clock())
}
