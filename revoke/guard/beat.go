package guard

import (
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/estop-project/estop/revoke"
)

// Beats says what a guard expects of heartbeats.
type Beats uint8

// What is expected.
const (
	// BeatsAuto lets heartbeats count from the first one that is heard. Until then, and for
	// ever where the publisher sends none, readings of the stream say how old the knowledge is.
	BeatsAuto Beats = iota
	// BeatsRequired expects them from the start.
	BeatsRequired
	// BeatsIgnored does not listen for them.
	BeatsIgnored
)

var (
	errReplayed = errors.New("heartbeat heard before, or older than one that was")
	errStarts   = errors.New("heartbeats of too many publishers")
)

const (
	maxStarts = 256
	// keepStart is how long a publisher that fell silent is remembered: longer than an old
	// heartbeat could pass for a new one.
	keepStart = 3 * revoke.MaxSkew
	// window is how long the quickest heartbeat stands for how far the clocks are apart.
	window = 30 * time.Second
	// patience is how many heartbeats in a row may be older than what the guard has read.
	patience = 3
)

// match is what a comparison with a heartbeat says.
type match uint8

const (
	same    match = iota // the guard has what the stream held
	differs              // it has not
	behind               // a reading must say: the heartbeat does not list all that is new here
	ahead                // the guard has read more than the heartbeat tells of
)

// pulse is what a guard knows of the state of the stream: what it should hold, by the
// heartbeats, and what it is known to hold.
type pulse struct {
	slack  time.Duration
	always bool                          // heartbeats count from the start
	mine   map[revoke.TenantKey]struct{} // tenants served; nil: all
	wake   chan struct{}                 // has one element where the follower should read
	// verified reports whether all that was read is in the ledger.
	verified func() bool

	mu      sync.Mutex
	ledger  *revoke.Ledger
	fresh   *revoke.Ledger // what is being read from the start; nil: nothing is
	located uint64         // greatest sequence number read
	reached uint64         // the same of the reading from the start

	starts   map[string]*start
	beat     *revoke.Beat // the latest one
	issued   time.Duration
	expected time.Duration // when the next one is missed
	missing  bool          // it has, or for another reason another one must come
	unlike   bool          // a heartbeat told of something else than there is here
	stream   time.Time
	covered  uint64        // up to this sequence number nothing is missing here
	upTo     time.Duration // so old is what is known
	aheads   int
	swept    int64

	beats, missed, mismatches, resyncs, diverged uint64
}

// start is one run of a publisher.
type start struct {
	number   uint64
	heard    time.Duration
	offset   time.Duration // least difference between arrival and issue, in this window
	previous time.Duration // in the one before
	since    time.Duration // begin of this window
}

func (p *pulse) init(o Options) {
	p.slack, p.always = o.Slack, o.Beats == BeatsRequired
	p.wake = make(chan struct{}, 1)
	p.ledger = revoke.NewLedger()
	p.starts = make(map[string]*start)
	if !o.All {
		p.mine = make(map[revoke.TenantKey]struct{}, len(o.Tenants)+1)
		p.mine[revoke.GlobalKey] = struct{}{}
		for _, t := range o.Tenants {
			p.mine[revoke.TenantKeyOf(t)] = struct{}{}
		}
	}
}

func (g *Guard) hearBeat(m *nats.Msg) {
	arrived := g.since()
	b, err := g.verifier.Load().VerifyBeat(m.Data, g.clock())
	if err == nil {
		err = g.pulse.hear(b, arrived)
	}
	if err != nil {
		g.refuse(m.Subject, err)
		return
	}
	g.checkStale()
}

// hear takes a genuine heartbeat: it compares, and asks for a reading where something is missing.
func (p *pulse) hear(b revoke.Beat, arrived time.Duration) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	issued, err := p.admit(b, arrived)
	if err != nil {
		return err
	}
	p.beats++
	p.missing = false
	p.expected = arrived + b.Interval + p.slackOf(b)
	if b.Stream.Before(p.stream) {
		return nil // of a publisher that has not noticed yet that there is another stream
	}
	anew := p.beat != nil && b.Stream.After(p.stream)
	p.beat, p.issued = &b, issued
	p.forget(b.AsOf())
	if anew {
		p.ask()
		return nil
	}
	p.stream = b.Stream
	if !p.verified() {
		p.ask() // the reading that follows compares
		return nil
	}
	switch p.compare(&b, false) {
	case same:
		p.unlike = false // what it lacked was on its way
		p.confirm(&b, issued)
	case differs:
		// It is one if a reading does not show that the guard only is ahead.
		p.unlike = true
		p.ask()
	case behind:
		p.ask()
	case ahead:
		if p.aheads++; p.aheads >= patience {
			p.ask()
		}
	}
	return nil
}

