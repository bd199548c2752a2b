package backtest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
	"golang.org/x/sync/errgroup"

	"github.com/estop-project/estop/pipeline/shard"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// Scope says which part of a log is played and reported.
type Scope struct {
	// Since is from when on what is found is reported; what came before is learned from.
	Since time.Time
	// Until is up to when calls are played, by their own time; zero: to the end.
	Until  time.Time
	Tenant string // whose calls are played; empty: all
	Agent  string // whose detections are reported; the calls of the others are learned from
}

// played is what came of a history, lane by lane.
type played struct {
	calls, reported int64
	bad             map[string]int64 // by reason
	first, last     int64            // times of calls that were reported
	sides           []*side          // by version, all lanes together
	traffic         *traffic         // nil where nobody asked
}

// playing says what is kept of what comes of it.
type playing struct {
	features int  // how many detections of each detector keep theirs
	traffic  bool // calls are counted by their values
}

// play gives a log to some versions of detectors. Tenants know nothing of one another: each has a
// lane, and lanes run side by side. The result is the same for any number of processors.
func play(ctx context.Context, log Log, scope Scope, versions []version, opt playing) (*played, error) {
	processors := runtime.GOMAXPROCS(0)
	batches := batchesFor(processors)
	h := &history{
		scope: scope, opt: opt, lanes: make([]*lane, processors),
		free: make(chan *batch, batches), work: make(chan *batch, batches), order: make(chan *batch, batches),
		out: &played{bad: map[string]int64{}},
	}
	for i := range h.lanes {
		h.lanes[i] = newLane(versions, log.Partitions())
		if opt.traffic {
			h.lanes[i].traffic = newTraffic()
		}
	}
	for range batches {
		h.free <- &batch{lanes: len(h.lanes)}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return h.read(ctx, log) })
	for range processors {
		g.Go(func() error { h.decode(); return nil })
	}
	g.Go(func() error { h.deal(); return nil })
	for _, l := range h.lanes {
		g.Go(func() error { l.run(h); return nil })
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return h.result(versions), nil
}

// batchCalls is how many entries a batch has. Each of its calls lies in a decoder of its own: with few of
// them they are still in the processor's cache when their lane comes.
const batchCalls = 64

// batchesFor is how many batches are on their way with so many processors, so that none waits for another.
func batchesFor(processors int) int { return 2 + 4*processors }

// history is a log that is being played.
type history struct {
	scope    Scope
	opt      playing
	free     chan *batch // empty ones
	work     chan *batch // to be decoded
	order    chan *batch // in the order of the log, decoded or not
	lanes    []*lane
	out      *played
	numbered int64 // calls so far that the log did not number
}

// batch is a stretch of the log on its way: read, decoded side by side with others, dealt out in order.
type batch struct {
	entries []Entry
	bytes   []byte
	calls   []*item
	made    int // of calls
	decoded chan struct{}
	lanes   int
	left    sync.WaitGroup // lanes that still read it
}

// item is one call of a batch, with its own decoder, whose buffers it lies in.
type item struct {
	decoder  telemetry.Decoder
	own      telemetry.Call
	call     *telemetry.Call
	src      shard.Source
	numbered bool
	stray    bool
	bad      *telemetry.BadCall
	lane     int
	skip     bool
	number   int64
	report   bool
	key      []byte
}

// read fills batches.
func (h *history) read(ctx context.Context, log Log) error {
	defer close(h.work)
	defer close(h.order)
	b, err := h.take(ctx)
	if err != nil {
		return err
	}
	err = log.Read(ctx, func(e Entry) error {
		b.add(e)
		if len(b.entries) < batchCalls {
			return nil
		}
		h.send(b)
		b, err = h.take(ctx)
		return err
	})
	if err == nil {
		h.send(b)
	}
	return err
}

