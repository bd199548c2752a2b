package revoke

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"math/bits"
	"slices"
	"time"
)

// DigestSize is the size in bytes of a Digest and of a TenantKey.
const DigestSize = 16

// Digest names what the stream holds, of one tenant or of all: how many messages, and the sum of
// their elements. Two sides that hold the same have the same digest, in whatever order they heard it.
type Digest [DigestSize]byte

// TenantKey stands for a tenant's name in heartbeats: the first bytes of its SHA-256.
type TenantKey [DigestSize]byte

// TenantKeyOf returns the key of a tenant.
func TenantKeyOf(tenant string) TenantKey {
	sum := sha256.Sum256([]byte(tenant))
	return TenantKey(sum[:DigestSize])
}

// GlobalKey stands for what concerns all tenants: the key of the empty name, which no tenant has.
var GlobalKey = TenantKeyOf("")

func (r Revocation) tenantKey() TenantKey {
	if r.Scope == Global {
		return GlobalKey
	}
	return TenantKeyOf(r.Tenant)
}

// tally is a multiset of elements: their number, and their sum modulo 2^256. The number is there
// because of whoever leaves messages out: a set of elements whose sum is 0 can be found, one
// that also has no members cannot.
type tally struct {
	n   uint64
	sum [4]uint64 // least significant first
}

type element [4]uint64

// ElementOf returns the element of r: the hash of what it says of its target. Lengths go first,
// so that no two messages are written alike.
func ElementOf(r Revocation) [sha256.Size]byte {
	return hashElement(Subject(r), r.ID, r.Until.UnixNano())
}

func hashElement(subject, id string, until int64) [sha256.Size]byte {
	b := make([]byte, 0, 256)
	b = binary.BigEndian.AppendUint32(b, uint32(len(subject)))
	b = append(b, subject...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(id)))
	b = append(b, id...)
	b = binary.BigEndian.AppendUint64(b, uint64(until))
	return sha256.Sum256(b)
}

func elementOf(subject, id string, until int64) element {
	return number(hashElement(subject, id, until))
}

// number reads a hash as a number.
func number(sum [sha256.Size]byte) element {
	var e element
	for i := range e {
		e[i] = binary.BigEndian.Uint64(sum[24-8*i:])
	}
	return e
}

func (t *tally) add(e element) { t.merge(&tally{1, e}) }

func (t *tally) merge(o *tally) {
	t.n += o.n
	var c uint64
	for i := range t.sum {
		t.sum[i], c = bits.Add64(t.sum[i], o.sum[i], c)
	}
}

func (t *tally) remove(e element) { t.subtract(&tally{1, e}) }

func (t *tally) subtract(o *tally) {
	t.n -= o.n
	var c uint64
	for i := range t.sum {
		t.sum[i], c = bits.Sub64(t.sum[i], o.sum[i], c)
	}
}

func (t *tally) digest() Digest {
	var b [40]byte
	binary.BigEndian.PutUint64(b[:], t.n)
	for i := range t.sum {
		binary.BigEndian.PutUint64(b[32-8*i:], t.sum[i])
	}
	sum := sha256.Sum256(b[:])
	return Digest(sum[:DigestSize])
}

// Ledger is what one side knows the stream to hold: the last message of each target, as digests
// that cost the same however much is held. It is not safe for concurrent use.
//
// It says what is stored, not what is enforced: where messages are out of order a guard may
// enforce another one of a target than the last, and both sides still agree on what is stored.
type Ledger struct {
	targets map[[DigestSize]byte]filed
	tenants map[TenantKey]*account
	all     account
	ends    map[int64]map[*account]*tally // by the second in which they end: what will fall out
	horizon int64                         // what ended until this second has fallen out
}

// filed is the message that a target has.
type filed struct {
	element element
	end     int64 // the first whole second at which it has ended
	owner   *account
}

// account is what one tenant has in the stream.
type account struct {
	key     TenantKey
	total   tally
	changed uint64 // stream sequence of the last change
}

// NewLedger returns an empty ledger.
func NewLedger() *Ledger {
	return &Ledger{
		targets: make(map[[DigestSize]byte]filed), tenants: make(map[TenantKey]*account),
		ends: make(map[int64]map[*account]*tally),
	}
}

// Note files r as the last message of its target. sequence is its number in the stream; 0 is unknown.
func (l *Ledger) Note(r Revocation, sequence uint64) {
	subject := Subject(r)
	sum := sha256.Sum256([]byte(subject))
	key := [DigestSize]byte(sum[:DigestSize])
	owner := l.account(r.tenantKey())
	owner.changed = max(owner.changed, sequence)
	if old, ok := l.targets[key]; ok && old.end > l.horizon {
		l.change(old, func(t *tally) { t.remove(old.element) })
	}
	until := r.Until.UnixNano()
	f := filed{elementOf(subject, r.ID, until), endOf(until), owner}
	if f.end <= l.horizon {
		delete(l.targets, key)
		return
	}
	l.targets[key] = f
	l.change(f, func(t *tally) { t.add(f.element) })
}

