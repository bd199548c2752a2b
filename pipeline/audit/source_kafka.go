package audit

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/pipeline"
)

// Kafka is what Kafka has of the audited topics.
type Kafka struct {
	opts     []kgo.Opt
	ids      map[[16]byte]string
	bounds   map[source][2]int64 // the first offset that is kept, and the one behind the last
	archived map[source]int64    // the offset that the archive goes on at
}

// OpenKafka asks where the topics begin and end, and how far the archive's group is.
func OpenKafka(ctx context.Context, opts []kgo.Opt, archiveGroup string) (*Kafka, error) {
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("cannot make a Kafka client: %w", err)
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	k := &Kafka{opts: opts, ids: map[[16]byte]string{}, bounds: map[source][2]int64{}, archived: map[source]int64{}}
	topics, err := admin.ListTopics(ctx, Topics()...)
	if err != nil {
		return nil, fmt.Errorf("cannot read the topics' ids: %w", err)
	}
	// The group first: what it stored is not beyond the ends that are asked for later.
	committed, err := admin.FetchOffsets(ctx, archiveGroup)
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return nil, fmt.Errorf("cannot read how far the archive is: %w", err)
	}
	for name, t := range topics {
		if t.Err != nil {
			continue
		}
		id := [16]byte(t.ID)
		k.ids[id] = name
		starts, ends, err := pipeline.Bounds(ctx, admin, name)
		if err != nil {
			return nil, err
		}
		starts.Each(func(o kadm.ListedOffset) {
			end, _ := ends.Lookup(o.Topic, o.Partition)
			k.bounds[source{id, o.Partition}] = [2]int64{o.Offset, end.Offset}
			if c, ok := committed.Lookup(o.Topic, o.Partition); ok {
				k.archived[source{id, o.Partition}] = c.At
			}
		})
	}
	return k, nil
}

// Name is kafka.
func (k *Kafka) Name() string { return "kafka" }

// Bounds are those of the partition.
func (k *Kafka) Bounds(_ context.Context, s Span) (first, end int64, ok bool, err error) {
	b, ok := k.bounds[source{s.TopicID, s.Partition}]
	return b[0], b[1], ok, nil
}

// Demands is false for topics that Kafka compacts.
func (k *Kafka) Demands(l *StoredLeaf) bool { return !compacted(l.Topic) }

// Beyond says how many records wait for the log.
func (k *Kafka) Beyond(_ context.Context, covered map[string]map[source]Span) (added []Finding, unproved int64, err error) {
	for at, b := range k.bounds {
		next := b[0]
		if span, ok := covered[k.ids[at.id]][at]; ok {
			next = span.Last + 1
			unproved += max(0, span.First-b[0])
		}
		unproved += max(0, b[1]-max(next, b[0]))
	}
	return nil, unproved, nil
}

// Rows takes the records apart as the writer did.
func (k *Kafka) Rows(ctx context.Context, s Span, each func(Row) error) error {
	var in intake
	return k.records(ctx, s, func(r *kgo.Record) error {
		var failed error
		in.each(r, func(p part) {
			if failed == nil {
				failed = each(Row{
					Offset: r.Offset, Part: p.no, Whole: true, Appended: appendedAt(r), Payload: p.payload,
					Subject: Subject{string(p.tenant), string(p.scope), string(p.name)},
				})
			}
		})
		return failed
	})
}

// records reads what Kafka still has of a span.
func (k *Kafka) records(ctx context.Context, s Span, each func(*kgo.Record) error) error {
	b, ok := k.bounds[source{s.TopicID, s.Partition}]
	from, to := max(s.First, b[0]), min(s.Last+1, b[1])
	if !ok || from >= to {
		return nil
	}
	cl, err := pipeline.PartitionReader(k.opts, s.Topic, s.Partition, from)
	if err != nil {
		return err
	}
	defer cl.Close()
	for {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("cannot read %s/%d: %w", s.Topic, s.Partition, err)
		}
		for _, r := range fetches.Records() {
			if r.Offset < to && !r.Attrs.IsControl() {
				if err := each(r); err != nil {
					return err
				}
			}
			if r.Offset >= to-1 {
				return nil
			}
		}
	}
}

// Payloads finds payloads by their places.
func (k *Kafka) Payloads(ctx context.Context, topic string, _ Subject, places []Place) (map[Place][]byte, error) {
	found := map[Place][]byte{}
	return found, spans(topic, places, func(s Span, wanted map[spot]bool) error {
		return k.Rows(ctx, s, func(r Row) error {
			if wanted[spot{r.Offset, r.Part}] {
				found[Place{s.TopicID, s.Partition, r.Offset, r.Part}] = append([]byte{}, r.Payload...)
			}
			return nil
		})
	})
}

// spans gives for each partition the stretch that holds the places.
func spans(topic string, places []Place, each func(Span, map[spot]bool) error) error {
	type stretch struct {
		Span
		wanted map[spot]bool
	}
	all := map[source]*stretch{}
	for _, p := range places {
		at := source{p.TopicID, p.Partition}
		s := all[at]
		if s == nil {
			s = &stretch{Span{topic, p.TopicID, p.Partition, p.Offset, p.Offset}, map[spot]bool{}}
			all[at] = s
		}
		s.First, s.Last = min(s.First, p.Offset), max(s.Last, p.Offset)
		s.wanted[spot{p.Offset, p.Part}] = true
	}
	for _, s := range all {
		if err := each(s.Span, s.wanted); err != nil {
			return err
		}
	}
	return nil
}
