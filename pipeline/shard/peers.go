package shard

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/models"
)

// peers are what the entities of one sort that a tenant has in this shard showed together:
// what a new entity is judged by before it has a past, and what is new to all of them.
//
// They learn from tellings: an entity tells when it appears, when it has warmed up, and each
// kind that it had never drawn before. Every telling has the place of its call in the log, and
// the peers are at each call what the tellings of the calls before it make them. So that this
// holds after a crash too, in the middle of which some entities and not others reached the
// state topic, the tellings since the last checkpoint are written twice: with the peers,
// whose own state is the one of the checkpoint before, and with the entity that told them. A
// shard that is restored holds them until the log has come to their place.
type peers struct {
	// key in the state topic: groups + the sort of the entities, and the tenant; of a peer group
	// 0 and its name in addition.
	key    string
	wide   *peers // of a group those of its tenant; nil where these are the tenant's
	rules  []*peerRule
	groups []uint32 // of a tenant: the names of its groups
	// base is the state as it was at the last checkpoint, after the call at baseAt; told is
	// what was told since.
	base   []byte
	baseAt position
	told   []telling
	dirty  bool
}

// peerRule is what the peers of one detector showed.
type peerRule struct {
	rule    *rule
	wide    *peerRule // of a group what its tenant's peers showed
	members int
	since   int64               // from when on the rule saw the calls of the tenant, their own time; never: not told
	kinds   []*models.Novelty   // by feature; nil where the feature does not tell kinds apart
	beyond  []beyondGroup       // by feature, of a group
	rates   []means             // by evidence
	crests  models.SizeBaseline // of 1 + the crest of a block
	tails   tails
	square  means // of the deviation of a crest from its entity's past, squared
}

// mostTold is how much may be told between two checkpoints, and mostOfRecord by the calls of one
// record, about 30 bytes each: all of it may stand in one record of the state topic, twice after
// a restart.
const mostTold, mostOfRecord = 1 << 14, 1 << 12

// Full reports whether Dirty is to be called before further records: as much was told since it
// was last called as goes into a record of the state topic.
func (s *Shard) Full() bool { return len(s.told) >= mostTold }

// peerCrests is how many blocks of all entities together are remembered.
const peerCrests = 5000

// means are the moments of the entities' means, by the update of Welford (1962).
type means struct{ n, mean, squares float64 }

func (m *means) add(x float64) {
	m.n++
	d := x - m.mean
	m.mean += d / m.n
	m.squares += d * (x - m.mean)
}

// telling is what an entity tells its peers.
type telling struct {
	at    position
	shape uint64 // of the rule
	what  byte
	index byte   // of the feature, or of the evidence
	to    byte   // who is told
	value uint64 // a hash, or the bits of a mean
	nth   uint16 // of the tellings of the same call
}

// What is told.
const (
	toldAppeared  = iota // a further entity
	toldWarm             // it has warmed up, and had this mean in evidence index
	toldKind             // it drew a kind for the first time, for feature index
	toldCrest            // the crest of its evidence in a block
	toldTail             // -log p of that crest, by its own past
	toldDeviation        // how far it lies from the middle of its own past
	toldCutTail          // toldTail of a crest that fired and would have risen on
	toldForeign          // toldKind of one that nobody of the tenant had drawn
	toldKnown            // it drew the kind before it joined the group
	toldGroup            // it looks for the group of that name
	toldLoaded           // the rule sees the tenant's calls from this time on, their own
)

// Who is told.
const (
	toTenant = 1 << iota
	toGroup
)

const (
	// peersLeast is from how many entities on a tenant's entities are compared.
	peersLeast = 3
	// peerKinds bounds the kinds of a feature that are kept for all entities of a tenant.
	peerKinds = 8192
)

// What is believed of an entity's mean counts as at most priorMost slots, so that its own
// soon count more, and as priorLeast at least.
const priorMost, priorLeast = 20, 0.05

// prior returns what the peers lead to expect of the count i in a new entity's slot: the
// Gamma distribution with the mean and the variance of the means of those that have warmed
// up (the moments of an empirical Bayes prior; Robbins 1956). ok is false where too few have.
//
// Those of a group that has too few are its tenant's.
func (p *peerRule) prior(i int) (mean, weight float64, ok bool) {
	for p.wide != nil && p.rates[i].n < peersLeast {
		p = p.wide
	}
	m := &p.rates[i]
	if m.n < peersLeast {
		return 0, 0, false
	}
	variance := m.squares / (m.n - 1)
	rate := max(m.mean-1, 0.01) // beyond the one call that makes a slot active
	return m.mean, min(max(rate/max(variance, 1e-9), priorLeast), priorMost), true
}

