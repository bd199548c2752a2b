package kafka

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
)

// Retention bounds what each partition keeps. A topic's own retention.ms and retention.bytes, set when it is created,
// hold where they are stricter. Topics with cleanup.policy=compact are compacted instead.
type Retention struct {
	// Bytes that a partition keeps at most, once its readers have read the rest. Default: 64 MiB.
	Bytes int64
	// Age after which a record is deleted. 0 keeps by size alone.
	Age time.Duration
	// HardBytes that a partition never exceeds, even when a reader has not read what is deleted; that is logged
	// and counted. Default: 4 times Bytes.
	HardBytes int64
	// Every is how often the log is looked at. Default: 2 s.
	Every time.Duration
}

// Defaults of Retention.
const (
	DefaultBytes = 64 << 20
	DefaultEvery = 2 * time.Second
)

func (r Retention) withDefaults() Retention {
	if r.Bytes <= 0 {
		r.Bytes = DefaultBytes
	}
	if r.HardBytes <= 0 {
		r.HardBytes = 4 * r.Bytes
	}
	r.HardBytes = max(r.HardBytes, r.Bytes)
	if r.Every <= 0 {
		r.Every = DefaultEvery
	}
	return r
}

// segmentBytes is the size at which a segment file is closed. Disk space is freed by whole segments, so a
// partition takes up to one segment more than it keeps.
func (r Retention) segmentBytes() int64 {
	return min(max(r.Bytes/8, 64<<10), 16<<20)
}

// forTopic returns the retention of a topic with these configs.
func (r Retention) forTopic(configs map[string]*string) Retention {
	setting := func(name string) (int64, bool) {
		v := configs[renamed+name]
		if v == nil {
			return 0, false
		}
		n, err := strconv.ParseInt(*v, 10, 64)
		return n, err == nil && n > 0 // -1 is "no limit" to Kafka, and the broker's own limit holds
	}
	if n, ok := setting(retentionBytes); ok {
		r.Bytes = min(r.Bytes, n)
	}
	if n, ok := setting(retentionMs); ok {
		age := time.Duration(min(n, int64(100*365*24*time.Hour/time.Millisecond))) * time.Millisecond
		if r.Age == 0 || age < r.Age {
			r.Age = age
		}
	}
	return r
}

// keepBounded deletes and compacts until ctx ends.
func (b *Broker) keepBounded(ctx context.Context) {
	tick := time.NewTicker(b.opts.Retention.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := b.applyRetention(ctx); err != nil && ctx.Err() == nil {
			b.log.Error("cannot bound the log", "err", err)
		}
		if err := b.compactIfDue(ctx); err != nil && ctx.Err() == nil {
			b.log.Error("cannot compact", "err", err)
		}
	}
}

// applyRetention is one pass over all topics.
func (b *Broker) applyRetention(ctx context.Context) error {
	topics, err := b.admin.ListTopics(ctx)
	if err != nil {
		return fmt.Errorf("cannot list topics: %w", err)
	}
	var starts []logStart
	var failed error
	for _, topic := range topics.Sorted() {
		info := b.cluster.TopicInfo(topic.Topic)
		if info == nil {
			continue // deleted meanwhile
		}
		if !compacted(info) {
			if err := b.deleteExpired(ctx, info, b.opts.Retention.forTopic(info.Configs)); err != nil {
				failed = errors.Join(failed, fmt.Errorf("cannot delete from %q: %w", topic.Topic, err))
			}
		}
		for _, p := range b.cluster.PartitionInfos(topic.Topic) {
			if p.LogStartOffset > 0 {
				starts = append(starts, logStart{hex.EncodeToString(info.TopicID[:]), topic.Topic, p.Partition, p.LogStartOffset})
			}
		}
	}
	return errors.Join(failed, b.checkpointLogStarts(starts))
}

func (b *Broker) deleteExpired(ctx context.Context, topic *kfake.TopicInfo, r Retention) error {
	young, err := b.firstYoung(ctx, topic.Topic, r.Age)
	if err != nil {
		return err
	}
	committed := b.committed(topic.Topic)
	var to kadm.Offsets
	for _, p := range b.cluster.PartitionInfos(topic.Topic) {
		segs, err := segments(partitionDir(b.opts.Dir, topic.Topic, p.Partition))
		if err != nil {
			return err
		}
		want := max(firstWithin(segs, r.Bytes), young[p.Partition])
		start := b.newStart(p, topic.Topic, want, firstWithin(segs, r.HardBytes), committed)
		if start > p.LogStartOffset {
			to.AddOffset(topic.Topic, p.Partition, start, -1)
		}
	}
	if len(to) == 0 {
		return nil
	}
	deleted, err := b.admin.DeleteRecords(ctx, to)
	if err != nil {
		return err
	}
	return deleted.Error()
}

// newStart decides where a partition shall begin: at want, but not past what every reader has committed, unless
// the hard bound asks for it.
func (b *Broker) newStart(p *kfake.PartitionInfo, topic string, want, hard int64, committed func(int32) int64) int64 {
	last := p.HighWatermark - 1 // kept: see keepLastRecord
	want, hard = min(want, last), min(hard, last)
	read := committed(p.Partition)
	if lost := hard - max(read, p.LogStartOffset); lost > 0 {
		b.deletedUnread.Add(lost)
		b.log.Error("records deleted that a reader has not read: the partition is at its hard bound",
			"topic", topic, "partition", p.Partition, "records", lost)
	}
	return max(min(want, read), hard)
}

// firstWithin returns the first offset of the newest segments that together hold at most limit bytes.
func firstWithin(segs []segment, limit int64) int64 {
	var sum int64
	for i := len(segs) - 1; i >= 0; i-- {
		sum += segs[i].size
		if sum > limit && i < len(segs)-1 {
			return segs[i+1].base
		}
	}
	return 0
}

// firstYoung returns for each partition the first offset that is not older than age; nil without an age.
func (b *Broker) firstYoung(ctx context.Context, topic string, age time.Duration) (map[int32]int64, error) {
	if age <= 0 {
		return nil, nil
	}
	listed, err := b.admin.ListOffsetsAfterMilli(ctx, b.opts.Clock().Add(-age).UnixMilli(), topic)
	if err != nil {
		return nil, fmt.Errorf("cannot find the age of records: %w", err)
	}
	if err := listed.Error(); err != nil {
		return nil, fmt.Errorf("cannot find the age of records: %w", err)
	}
	young := make(map[int32]int64)
	listed.Each(func(o kadm.ListedOffset) { young[o.Partition] = o.Offset })
	return young, nil
}

// committed returns a function that gives, for a partition, the offset before which every reader of the topic has
// committed.
func (b *Broker) committed(topic string) func(partition int32) int64 {
	const all = int64(1<<63 - 1)
	var groups []map[int32]kfake.GroupCommit
	for _, name := range b.opts.Readers[topic] {
		var commits map[int32]kfake.GroupCommit
		if g := b.cluster.GroupInfo(name); g != nil {
			commits = g.Commits[topic]
		}
		groups = append(groups, commits)
	}
	return func(partition int32) int64 {
		lowest := all
		for _, commits := range groups {
			lowest = min(lowest, commits[partition].Offset) // no commit: offset 0, everything is unread
		}
		return lowest
	}
}
