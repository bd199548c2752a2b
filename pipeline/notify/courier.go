package notify

import (
	"context"
	"fmt"
	"hash/maphash"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/semaphore"

	"github.com/estop-project/estop/pipeline"
)

// The bounds of what one sink's courier keeps in memory, and its times.
const (
	maxWaiting = 16 << 20 // bytes of records that are on their way
	laneLength = 64       // events that wait in a lane
	grace      = 3 * time.Second
	saveWait   = 5 * time.Second
	firstPause = 100 * time.Millisecond
	mostPause  = 5 * time.Second
)

// Group is the consumer group of a sink.
func Group(sink string) string { return "estop-notify-" + sink }

// courier takes the events of Kafka to one sink. Each sink has one, with a consumer group of its own: the
// offsets of a sink that is away stand still, and Kafka keeps for it what it lacks; no other sink notices.
//
// The events of a tenant go through one lane, one after the other; lanes go side by side. An offset is
// committed once all before it were taken by the sink or are in the topic of dead letters.
type courier struct {
	sink    *Sink
	opt     *Options
	log     *slog.Logger
	metrics *metrics
	client  *kgo.Client
	seed    maphash.Seed
	lanes   []chan parcel
	room    *semaphore.Weighted
	moved   chan struct{} // a position may have moved
	sending context.Context

	mu     sync.Mutex
	tracks map[place]*track
}

// parcel is an event with its record.
type parcel struct {
	record *kgo.Record
	event  *Event
	wrong  error // why the record is no event
	track  *track
	entry  *entry
}

func newCourier(s *Sink, opt *Options, m *metrics) *courier {
	c := &courier{
		sink: s, opt: opt, log: opt.Log.With("sink", s.Name), metrics: m, seed: maphash.MakeSeed(),
		room: semaphore.NewWeighted(maxWaiting), moved: make(chan struct{}, 1), tracks: map[place]*track{},
	}
	for range s.Lanes {
		c.lanes = append(c.lanes, make(chan parcel, laneLength))
	}
	m.begin(s)
	return c
}

// run takes events to the sink until ctx ends.
func (c *courier) run(ctx context.Context) error {
	if err := c.beginAtNow(ctx); err != nil {
		return err
	}
	// What is being sent when ctx ends may come to its end: fewer events come twice.
	sending, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(grace, stop) })()
	c.sending = sending
	client, err := kgo.NewClient(append(c.options(), c.opt.Kafka...)...)
	if err != nil {
		return fmt.Errorf("cannot make a Kafka client for sink %q: %w", c.sink.Name, err)
	}
	defer client.CloseAllowingRebalance() // after the last commit
	c.client = client

	var lanes, saver sync.WaitGroup
	for _, lane := range c.lanes {
		lanes.Go(func() { c.walk(ctx, lane) })
	}
	saving, stopSaving := context.WithCancel(sending)
	defer stopSaving()
	saver.Go(func() { c.saveAll(saving) })
	c.poll(ctx)
	lanes.Wait()
	stopSaving()
	saver.Wait()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveWait)
	defer cancel()
	c.save(last)
	return nil
}

func (c *courier) options() []kgo.Opt {
	return []kgo.Opt{
		kgo.ConsumerGroup(Group(c.sink.Name)),
		kgo.ConsumeTopics(Topics()...),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), // partitions that came later; see beginAtNow
		kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(),
		kgo.FetchMinBytes(1),
		kgo.FetchMaxWait(500 * time.Millisecond),
		kgo.FetchMaxBytes(4 << 20),
		kgo.FetchMaxPartitionBytes(4 << 20),
		kgo.MaxConcurrentFetches(1),
		kgo.SessionTimeout(10 * time.Second),
		kgo.HeartbeatInterval(time.Second),
		kgo.MetadataMinAge(100 * time.Millisecond),
		kgo.AlwaysRetryEOF(),
		kgo.OnPartitionsAssigned(c.assigned),
		kgo.OnPartitionsRevoked(c.revoked),
		kgo.OnPartitionsLost(c.lost),
	}
}