// warm is how many entities of the tenant have warmed up.
func (p *peerRule) warm() int {
	p = p.widest()
	if len(p.rates) == 0 {
		return 0
	}
	return int(p.rates[0].n)
}

func newPeerRule(r *rule) *peerRule {
	p := &peerRule{
		rule:   r,
		since:  never,
		kinds:  make([]*models.Novelty, len(r.Features)),
		rates:  make([]means, len(r.Evidence)),
		crests: models.NewSizeBaseline(peerCrests),
	}
	for i, f := range r.Features {
		if f.Kind == detector.KindNew {
			known := models.NewNovelty(noveltyDiscount, noveltyStrength, peerKinds)
			p.kinds[i] = &known
		}
	}
	return p
}

// of returns what the peers showed of a rule.
func (p *peers) of(r *rule) *peerRule {
	for _, pr := range p.rules {
		if pr.rule == r {
			return pr
		}
	}
	pr := newPeerRule(r)
	if p.wide != nil {
		pr.wide, pr.beyond = p.wide.of(r), make([]beyondGroup, len(r.Features))
	}
	p.rules = append(p.rules, pr)
	return pr
}

// novelty returns the kinds of feature i that the peers know, nil where they are too few to
// compare with.
func (p *peerRule) novelty(i int) *models.Novelty {
	if p.members < peersLeast {
		return nil
	}
	return p.kinds[i]
}

// take learns a telling. One of a rule that is not loaded is dropped.
func (p *peers) take(t telling, rules []*rule) {
	if t.what == toldGroup {
		p.admit(uint32(t.value))
		return
	}
	r := ruleOf(rules, t.shape, tenantOf(p.key))
	if r == nil {
		return
	}
	pr := p.of(r)
	const most = 1e60                                                 // so that the squares of squares are finite
	x := min(max(finite(math.Float64frombits(t.value)), -most), most) // where it is a number
	switch t.what {
	case toldAppeared:
		pr.members++
	case toldLoaded:
		pr.since = min(pr.since, int64(t.value))
	case toldWarm:
		if int(t.index) < len(pr.rates) {
			pr.rates[t.index].add(x)
		}
	case toldCrest:
		pr.crests.Learn(1 + max(x, 0))
	case toldTail, toldCutTail:
		pr.tails.add(x, t.what == toldCutTail)
	case toldDeviation:
		pr.square.add(x * x)
	case toldKind, toldForeign, toldKnown:
		if int(t.index) < len(pr.kinds) && pr.kinds[t.index] != nil {
			pr.learnKind(t)
		}
	}
}

// learnKind learns that one of the peers drew a kind. What it had drawn when it joined, the
// tenant had been told of: that says nothing of what is new to both.
func (p *peerRule) learnKind(t telling) {
	known := p.kinds[t.index]
	if p.wide != nil && t.what != toldKnown && !known.Seen(t.value) {
		b := &p.beyond[t.index]
		b.fresh++
		b.foreign += truth(t.what == toldForeign)
	}
	known.Learn(t.value)
}

// tell tells all of the entity's peers.
func (s *Shard) tell(e *entity, r *rule, what byte, index int, value uint64) {
	to := byte(toTenant)
	if e.peers.wide != nil {
		to |= toGroup
	}
	s.tellTo(e, to, telling{shape: r.shape, what: what, index: byte(index), value: value})
}

// tellKind tells that the entity drew a kind for the first time.
func (s *Shard) tellKind(e *entity, r *rule, w *watch, feature int, h uint64) {
	what := byte(toldKind)
	if !w.peers.widest().kinds[feature].Seen(h) {
		what = toldForeign
	}
	s.tell(e, r, what, feature, h)
}

// tellTo tells the entity's tenant, its group, or both, and notes the telling with each of them
// and with the entity.
func (s *Shard) tellTo(e *entity, to byte, t telling) {
	t.at, t.to = e.position, to
	if n := len(s.told); n > 0 && s.told[n-1].at == t.at {
		t.nth = s.told[n-1].nth + 1
	}
	if n := len(s.told) - mostOfRecord; n >= 0 && s.told[n].at.offset == t.at.offset {
		return
	}
	s.told = append(s.told, told{t, e})
	for p := e.peers; p != nil; p = p.wide {
		if t.to&p.audience() != 0 {
			s.listen(p, t)
		}
	}
}

// audience is what tellings to these peers are addressed to.
func (p *peers) audience() byte {
	if p.wide != nil {
		return toGroup
	}
	return toTenant
}

// told is a telling and the entity that told it.
type told struct {
	telling
	by *entity
}

