package shard

import (
	"encoding/binary"
	"math"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/models"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// An agent that was seen in its first calls joins a peer group: the agents of its tenant that
// mostly do the same. A group is a further record of peers, beside the tenant's, and knows it as
// its wide one. What little a group has seen is completed by what the tenant has.
//
// Two agents that do the same must find the same group, without anybody who compares them. So the
// group is named after one of the actions that an agent often does: of those done at least half as
// often as the most frequent one, the one with the least hash. Two agents choose the same with the
// probability that a random action which one of them often does is one that both often do
// (min-wise hashing; Broder 1997). The most frequent action alone would part agents that do two
// actions about equally often, and unite those that have but one in common.

const (
	// groupAfter is after how many calls an agent joins: with 200 the share of an action that is a
	// tenth of all calls is known within a fifth of it, an agent of few calls is there in days, and
	// a count takes a byte. A budget asks for as many before it judges by an entity's own past.
	groupAfter = 200
	// sketched is how many actions are counted. Of an agent that does more of them the rarest
	// share their places.
	sketched = 8
	// mostGroups bounds the groups of a tenant, each of about 600 bytes and the kinds it knows for
	// each detector. Agents that come when there are so many have no group.
	mostGroups = 64
)

// sketch counts the actions of an agent's first calls (space-saving; Metwally, Agrawal and El
// Abbadi 2005). It is exact for up to sketched actions.
type sketch struct {
	actions [sketched]uint32 // the upper half of their hashes
	counts  [sketched]uint8  // 0 from the first free place on
}

// add counts a call. Where there is no place, the action takes that of the rarest one, with its count.
func (k *sketch) add(action uint32) {
	least := 0
	for i, n := range k.counts {
		if n == 0 || k.actions[i] == action {
			least = i
			break
		}
		if n < k.counts[least] {
			least = i
		}
	}
	k.actions[least] = action
	if k.counts[least] < math.MaxUint8 {
		k.counts[least]++
	}
}

// group returns the name of the group of an agent that does so.
func (k *sketch) group() (name uint32) {
	most := uint8(0)
	for _, n := range k.counts {
		most = max(most, n)
	}
	name = math.MaxUint32
	for i, n := range k.counts {
		if n >= most-most/2 {
			name = min(name, k.actions[i])
		}
	}
	return name
}

// seek counts the action of the call under way, one of the first of an agent, and lets the agent
// join its group when it has made enough of them.
func (s *Shard) seek(e *entity, c *telemetry.Call) {
	action, _ := s.fieldHash(c, detector.FieldAction, "")
	e.sketch.add(uint32(action >> 32))
	if e.calls < int64(s.opt.GroupAfter) {
		return
	}
	name := e.sketch.group()
	e.sketch = nil
	s.tellTo(e, toTenant, telling{what: toldGroup, value: uint64(name)})
	if e.peers.has(name) { // else there are too many
		s.join(e, s.groupAt(e.peers, name))
	}
}

// join makes the agent one of a group and tells it what its tenant was told so far.
func (s *Shard) join(e *entity, group *peers) {
	e.peers = group
	for i := range e.watches {
		w := &e.watches[i]
		w.peers = group.of(w.rule)
		say := func(what byte, index int, value uint64) {
			s.tellTo(e, toGroup, telling{shape: w.rule.shape, what: what, index: byte(index), value: value})
		}
		say(toldAppeared, 0, 0)
		if w.counted {
			for j := range w.evidence {
				say(toldWarm, j, math.Float64bits(w.evidence[j].mean()))
			}
		}
		for j, known := range w.peers.kinds {
			if known == nil {
				continue
			}
			for _, h := range w.features[j].kinds.known.Hashes() {
				say(toldKnown, j, h)
			}
		}
	}
}

// groupAt returns the group of a tenant with the given name.
func (s *Shard) groupAt(tenant *peers, name uint32) *peers {
	return s.peersAt(string(binary.BigEndian.AppendUint32(append([]byte(tenant.key), 0), name)))
}

// splitPeersKey returns the key of the tenant's peers, and for those of a group its name; ok is
// false where a key is neither.
func splitPeersKey(key string) (tenant string, name uint32, group, ok bool) {
	for i := 1; i < len(key); i++ {
		if key[i] == 0 {
			if by := int(key[0]) - groups; len(key) != i+5 || by != int(detector.ByAgent) {
				return "", 0, false, false
			}
			return key[:i], binary.BigEndian.Uint32([]byte(key[i+1:])), true, true
		}
	}
	return key, 0, false, true
}

// group returns the name of a group.
func (p *peers) group() uint32 {
	_, name, _, _ := splitPeersKey(p.key)
	return name
}

// has reports whether the tenant has a group of that name.
func (p *peers) has(name uint32) bool {
	for _, g := range p.groups {
		if g == name {
			return true
		}
	}
	return false
}

// admit makes room for a group, if there are not too many.
func (p *peers) admit(name uint32) {
	if p.wide == nil && len(p.groups) < mostGroups && !p.has(name) {
		p.groups = append(p.groups, name)
	}
}

// widest returns what the tenant's peers showed of the rule.
func (p *peerRule) widest() *peerRule {
	for p.wide != nil {
		p = p.wide
	}
	return p
}

// blocks returns the crests of the group, those of the tenant where the group has too few.
func (p *peerRule) blocks() *models.SizeBaseline {
	for p.wide != nil && p.crests.Slots() < leastPeerBlocks {
		p = p.wide
	}
	return &p.crests
}

// spread returns the mean square of what crests deviate from their entity's past, the
// tenant's where the group has seen too few.
func (p *peerRule) spread() float64 {
	for p.wide != nil && p.square.n < leastPeerBlocks {
		p = p.wide
	}
	return p.square.mean
}

// beyondGroup is what a group saw of the kinds that were new to it: how many there were, and how
// many of them were new to the whole tenant.
type beyondGroup struct{ fresh, foreign float64 }

// pForeign is the probability that a kind that is new to the group is new to the tenant. For
// exchangeable draws it is on average not too small, as is that of Good and Turing.
func (b *beyondGroup) pForeign() float64 { return (b.foreign + 1) / (b.fresh + 1) }

// logENew is the e-value of what the peers know of a kind with hash h that is new to one of them,
// as feature i. Whether it is new to the group is the first question; whether it is new to the
// tenant, asked only where it is, the second. Each has its probability given the answers before,
// so that the product of their e-values is one. Where a group has too few members the tenant alone
// is asked.
func (p *peerRule) logENew(i int, h uint64) float64 {
	tenant := p.widest().novelty(i)
	if tenant == nil {
		return 0
	}
	group := p.novelty(i)
	if p.wide == nil || group == nil {
		return models.LogENovel(!tenant.Seen(h), tenant.PNew())
	}
	if group.Seen(h) {
		return models.LogENovel(false, group.PNew())
	}
	e := models.LogENovel(true, group.PNew())
	if more := p.beyond[i].pForeign(); more < 0.5 { // else the tenant, which may be the group, has nothing to add
		e += models.LogENovel(!tenant.Seen(h), more)
	}
	return e
}

func (k *sketch) appendState(b []byte) []byte {
	n := 0
	for n < sketched && k.counts[n] > 0 {
		n++
	}
	b = append(b, byte(n))
	for i := range n {
		b = append(binary.BigEndian.AppendUint32(b, k.actions[i]), k.counts[i])
	}
	return b
}

func (r *reader) sketch() *sketch {
	k := new(sketch)
	n := r.uvarint()
	if n > sketched {
		r.err = errState
		return nil
	}
	for i := range n {
		if b := r.bytes(5); b != nil {
			k.actions[i], k.counts[i] = binary.BigEndian.Uint32(b), b[4]
		}
	}
	return k
}

// What an entity's state says of its peer group.
const (
	groupNone   = iota // it has none
	groupSought        // a sketch follows
	groupJoined        // its name follows
)

func (e *entity) appendGroup(b []byte) []byte {
	switch {
	case e.sketch != nil:
		return e.sketch.appendState(append(b, groupSought))
	case e.peers != nil && e.peers.wide != nil:
		return binary.BigEndian.AppendUint32(append(b, groupJoined), e.peers.group())
	}
	return append(b, groupNone)
}

// loadGroup reads what appendGroup wrote.
func (s *Shard) loadGroup(e *entity, r *reader) {
	e.peers, e.sketch = s.peersOf(e.key), nil
	switch r.uvarint() {
	case groupNone:
	case groupSought:
		e.sketch = r.sketch()
	case groupJoined:
		if b := r.bytes(4); b != nil {
			e.peers = s.groupAt(e.peers, binary.BigEndian.Uint32(b))
		}
	default:
		r.err = errState
	}
	if detector.Entity(e.key[0]) != detector.ByAgent && (e.sketch != nil || e.peers.wide != nil) {
		r.err = errState
	}
}