// beginAtNow commits the ends of the topics where the sink has no offsets: a new sink gets what comes from
// now on, and not 30 days of the past.
func (c *courier) beginAtNow(ctx context.Context) error {
	pause := firstPause
	for {
		err := c.commitEnds(ctx)
		if err == nil || ctx.Err() != nil {
			return nil
		}
		c.log.Warn("cannot find out where the sink stands; trying again", "err", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
		pause = min(2*pause, mostPause)
	}
}

func (c *courier) commitEnds(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	admin := kadm.NewClient(c.opt.Producer)
	ends, err := admin.ListEndOffsets(ctx, Topics()...)
	if err != nil {
		return err
	}
	if err := ends.Error(); err != nil {
		return err
	}
	have, err := committed(ctx, admin, Group(c.sink.Name))
	if err != nil {
		return err
	}
	var missing kadm.Offsets
	ends.Each(func(o kadm.ListedOffset) {
		// A topic that is known to the group may have grown a partition; of that nothing may be missed.
		if len(have[o.Topic]) == 0 {
			missing.Add(kadm.Offset{Topic: o.Topic, Partition: o.Partition, At: o.Offset, LeaderEpoch: o.LeaderEpoch})
		}
	})
	if len(missing) == 0 {
		return nil
	}
	c.log.Info("a new sink begins with what comes from now on")
	return admin.CommitAllOffsets(ctx, Group(c.sink.Name), missing)
}

func (c *courier) assigned(_ context.Context, _ *kgo.Client, added map[string][]int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for topic, partitions := range added {
		for _, p := range partitions {
			c.tracks[place{topic, p}] = newTrack(c.sending)
		}
	}
}

// revoked commits what is done of partitions that go to another process. What is on its way is sent again by that one.
func (c *courier) revoked(ctx context.Context, client *kgo.Client, gone map[string][]int32) {
	c.commit(ctx, client, c.take(gone))
}

func (c *courier) lost(_ context.Context, _ *kgo.Client, gone map[string][]int32) { c.take(gone) }

func (c *courier) take(gone map[string][]int32) map[place]*track {
	taken := map[place]*track{}
	c.mu.Lock()
	defer c.mu.Unlock()
	for topic, partitions := range gone {
		for _, p := range partitions {
			at := place{topic, p}
			if t := c.tracks[at]; t != nil {
				t.stop()
				taken[at] = t
				delete(c.tracks, at)
			}
		}
	}
	return taken
}

// poll hands records to the lanes until ctx ends. It waits where a lane or the memory is full.
func (c *courier) poll(ctx context.Context) {
	for {
		fetches := c.client.PollRecords(ctx, laneLength)
		if ctx.Err() != nil {
			return
		}
		fetches.EachError(func(topic string, partition int32, err error) {
			c.log.Warn("cannot read events", "topic", topic, "partition", partition, "err", err)
		})
		var parcels []parcel
		for r := range fetches.RecordsAll() {
			parcels = c.begin(parcels, r)
		}
		// Until here no partition comes or goes: each record is on the track that it was read for.
		c.client.AllowRebalance()
		for _, p := range parcels {
			if !c.hand(ctx, p) {
				return
			}
		}
	}
}

func (c *courier) begin(to []parcel, r *kgo.Record) []parcel {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.tracks[placeOf(r)]
	if t == nil {
		return to
	}
	return append(to, parcel{record: r, track: t, entry: t.begin(r)})
}

// hand gives an event to its lane; it is false if ctx ended first.
func (c *courier) hand(ctx context.Context, p parcel) bool {
	p.event, p.wrong = readEvent(p.record.Topic, p.record.Value)
	if p.wrong == nil && !c.sink.wants(p.event) {
		c.finish(p)
		return true
	}
	size := min(int64(len(p.record.Value)), maxWaiting)
	if c.room.Acquire(ctx, size) != nil {
		return false
	}
	c.metrics.waiting.WithLabelValues(c.sink.Name).Inc()
	select {
	case c.lane(p) <- p:
		return true
	case <-ctx.Done():
		return false
	}
}

func (c *courier) lane(p parcel) chan<- parcel {
	tenant := ""
	if p.event != nil {
		tenant = p.event.Tenant
	}
	return c.lanes[maphash.String(c.seed, tenant)%uint64(len(c.lanes))]
}

// walk sends the events of a lane until ctx ends.
func (c *courier) walk(ctx context.Context, lane <-chan parcel) {
	for {
		select {
		case <-ctx.Done():
			return
		case p := <-lane:
			if ctx.Err() != nil {
				return
			}
			if p.track.ctx.Err() == nil && c.settle(ctx, p) {
				c.finish(p)
			}
			c.metrics.waiting.WithLabelValues(c.sink.Name).Dec()
			c.room.Release(min(int64(len(p.record.Value)), maxWaiting))
		}
	}
}

// settle sends an event or makes a dead letter of it. It is false if neither is certain.
func (c *courier) settle(ctx context.Context, p parcel) bool {
	if p.wrong != nil {
		return c.giveUp(ctx, p, attempts{err: p.wrong})
	}
	a, err := c.sink.deliver(p.track.ctx, ctx.Done(), p.event, c.opt.Clock, func(err error, again bool) {
		c.metrics.failed.WithLabelValues(c.sink.Name).Inc()
		if again {
			c.metrics.retries.WithLabelValues(c.sink.Name).Inc()
		}
		c.log.Warn("an event was not taken", "event", p.event.ID, "again", again, "err", err)
	})
	switch {
	case err != nil:
		return false
	case a.err != nil:
		return c.giveUp(ctx, p, a)
	}
	c.metrics.sent.WithLabelValues(c.sink.Name).Inc()
	c.metrics.seconds.WithLabelValues(c.sink.Name).Observe(c.opt.Clock().Sub(p.record.Timestamp).Seconds())
	return true
}

// giveUp writes a dead letter. It is false if that was not possible until ctx ended.
func (c *courier) giveUp(ctx context.Context, p parcel, a attempts) bool {
	id := "unread"
	if p.event != nil {
		id = p.event.ID
	}
	for pause := firstPause; ; pause = min(2*pause, mostPause) {
		err := c.opt.Producer.ProduceSync(p.track.ctx, deadLetter(c.sink, p.record, id, a, c.opt.Clock())).FirstErr()
		if err == nil {
			c.metrics.deadLetters.WithLabelValues(c.sink.Name).Inc()
			c.log.Error("an event is given up: it is in "+pipeline.TopicNotifyDLQ+", and 'estop notify replay' sends it again",
				"event", id, "attempts", a.n, "err", a.err)
			return true
		}
		c.log.Warn("cannot write a dead letter; trying again", "event", id, "err", err)
		select {
		case <-time.After(pause):
		case <-p.track.ctx.Done():
			return false
		case <-ctx.Done():
			return false
		}
	}
}

func (c *courier) finish(p parcel) {
	p.track.finish(p.entry)
	c.wake()
}

func (c *courier) wake() {
	select {
	case c.moved <- struct{}{}:
	default: // it is awake
	}
}

// saveAll commits as positions move, until ctx ends.
func (c *courier) saveAll(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.moved:
		}
		if c.save(ctx) {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
			c.wake()
		}
	}
}

// save commits the positions that moved.
func (c *courier) save(ctx context.Context) bool {
	c.mu.Lock()
	tracks := make(map[place]*track, len(c.tracks))
	for at, t := range c.tracks {
		tracks[at] = t
	}
	c.mu.Unlock()
	return c.commit(ctx, c.client, tracks)
}

func (c *courier) commit(ctx context.Context, client *kgo.Client, tracks map[place]*track) bool {
	offsets := map[string]map[int32]kgo.EpochOffset{}
	for at, t := range tracks {
		if to, ok := t.position(); ok {
			if offsets[at.topic] == nil {
				offsets[at.topic] = map[int32]kgo.EpochOffset{}
			}
			offsets[at.topic][at.partition] = to
		}
	}
	if len(offsets) == 0 {
		return true
	}
	var failed error
	client.CommitOffsetsSync(ctx, offsets, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
		failed = pipeline.CommitError(resp, err)
	})
	if failed != nil {
		if ctx.Err() == nil {
			c.log.Warn("cannot save how far the sink is; after a restart events come again, with the same ids", "err", failed)
		}
		return false
	}
	for at, t := range tracks {
		if to, ok := offsets[at.topic][at.partition]; ok {
			t.saved(to)
		}
	}
	return true
}