// listen lets peers take a telling in and notes it.
func (s *Shard) listen(p *peers, t telling) {
	p.take(t, s.rules[p.key[0]-byte(groups)])
	p.told = append(p.told, t)
	if !p.dirty {
		p.dirty = true
		s.dirtyPeers = append(s.dirtyPeers, p)
	}
}

// tellMeans tells what the entity is like, when it has warmed up.
func (s *Shard) tellMeans(e *entity, r *rule, w *watch) {
	for i := range w.evidence {
		s.tell(e, r, toldWarm, i, math.Float64bits(w.evidence[i].mean()))
	}
}

// peersOf returns the peers of the tenant of an entity with the given key.
func (s *Shard) peersOf(key string) *peers {
	by, tenant, _ := splitEntityKey(key)
	return s.peersAt(string([]byte{byte(groups) + byte(by)}) + tenant)
}

func (s *Shard) peersAt(key string) *peers {
	p := s.peers[key]
	if p == nil {
		p = &peers{key: key, baseAt: position{offset: -1}}
		if tenant, _, group, _ := splitPeersKey(key); group {
			p.wide = s.peersAt(tenant)
		}
		s.peers[key] = p
	}
	return p
}

// awaited is a telling that a restored state brought, held until the log has come to its place.
type awaited struct {
	telling
	peers *peers
	twice bool // their own record has it too, if it tells of a call that was saved
}

// await holds what peers are to hear, of all that was told.
func (s *Shard) await(p *peers, told []telling, twice bool) {
	for _, t := range told {
		if t.to&p.audience() != 0 {
			s.awaited = append(s.awaited, awaited{t, p, twice})
		}
	}
	s.sorted = false
}

// hear lets the peers hear what was told before the call at a place, and at that place if
// the call's entity already reflects the call. Otherwise the call itself tells it again.
func (s *Shard) hear(at position, reflected bool) {
	if !s.sorted {
		s.sortAwaited()
	}
	n := 0
	for ; n < len(s.awaited); n++ {
		a := &s.awaited[n]
		c := a.at.compare(at)
		if c > 0 {
			break
		}
		if c < 0 || reflected {
			s.listen(a.peers, a.telling)
		}
	}
	s.awaited = s.awaited[n:]
}

// sortAwaited brings what is awaited into the order of the log, without what was written
// twice and what the peers' own state already holds.
func (s *Shard) sortAwaited() {
	s.awaited = slices.DeleteFunc(s.awaited, func(a awaited) bool { return a.at.compare(a.peers.baseAt) <= 0 })
	for i := range s.awaited {
		s.awaited[i].twice = false
	}
	slices.SortFunc(s.awaited, func(a, b awaited) int {
		return cmp.Or(a.at.compare(b.at), cmp.Compare(a.nth, b.nth), cmp.Compare(a.peers.key, b.peers.key))
	})
	s.awaited = slices.Compact(s.awaited)
	s.sorted = true
}

func (a position) compare(b position) int {
	return cmp.Or(cmp.Compare(a.offset, b.offset), cmp.Compare(a.index, b.index))
}

// appendState writes the state at the last checkpoint and what was told since, and makes
// the state after the call at a place the next one's base.
func (p *peers) appendState(b []byte, at position) []byte {
	b = append(b, stateVersion)
	b = appendPosition(b, p.baseAt)
	b = binary.AppendUvarint(b, uint64(len(p.base)))
	b = append(b, p.base...)
	b = appendTold(b, p.told)
	p.base = bytes.Clone(p.appendRules(p.appendGroups(nil))) // no longer than it must be: it is kept
	p.baseAt, p.told, p.dirty = at, nil, false
	return b
}

func (p *peers) appendGroups(b []byte) []byte {
	b = append(b, byte(len(p.groups)))
	for _, name := range p.groups {
		b = binary.BigEndian.AppendUint32(b, name)
	}
	return b
}

// loadGroups reads what appendGroups wrote.
func (p *peers) loadGroups(r *reader) {
	p.groups = nil
	n := r.uvarint()
	if n > mostGroups || n > 0 && p.wide != nil {
		r.err = errState
	}
	for ; n > 0 && r.err == nil; n-- {
		if b := r.bytes(4); b != nil {
			p.admit(binary.BigEndian.Uint32(b))
		}
	}
}

func (p *peers) appendRules(b []byte) []byte {
	for _, pr := range p.rules {
		body := pr.appendState(nil)
		b = binary.LittleEndian.AppendUint64(b, pr.rule.shape)
		b = binary.AppendUvarint(b, uint64(len(body)))
		b = append(b, body...)
	}
	return b
}