// admit refuses what was heard before. It returns when, by this guard's clock, b was issued.
func (p *pulse) admit(b revoke.Beat, arrived time.Duration) (time.Duration, error) {
	apart := arrived - time.Duration(b.IssuedAt.UnixNano())
	s := p.starts[b.Start]
	switch {
	case s == nil:
		for id, old := range p.starts {
			if arrived-old.heard > keepStart {
				delete(p.starts, id)
			}
		}
		if len(p.starts) >= maxStarts {
			return 0, errStarts
		}
		s = &start{offset: apart, previous: apart, since: arrived}
		p.starts[b.Start] = s
	case b.Number <= s.number:
		return 0, errReplayed
	}
	s.number, s.heard = b.Number, arrived
	if arrived-s.since > window {
		s.previous, s.offset, s.since = s.offset, apart, arrived
	}
	s.offset = min(s.offset, apart)
	// The quickest of the last heartbeats tells how far the clocks are apart. One that was held
	// up on its way is as old as the quickest one would be.
	return time.Duration(b.IssuedAt.UnixNano()) + min(s.offset, s.previous), nil
}

func (p *pulse) slackOf(b revoke.Beat) time.Duration {
	if p.slack > 0 {
		return p.slack
	}
	return b.Interval / 2
}

// forget lets fall out of the ledger what no heartbeat can ask about any more.
func (p *pulse) forget(asOf int64) {
	const keep = int64(2 * revoke.MaxSkew / time.Second)
	if asOf >= p.swept+keep/4 {
		p.ledger.Forget(asOf - keep)
		p.swept = asOf
	}
}

// compare says whether this guard has what the stream held when b was issued. read says that
// it has read the stream to its end since b came.
func (p *pulse) compare(b *revoke.Beat, read bool) match {
	if !b.Stream.Equal(p.stream) {
		return differs
	}
	v, ok := p.ledger.At(b.AsOf())
	if !ok {
		return ahead
	}
	if p.mine == nil {
		if all, _ := v.All(); all != b.All {
			return p.unequal(b)
		}
		return same
	}
	listed := 0
	for i, list := range [][]revoke.TenantDigest{b.Changed, b.Others} {
		for _, t := range list {
			if _, ok := p.mine[t.Tenant]; !ok {
				continue
			}
			if v.Tenant(t.Tenant) != t.Digest {
				return p.unequal(b)
			}
			if i == 0 {
				listed++
			}
		}
	}
	if !read && p.covered < b.Since && listed < len(p.mine) {
		return behind
	}
	return same
}

func (p *pulse) unequal(b *revoke.Beat) match {
	if p.located > b.Sequence {
		return ahead
	}
	return differs
}

// confirm notes that the guard has what b tells of.
func (p *pulse) confirm(b *revoke.Beat, issued time.Duration) {
	p.covered = max(p.covered, b.Sequence)
	p.upTo = max(p.upTo, issued)
	p.aheads = 0
}

// ask wakes the follower.
func (p *pulse) ask() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// note files a message as what its target has in the stream.
func (p *pulse) note(r revoke.Revocation, sequence uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ledger.Note(r, sequence)
	p.located = max(p.located, sequence)
	if p.fresh != nil {
		p.fresh.Note(r, sequence)
		p.reached = max(p.reached, sequence)
	}
}

// beating reports whether heartbeats count, and the interval of the latest.
func (p *pulse) beating() (time.Duration, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.beat == nil {
		return revoke.DefaultInterval, p.always
	}
	return p.beat.Interval, true
}

// calm reports whether heartbeats say that nothing is missing, so that there is nothing to read.
func (p *pulse) calm() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.beat != nil && !p.missing && p.upTo >= p.issued
}

// miss notes a heartbeat that did not come in time, once for each silence, and asks for a reading.
func (p *pulse) miss(now time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.beat == nil || p.missing || now <= p.expected {
		return
	}
	p.missing = true
	p.missed++
	p.ask()
}

// known notes a reading that began at a time. Where heartbeats count, it is they that say how
// old the knowledge is.
func (p *pulse) known(at time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.beat == nil && !p.always {
		p.upTo = max(p.upTo, at)
	}
}

// set says from when what is known is.
func (p *pulse) set(at time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.upTo = at
}

// age returns how old what is known is.
func (p *pulse) age(now time.Duration) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return now - p.upTo
}
