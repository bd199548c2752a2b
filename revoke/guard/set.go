package guard

import (
	"math/bits"
	"sync"
	"sync/atomic"

	"github.com/estop-project/estop/revoke"
)

// kind is which of a call's names an entry is compared with. It is the scope, and one more
// for scopes that this guard does not know: those stop whatever bears the name.
type kind uint8

const (
	kindTenant kind = iota
	kindAgent
	kindChain
	kindIdentity
	kindSession
	kindAny
	kinds
)

func kindOf(s revoke.Scope) kind {
	switch s {
	case revoke.Tenant:
		return kindTenant
	case revoke.Agent:
		return kindAgent
	case revoke.Chain:
		return kindChain
	case revoke.Identity:
		return kindIdentity
	case revoke.Session:
		return kindSession
	}
	return kindAny
}

// entry is one revocation in the set. It is immutable. One with strength 0 is a release:
// it stops nothing, and stays until its end so that an older message cannot undo it.
type entry struct {
	rev        revoke.Revocation
	hash       uint64
	until      int64 // ns
	validAfter int64 // ns; 0: lets no credential through
	strength   int
	paced      atomic.Int64 // ns: when Pace last let a call through
}

// in reports whether e is in force at now, for a credential issued at issued (0: unknown).
func (e *entry) in(now, issued int64) bool {
	return e.strength > 0 && now < e.until && (e.validAfter == 0 || issued <= e.validAfter)
}

// set is the active set: a hash table for each kind, read without locks by any number of
// goroutines and written by one at a time.
type set struct {
	tables [kinds]atomic.Pointer[table]
	size   atomic.Int64 // entries, releases and ended ones included, until swept

	mu sync.Mutex // held by the writer
}

// table is an open-addressing hash table. A slot is a tag (the upper half of the hash) and
// the index of an entry plus one; 0 is free. A slot, once used, keeps its tag and index, so
// a reader that sees it finds its entry or, after a sweep, nil. Growth makes a new table.
//
// Slots are apart from entries so that a look-up that finds nothing, the usual case,
// touches one cache line.
type table struct {
	slots   []atomic.Uint64
	entries []atomic.Pointer[entry]
	used    int // by the writer
}

const minSlots = 64

func newTable(entries int) *table {
	n := minSlots
	for n < 4*entries {
		n *= 2
	}
	return &table{slots: make([]atomic.Uint64, n), entries: make([]atomic.Pointer[entry], n/2)}
}

// find returns the entry of a tenant's subject, or nil.
func (t *table) find(hash uint64, tenant, subject string) *entry {
	if i := t.index(hash, tenant, subject); i >= 0 {
		return t.entries[i].Load()
	}
	return nil
}

func (t *table) index(hash uint64, tenant, subject string) int {
	mask := uint64(len(t.slots) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		slot := t.slots[i].Load()
		if slot == 0 {
			return -1
		}
		if slot>>32 != hash>>32 {
			continue
		}
		n := int(slot&(1<<32-1)) - 1
		if e := t.entries[n].Load(); e != nil && e.rev.Subject == subject && e.rev.Tenant == tenant {
			return n
		}
	}
}

// add puts e in a free slot. The caller has checked that there is room.
func (t *table) add(e *entry) {
	t.entries[t.used].Store(e)
	t.used++
	mask := uint64(len(t.slots) - 1)
	i := e.hash & mask
	for t.slots[i].Load() != 0 {
		i = (i + 1) & mask
	}
	// The entry is there before the slot says so.
	t.slots[i].Store(e.hash>>32<<32 | uint64(t.used))
}

// find returns the entry of kind k, or nil.
func (s *set) find(k kind, hash uint64, tenant, subject string) *entry {
	t := s.tables[k].Load()
	if t == nil {
		return nil
	}
	return t.find(hash, tenant, subject)
}

// put stores e in place of what its target had. The caller holds mu.
func (s *set) put(k kind, e *entry) {
	t := s.tables[k].Load()
	if t == nil {
		t = newTable(minSlots / 4)
		s.tables[k].Store(t)
	}
	if i := t.index(e.hash, e.rev.Tenant, e.rev.Subject); i >= 0 {
		t.entries[i].Store(e)
		return
	}
	if t.used == len(t.entries) {
		t = t.rebuilt()
		s.tables[k].Store(t)
	}
	t.add(e)
	s.size.Add(1)
}

// rebuilt returns a table with room, without the slots of what was swept.
func (t *table) rebuilt() *table {
	live := 0
	for i := range t.used {
		if t.entries[i].Load() != nil {
			live++
		}
	}
	n := newTable(live + 1)
	for i := range t.used {
		if e := t.entries[i].Load(); e != nil {
			n.add(e)
		}
	}
	return n
}

// sweepStep is how many entries a sweep looks at while it keeps the writer waiting.
const sweepStep = 4096

// sweep forgets what has ended. Checks do not need it: they compare times themselves.
func (s *set) sweep(now int64) {
	for k := range s.tables {
		for from, more := 0, true; more; from += sweepStep {
			more = s.sweepSome(&s.tables[k], from, now)
		}
	}
}

func (s *set) sweepSome(p *atomic.Pointer[table], from int, now int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := p.Load()
	if t == nil || from >= t.used {
		return false
	}
	for i := from; i < min(from+sweepStep, t.used); i++ {
		if e := t.entries[i].Load(); e != nil && now >= e.until {
			t.entries[i].Store(nil)
			s.size.Add(-1)
		}
	}
	return true
}

// each calls f for every entry, ended ones included.
func (s *set) each(f func(*entry)) {
	for k := range s.tables {
		t := s.tables[k].Load()
		if t == nil {
			continue
		}
		for i := range t.entries {
			if e := t.entries[i].Load(); e != nil {
				f(e)
			}
		}
	}
}

// mix makes the hash of a tenant's name out of the hashes of both.
func mix(tenant, name uint64) uint64 {
	hi, lo := bits.Mul64(tenant^0x9e3779b97f4a7c15, name^0xbf58476d1ce4e5b9)
	return hi ^ lo ^ name
}