func (p *peerRule) appendState(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(p.members))
	b = binary.AppendVarint(b, p.since)
	for _, m := range p.rates {
		b = m.append(b)
	}
	for _, x := range [...]float64{p.tails.n, p.tails.over, p.tails.whole, p.tails.excess} {
		b = appendFloat(b, x)
	}
	b = p.square.append(b)
	b, _ = p.crests.AppendBinary(b) // the models never refuse
	for _, k := range p.kinds {
		if k != nil {
			b, _ = k.AppendBinary(b)
		}
	}
	for _, x := range p.beyond {
		b = appendFloat(appendFloat(b, x.fresh), x.foreign)
	}
	return b
}

// load reads what appendState wrote, and returns what was told since the base.
func (p *peers) load(b []byte, rules []*rule) ([]telling, error) {
	r, err := versioned(b)
	if err != nil {
		return nil, err
	}
	p.baseAt = r.position()
	p.base = slices.Clone(r.bytes(r.uvarint()))
	told := r.told()
	base := reader{b: p.base}
	if len(p.base) > 0 {
		p.loadGroups(&base)
	}
	for len(base.b) > 0 && base.err == nil && r.err == nil {
		shape := base.uint64()
		body := base.bytes(base.uvarint())
		rule := ruleOf(rules, shape, tenantOf(p.key))
		if rule == nil || base.err != nil {
			continue
		}
		// Entities that were restored before hold on to it.
		pr := p.of(rule)
		wide, beyond := pr.wide, pr.beyond
		*pr = *newPeerRule(rule)
		pr.wide, pr.beyond = wide, beyond
		if err := pr.load(body); err != nil {
			return nil, fmt.Errorf("detector %q: %w", rule.ID, err)
		}
	}
	return told, cmp.Or(r.err, base.err)
}

func (p *peerRule) load(b []byte) error {
	r := reader{b: b}
	p.members = int(min(r.uvarint(), math.MaxInt32))
	p.since = r.varint()
	for i := range p.rates {
		p.rates[i] = r.means()
	}
	p.tails, p.square = tails{r.float(), r.float(), r.float(), r.float()}, r.means()
	if t := p.tails; !(t.n >= 0 && t.over >= 0 && t.whole >= 0 && t.excess >= 0) {
		return errState
	}
	if r.err != nil {
		return r.err
	}
	if r.b, r.err = p.crests.DecodeBinary(r.b); r.err != nil {
		return r.err
	}
	for _, k := range p.kinds {
		if k == nil {
			continue
		}
		var err error
		if r.b, err = k.DecodeBinary(r.b); err != nil {
			return err
		}
	}
	for i := range p.beyond {
		b := beyondGroup{r.float(), r.float()}
		if r.err == nil && !(b.foreign >= 0 && b.foreign <= b.fresh) {
			r.err = errState
		}
		p.beyond[i] = b
	}
	if r.err != nil {
		return r.err
	}
	if len(r.b) > 0 {
		return fmt.Errorf("%d bytes left over: %w", len(r.b), errState)
	}
	return nil
}

func (m means) append(b []byte) []byte {
	return appendFloat(appendFloat(appendFloat(b, m.n), m.mean), m.squares)
}

func (r *reader) means() means {
	m := means{r.float(), r.float(), r.float()}
	if m.n < 0 || m.squares < 0 {
		r.err = errState
	}
	return m
}

func appendPosition(b []byte, p position) []byte {
	return binary.AppendUvarint(binary.AppendVarint(b, p.offset), uint64(p.index))
}

func appendTold(b []byte, told []telling) []byte {
	b = binary.AppendUvarint(b, uint64(len(told)))
	for _, t := range told {
		b = appendPosition(b, t.at)
		b = binary.LittleEndian.AppendUint64(b, t.shape)
		b = append(b, t.what, t.index, t.to)
		b = binary.AppendUvarint(b, uint64(t.nth))
		b = binary.LittleEndian.AppendUint64(b, t.value)
	}
	return b
}

func (r *reader) position() position {
	return position{r.varint(), int32(r.uvarint())}
}

func (r *reader) told() []telling {
	const least = 22 // bytes of one
	n := r.uvarint()
	if n > uint64(len(r.b)/least) {
		r.err = errState
		return nil
	}
	told := make([]telling, 0, n)
	for range n {
		t := telling{at: r.position(), shape: r.uint64()}
		if b := r.bytes(3); b != nil {
			t.what, t.index, t.to = b[0], b[1], b[2]
		}
		t.nth, t.value = uint16(r.uvarint()), r.uint64()
		told = append(told, t)
	}
	return told
}