// endOf returns the first whole second at which something that lasts until has ended.
func endOf(until int64) int64 {
	end := until / int64(time.Second)
	if until%int64(time.Second) != 0 {
		end++
	}
	return end
}

func (l *Ledger) account(key TenantKey) *account {
	a := l.tenants[key]
	if a == nil {
		a = &account{key: key}
		l.tenants[key] = a
	}
	return a
}

// change does the same to every tally that counts f.
func (l *Ledger) change(f filed, do func(*tally)) {
	at := l.ends[f.end]
	if at == nil {
		at = make(map[*account]*tally)
		l.ends[f.end] = at
	}
	for _, a := range []*account{f.owner, &l.all} {
		do(&a.total)
		if at[a] == nil {
			at[a] = new(tally)
		}
		do(at[a])
		if at[a].n == 0 {
			delete(at, a)
		}
	}
	if len(at) == 0 {
		delete(l.ends, f.end)
	}
}

// Forget drops what ended until the second asOf, which no later question may lie before.
func (l *Ledger) Forget(asOf int64) {
	if asOf <= l.horizon {
		return
	}
	for second, at := range l.ends {
		if second > asOf {
			continue
		}
		for a, t := range at {
			a.total.subtract(t)
		}
		delete(l.ends, second)
	}
	l.horizon = asOf
	for key, f := range l.targets {
		if f.end <= asOf {
			delete(l.targets, key)
		}
	}
	for key, a := range l.tenants {
		if a.total.n == 0 {
			delete(l.tenants, key)
		}
	}
}

// Replaced reports whether the target of a NATS subject has another last message than the one of
// this element. Where it has none, nothing has replaced it.
func (l *Ledger) Replaced(subject string, of [sha256.Size]byte) bool {
	sum := sha256.Sum256([]byte(subject))
	f, ok := l.targets[[DigestSize]byte(sum[:DigestSize])]
	return ok && f.element != number(of)
}

// View is a ledger without what ended until a moment. It is good until the ledger changes.
type View struct {
	ledger *Ledger
	ended  map[*account]*tally
}

// At returns the view at the second asOf, and false where the ledger has forgotten it.
func (l *Ledger) At(asOf int64) (View, bool) {
	v := View{ledger: l, ended: make(map[*account]*tally)}
	if asOf < l.horizon {
		return v, false
	}
	// What ended lately is in few seconds; but after a long silence there may be more seconds than entries.
	if asOf-l.horizon > int64(len(l.ends)) {
		for second := range l.ends {
			if second <= asOf {
				v.end(second)
			}
		}
		return v, true
	}
	for second := l.horizon + 1; second <= asOf; second++ {
		v.end(second)
	}
	return v, true
}

func (v View) end(second int64) {
	for a, t := range v.ledger.ends[second] {
		if v.ended[a] == nil {
			v.ended[a] = new(tally)
		}
		v.ended[a].merge(t)
	}
}

func (v View) of(a *account) tally {
	if a == nil {
		return tally{}
	}
	t := a.total
	if ended := v.ended[a]; ended != nil {
		t.subtract(ended)
	}
	return t
}

// Tenant returns the digest of one tenant; of one that has nothing, that of nothing.
func (v View) Tenant(key TenantKey) Digest {
	t := v.of(v.ledger.tenants[key])
	return t.digest()
}

// All returns the digest of all tenants together, and how many messages that are.
func (v View) All() (Digest, uint64) {
	t := v.of(&v.ledger.all)
	return t.digest(), t.n
}

// split returns the n tenants that changed last, and the others.
func (l *Ledger) split(n int) (latest, rest []*account) {
	all := slices.Collect(maps.Values(l.tenants))
	slices.SortFunc(all, func(a, b *account) int { return cmp.Compare(b.changed, a.changed) })
	n = min(n, len(all))
	return all[:n], all[n:]
}

// following returns the n accounts whose keys come after the key turn, and round again. It
// reorders the list.
func following(list []*account, turn TenantKey, n int) []*account {
	slices.SortFunc(list, func(a, b *account) int { return bytes.Compare(a.key[:], b.key[:]) })
	from, _ := slices.BinarySearchFunc(list, turn, func(a *account, key TenantKey) int {
		if bytes.Compare(a.key[:], key[:]) <= 0 {
			return -1
		}
		return 1
	})
	n = min(n, len(list))
	next := make([]*account, 0, n)
	for i := range n {
		next = append(next, list[(from+i)%len(list)])
	}
	return next
}
