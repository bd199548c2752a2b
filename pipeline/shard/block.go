package shard

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/estop-project/estop/models"
)

// block is the stretch of an entity's past that is under way, a day or as many calls as the
// rule says, and what the blocks before it say of how high evidence rises on a good day.
type block struct {
	at    int64 // number of the day, or the calls in it so far
	begun bool
	crest float64 // the highest log evidence in it
	// recent are the crests of the blocks before it, not learned yet. An attack that grows
	// day by day must not raise the level that it is held against. That of one that fired is the
	// level, below 0.
	recent  [recentBlocks]float32
	recents uint8
	past    models.Crest
	level   float64 // log evidence at which the detector fires
	budget  float64 // the rule's Level that level was set for
	alarms  uint8   // how often it did in this block, at most mostDoublings
}

// mostDoublings bounds how much more evidence further alarms of a block take.
const mostDoublings = 4

// asked returns the log evidence at which the detector fires next. A bad day must not use the
// budget up many times: each further alarm in a block takes twice the evidence of the one before.
func (b *block) asked() float64 {
	return min(b.level*float64(int(1)<<b.alarms), models.MaxLogE)
}

// recentBlocks is how many blocks pass before the crest of one is learned. Of what doubles in a
// week the level sees half.
const recentBlocks = 7

const (
	// leastPast is from how many blocks on an entity's own past says how high evidence rises.
	leastPast = 7
	// leastPeerBlocks is from how many blocks on that of its peers does, until then.
	leastPeerBlocks = 100
	// mostLevel is how many times the level that the budget asks for an entity's past can make
	// of it. A feature that jumps about more than that says nothing about the entity, which
	// the detector then leaves to others.
	mostLevel = 20

	blockTime = int64(24 * time.Hour)
)

// ends reports whether the block ends before a call at t, the greatest time so far.
func (b *block) ends(r *rule, t int64) bool {
	switch {
	case !b.begun:
		return false
	case r.BlockCalls > 0:
		return b.at >= int64(r.BlockCalls)
	}
	return floorDiv(t, blockTime) > b.at
}

// begin begins a block with the call at t.
func (b *block) begin(r *rule, t int64) {
	b.begun, b.crest, b.at, b.alarms = true, 0, 0, 0
	if r.BlockCalls == 0 {
		b.at = floorDiv(t, blockTime)
	}
}

// turnBlock ends the block of a watch if the call under way begins another one: its crest is
// put among the recent ones, and the one that leaves these is learned, by the entity and by
// its peers, and the level set anew.
func (s *Shard) turnBlock(r *rule, e *entity, w *watch) {
	b := &w.block
	ended, asked := b.ends(r, w.latest), b.asked()
	if ended {
		s.allow(r, w)
	}
	if ended && w.settled {
		if crest, cut, learned := b.shift(b.crest); learned {
			s.learnCrest(r, e, w, crest, cut)
			w.setLevel(r)
		}
	}
	if ended || !b.begun {
		b.begin(r, w.latest)
	}
	if w.total < asked && w.total >= b.asked() {
		w.calm() // what closed slots gathered is no alarm because the level fell
	}
	if r.BlockCalls > 0 {
		b.at++
	}
}

// allow counts what the budget allows in a block or session that ended: it counts those of known entities alone.
func (s *Shard) allow(r *rule, w *watch) {
	if len(r.Evidence) > 0 && w.known(r) {
		s.Allowed[r.index] += 1 / r.Blocks
	}
}

// shift puts the crest of a block that ended among the recent ones, cut off at the level, and
// returns the oldest of them once there are enough. A past that is too short takes it in at once.
func (b *block) shift(crest float64) (oldest float64, cut, learned bool) {
	if crest >= b.level {
		crest = -b.level
	}
	if b.past.Blocks() < leastPast {
		return math.Abs(crest), crest < 0, true
	}
	if b.recents < recentBlocks {
		b.recent[b.recents] = float32(crest)
		b.recents++
		return 0, false, false
	}
	oldest = float64(b.recent[0])
	copy(b.recent[:], b.recent[1:])
	b.recent[recentBlocks-1] = float32(crest)
	return math.Abs(oldest), oldest < 0, true
}