func (h *history) take(ctx context.Context) (*batch, error) {
	select {
	case b := <-h.free:
		b.entries, b.bytes, b.made, b.decoded = b.entries[:0], b.bytes[:0], 0, make(chan struct{})
		return b, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (h *history) send(b *batch) {
	h.work <- b
	h.order <- b
}

// add copies an entry.
func (b *batch) add(e Entry) {
	from := len(b.bytes)
	b.bytes = append(append(b.bytes, e.Raw...), e.Key...)
	e.Raw = b.bytes[from : from+len(e.Raw) : from+len(e.Raw)]
	if e.Key != nil {
		e.Key = b.bytes[from+len(e.Raw) : len(b.bytes) : len(b.bytes)]
	}
	b.entries = append(b.entries, e)
}

// decode makes calls of the entries of batches.
func (h *history) decode() {
	for b := range h.work {
		for i := range b.entries {
			b.decode(&b.entries[i])
		}
		for i := range b.calls[:b.made] {
			if c := b.calls[i].call; c != nil {
				b.calls[i].lane = int(xxhash.Sum64(c.Tenant) % uint64(len(h.lanes)))
			}
		}
		close(b.decoded)
	}
}

// next returns the item for a further call.
func (b *batch) next(e *Entry, index int) *item {
	if b.made == len(b.calls) {
		b.calls = append(b.calls, &item{})
	}
	it := b.calls[b.made]
	b.made++
	it.call, it.bad, it.stray, it.skip, it.src, it.numbered = nil, nil, false, false, e.Source, e.Numbered
	it.src.Index += index
	return it
}

func (b *batch) decode(e *Entry) {
	switch {
	case e.Bad != nil:
		b.next(e, 0).bad = e.Bad
		return
	case e.Call != nil:
		b.next(e, 0).call = e.Call
		return
	}
	// The decoder of the first call's item takes the whole message; calls that others follow are copied.
	first := b.next(e, 0)
	b.made--
	d, c := &first.decoder, &first.own
	d.Start(e.Format, e.Raw)
	for i := 0; i == 0 || d.More(); i++ {
		if i > 0 {
			c = new(telemetry.Call)
		}
		err := d.Next(c)
		if err != nil {
			bad := badCall(err)
			if bad == nil {
				return // io.EOF
			}
			b.next(e, i).bad = bad
			continue
		}
		if d.More() {
			c = c.Clone()
		}
		it := b.next(e, i)
		it.call = c
		if e.Key != nil {
			it.key = telemetry.AppendKey(it.key[:0], c)
			it.stray = !bytes.Equal(it.key, e.Key)
		}
	}
}

func badCall(err error) (bad *telemetry.BadCall) {
	errors.As(err, &bad)
	return bad
}

// deal gives the batches to all lanes in the order of the log, each of which takes its calls.
func (h *history) deal() {
	defer func() {
		for _, l := range h.lanes {
			close(l.in)
		}
	}()
	for b := range h.order {
		<-b.decoded
		for i := range b.calls[:b.made] {
			h.place(b.calls[i])
		}
		b.left.Add(b.lanes)
		for _, l := range h.lanes {
			l.in <- b
		}
		go func() {
			b.left.Wait()
			h.free <- b
		}()
	}
}

// place gives a call its number and says what is to be done with it.
func (h *history) place(it *item) {
	if it.bad != nil {
		h.out.bad[it.bad.Reason]++
		it.skip = true
		return
	}
	c := it.call
	if it.numbered {
		it.src.Offset, it.src.Appended = h.numbered, c.Time
		h.numbered++
	}
	if it.skip = !h.scope.plays(c); it.skip {
		return
	}
	it.number = h.out.calls
	h.out.calls++
	if it.report = h.scope.reports(c); it.report {
		if h.out.reported == 0 {
			h.out.first, h.out.last = c.Time, c.Time
		}
		h.out.reported++
		h.out.first, h.out.last = min(h.out.first, c.Time), max(h.out.last, c.Time)
	}
}

func (s Scope) plays(c *telemetry.Call) bool {
	return (s.Tenant == "" || s.Tenant == string(c.Tenant)) && (s.Until.IsZero() || c.Time < s.Until.UnixNano())
}

func (s Scope) reports(c *telemetry.Call) bool {
	return (s.Agent == "" || s.Agent == string(c.Agent)) && (s.Since.IsZero() || c.Time >= s.Since.UnixNano())
}

// lane plays the calls of some tenants.
type lane struct {
	in      chan *batch
	sides   []*side
	traffic *traffic
}

func newLane(versions []version, partitions int) *lane {
	l := &lane{in: make(chan *batch, 4)}
	for _, v := range versions {
		l.sides = append(l.sides, newSide(v, partitions))
	}
	return l
}

func (l *lane) run(h *history) {
	own := slices.Index(h.lanes, l)
	for b := range l.in {
		for i := range b.calls[:b.made] {
			it := b.calls[i]
			if it.skip || it.lane != own {
				continue
			}
			if l.traffic != nil && it.report {
				l.traffic.take(it.call)
			}
			for _, s := range l.sides {
				s.call(it.call, it.src, it.stray, it.number, it.report, h.opt.features)
			}
		}
		b.left.Done()
	}
}

// result brings the lanes together.
func (h *history) result(versions []version) *played {
	for i, v := range versions {
		all := &side{version: v}
		if v.counted {
			all.exposure = newExposure(len(v.set.Plan.Detectors))
		}
		for _, l := range h.lanes {
			all.hits = append(all.hits, l.sides[i].hits...)
			if v.counted {
				all.exposure.add(l.sides[i].exposure)
			}
		}
		slices.SortStableFunc(all.hits, func(a, b Hit) int { return cmp.Compare(a.call, b.call) })
		h.out.sides = append(h.out.sides, all)
	}
	if h.opt.traffic {
		h.out.traffic = newTraffic()
		for _, l := range h.lanes {
			h.out.traffic.merge(l.traffic)
		}
	}
	return h.out
}

// badReasons says what was no call, the most frequent reason first.
func (p *played) badReasons() []BadCalls {
	all := []BadCalls{}
	for reason, n := range p.bad {
		all = append(all, BadCalls{reason, n})
	}
	slices.SortFunc(all, func(a, b BadCalls) int {
		return cmp.Or(cmp.Compare(b.Calls, a.Calls), cmp.Compare(a.Reason, b.Reason))
	})
	return all
}

// BadCalls are those that could not be decoded for one reason.
type BadCalls struct {
	Reason string `json:"reason"`
	Calls  int64  `json:"calls"`
}
