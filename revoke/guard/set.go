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
	kindGlobal
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
	case revoke.Global:
		return kindGlobal
	}
	return kindAny
}

// entry is one revocation in the set. It is immutable but for paced and denied. One with strength 0 is
// a release: it stops nothing, and stays until its end so that an older message cannot undo
// it.
//
// Memory is what a check waits for: an entry fills two neighbouring cache lines, and holds
// the subject itself where it is short.
type entry struct {
	until      int64  // ns
	validAfter int64  // ns; 0: lets no credential through
	tenant     string // one copy for all entries of the tenant
	strength   uint8
	verdict    Verdict
	size       uint8 // of short in use; 0: the subject is too long for it
	short      [45]byte

	rev    *revoke.Revocation
	reason string
	hash   uint64
	paced  atomic.Int64 // ns: when Pace last let a call through
	denied atomic.Int64 // ns: the first call that it denied; 0: none yet
}

func (e *entry) setSubject(subject string) {
	if len(subject) <= len(e.short) {
		e.size = uint8(copy(e.short[:], subject))
	}
}

// is reports whether e is of this subject of this tenant.
func (e *entry) is(tenant, subject string) bool {
	if e.size == 0 {
		return e.rev.Subject == subject && e.tenant == tenant
	}
	return string(e.short[:e.size]) == subject && e.tenant == tenant
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

	mu      sync.Mutex // held by the writer
	tenants map[string]string
}

// intern returns the one copy of a tenant's name. The caller holds mu.
func (s *set) intern(tenant string) string {
	if one, ok := s.tenants[tenant]; ok {
		return one
	}
	if s.tenants == nil {
		s.tenants = make(map[string]string)
	}
	s.tenants[tenant] = tenant
	return tenant
}

// table is an open-addressing hash table with linear probing. A slot has a tag, 0 where it
// is free, and an entry. A slot, once used, keeps its tag; a sweep leaves it without entry.
// Growth makes a new table.
//
// Tags are apart from entries and short, so that a look-up that finds nothing, which is the
// usual case, touches one cache line of a small array.
type table struct {
	tags    []atomic.Uint32
	entries []atomic.Pointer[entry]
	used    int // slots with a tag; by the writer
}

const minSlots = 64

// newTable returns a table with room for at least n entries.
func newTable(n int) *table {
	slots := minSlots
	for slots < 2*n {
		slots *= 2
	}
	return &table{tags: make([]atomic.Uint32, slots), entries: make([]atomic.Pointer[entry], slots)}
}

// full says that half of the slots are used: probes stay short.
func (t *table) full() bool { return 2*t.used >= len(t.tags) }

// tag is never 0, which marks a free slot.
func tag(hash uint64) uint32 { return uint32(hash>>32) | 1 }

// find returns the entry of a tenant's subject, or nil.
func (t *table) find(hash uint64, tenant, subject string) *entry {
	if i := t.index(hash, tenant, subject); i >= 0 {
		return t.entries[i].Load()
	}
	return nil
}

func (t *table) index(hash uint64, tenant, subject string) int {
	mask, want := uint64(len(t.tags)-1), tag(hash)
	for i := hash & mask; ; i = (i + 1) & mask {
		got := t.tags[i].Load()
		if got == 0 {
			return -1
		}
		if got != want {
			continue
		}
		if e := t.entries[i].Load(); e != nil && e.is(tenant, subject) {
			return int(i)
		}
	}
}

// add puts e in a free slot. The caller has checked that the table is not full.
func (t *table) add(e *entry) {
	mask := uint64(len(t.tags) - 1)
	i := e.hash & mask
	for t.tags[i].Load() != 0 {
		i = (i + 1) & mask
	}
	t.used++
	// The entry is there before the tag says so.
	t.entries[i].Store(e)
	t.tags[i].Store(tag(e.hash))
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
	switch {
	case t == nil:
		t = newTable(1)
		s.tables[k].Store(t)
	case t.full():
		t = t.rebuilt()
		s.tables[k].Store(t)
	}
	e.tenant = s.intern(e.tenant)
	if i := t.index(e.hash, e.tenant, e.rev.Subject); i >= 0 {
		t.entries[i].Store(e)
		return
	}
	t.add(e)
	s.size.Add(1)
}

// rebuilt returns a table with room for half as many again, without the slots of what was
// swept.
func (t *table) rebuilt() *table {
	live := 0
	for i := range t.entries {
		if t.entries[i].Load() != nil {
			live++
		}
	}
	n := newTable(live + live/2 + 1)
	for i := range t.entries {
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
	if t == nil || from >= len(t.entries) {
		return false
	}
	for i := from; i < min(from+sweepStep, len(t.entries)); i++ {
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