// learnCrest learns the crest of a block, for the entity and for its peers. It is cut where it
// fired, which counts as if it had been just below the level.
func (s *Shard) learnCrest(r *rule, e *entity, w *watch, crest float64, cut bool) {
	b := &w.block
	if b.past.Blocks() >= leastPast {
		tail := byte(toldTail)
		if cut {
			tail = toldCutTail
		}
		s.tell(e, r, tail, 0, math.Float64bits(-b.past.LogTail(crest, w.peers.spread())))
		s.tell(e, r, toldDeviation, 0, math.Float64bits(b.past.Deviation(crest)))
	}
	b.past.Learn(crest)
	s.tell(e, r, toldCrest, 0, math.Float64bits(crest))
}

// setLevel sets the level anew by what the past and the peers are now.
func (w *watch) setLevel(r *rule) {
	b := &w.block
	if b.budget = r.Level; r.Within {
		b.level = w.sessions.level(r, w)
		return
	}
	b.level = r.level(&b.past, w.peers)
}

// level is the log evidence at which the rule fires on an entity with the given past and
// peers: what the budget asks of the baselines, and no less than what is not reached in more
// blocks of the entity's past than the budget allows. A past that is too short is that of its
// peers. So a false alarm takes two that are wrong: the baselines, and the past.
func (r *rule) level(past *models.Crest, peers *peerRule) float64 {
	own := r.Level
	switch {
	case past.Blocks() >= leastPast:
		own = past.Level(math.Exp(-peers.need(r.Blocks)), peers.spread())
	case peers.blocks().Slots() >= leastPeerBlocks:
		own = peers.blocks().Quantile(1-1/r.Blocks) - 1
	}
	if own > mostLevel*r.Level {
		return models.MaxLogE
	}
	return max(r.Level, own)
}

// tails are how rare the crests of an entity's blocks were by its own past, asked of all
// entities of a group or of a tenant: where it is right, -log p has an exponential law with mean 1. Real
// crests have heavier tails.
type tails struct{ n, over, whole, excess float64 }

// tailFrom is from where on the tail of -log p is looked at: one block in 20.
var tailFrom = math.Log(20)

// add takes in the -log p of a crest. Of one that is cut it would have been x or more.
func (t *tails) add(x float64, cut bool) {
	t.n++
	if x > tailFrom {
		t.over++
		t.whole += truth(!cut)
		t.excess += x - tailFrom
	}
}

// need returns the -log p that is exceeded in one of so many blocks: beyond tailFrom the law
// is taken for exponential with the share and the mean excess that were seen (peaks over a
// threshold; Pickands 1975, with shape 0).
func (p *peerRule) need(blocks float64) float64 {
	share, mean := p.tail()
	return max(math.Log(blocks), tailFrom+max(mean, 1)*math.Log(max(1, blocks*share)))
}

// tail returns the share of the blocks that lie beyond tailFrom and their mean excess. A group
// believes beforehand, for 40 blocks and 4 excesses, that they are as its tenant's, and a tenant
// that they are somewhat worse than they should be. The mean is that of excesses of which some are cut: their
// sum by the number of the whole ones (the greatest likelihood under censoring; Epstein and
// Sobel 1953). Were all taken for whole, the level would settle where up to e times as many
// blocks reach it as the budget allows.
func (p *peerRule) tail() (share, mean float64) {
	share, mean = 0.05, 1.5
	if p.wide != nil {
		share, mean = p.wide.tail()
	}
	t := &p.tails
	return (t.over + 40*share) / (t.n + 40), (t.excess + 4*mean) / (t.whole + 4)
}

func (b *block) appendState(to []byte) []byte {
	to = binary.AppendVarint(to, b.at)
	to = append(to, byte(truth(b.begun)), b.alarms)
	to = appendFloat(appendFloat(appendFloat(to, b.crest), b.level), b.budget)
	to = append(to, b.recents)
	for _, crest := range b.recent[:b.recents] {
		to = appendFloat(to, float64(crest))
	}
	to, _ = b.past.AppendBinary(to) // never refuses
	return to
}

func (b *block) load(r *reader) {
	b.at, b.begun, b.alarms = r.varint(), r.uvarint() == 1, uint8(min(r.uvarint(), mostDoublings))
	b.crest, b.level, b.budget = r.float(), r.float(), r.float()
	b.recents = uint8(min(r.uvarint(), recentBlocks))
	for i := range b.recent[:b.recents] {
		b.recent[i] = float32(r.float())
	}
	if r.err == nil {
		r.b, r.err = b.past.DecodeBinary(r.b)
	}
}
