package pipeline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/pipeline/shard"
	"github.com/estop-project/estop/pipeline/statefile"
)

// restoring is a shard that is given its saved state, record by record as they were written: first those of the local
// file, then those that the topic has beyond it. Of each key the last one counts.
type restoring struct {
	shard  *shard.Shard
	local  *local // nil: there is none, and all entities are kept in memory
	last   map[string][]byte
	mark   mark // of the local file; its offset is -1 where it has none
	marker checkpoint
	kept   int // records that the local file had
	beyond int // records that only the topic had
}

func newRestoring(s *shard.Shard) *restoring {
	return &restoring{shard: s, last: map[string][]byte{}, mark: mark{offset: -1}, marker: checkpoint{origins: watermarks{}}}
}

// restoreState restores the worker's shard and returns the checkpoint's marker, or a zero one where there is none, and
// the records of the access graph's states.
func (w *worker) restoreState(ctx context.Context) (checkpoint, map[string][]byte, error) {
	begin := time.Now()
	r := newRestoring(w.shard)
	l, err := w.openLocal(ctx, r)
	if err == nil {
		if r.local = l; l != nil {
			w.local = l
		}
		err = w.restore(ctx, w.detect.opt.Kafka, r)
	}
	if errors.Is(err, errLocal) {
		w.log.Warn("the state is read from Kafka", "why", err)
		w.dropLocal(ctx, l)
		r = newRestoring(w.shard)
		r.local = w.local
		err = w.restore(ctx, w.detect.opt.Kafka, r)
	}
	if err != nil {
		return r.marker, nil, err
	}
	graphs := map[string][]byte{}
	take := keepGraph(graphs, w.shard.Restore)
	for key, value := range r.last {
		if err := take(shard.EntityState{Key: key, Value: value}); err != nil {
			return r.marker, nil, fmt.Errorf("state of %s/%d: %w", w.topic, w.partition, err)
		}
	}
	w.log.Info("the state is restored", "kept", r.kept, "beyond", r.beyond, "next", r.marker.next, "took", time.Since(begin))
	return r.marker, graphs, nil
}

// dropLocal begins with a new shard, and with an empty file unless that cannot be had.
func (w *worker) dropLocal(ctx context.Context, old *local) {
	w.local = nil
	if old != nil {
		if !old.broken && old.file.Reset() == nil {
			w.local = &local{file: old.file, others: map[string]int64{}}
		} else {
			old.file.Close()
		}
	}
	w.shard = w.newShard()
}

// restore reads what the state topic has beyond the local file, or all of it.
func (s source) restore(ctx context.Context, seeds []kgo.Opt, r *restoring) error {
	admin, err := kgo.NewClient(seeds...)
	if err != nil {
		return fmt.Errorf("cannot read the state of %s/%d: %w", s.topic, s.partition, err)
	}
	defer admin.Close()
	starts, ends, err := Bounds(ctx, kadm.NewClient(admin), TopicState)
	if err != nil {
		return fmt.Errorf("cannot read the state of %s/%d: %w", s.topic, s.partition, err)
	}
	end, ok := ends.Lookup(TopicState, s.partition)
	if !ok {
		return fmt.Errorf("cannot read the state of %s/%d: the topic %q has no partition for it", s.topic, s.partition, TopicState)
	}
	start, _ := starts.Lookup(TopicState, s.partition)
	from := start.Offset
	if at := r.mark.offset; at >= 0 {
		if at < start.Offset || at >= end.Offset {
			return fmt.Errorf("%w: it goes up to offset %d, and the topic has those from %d to %d", errLocal, at, start.Offset, end.Offset)
		}
		from = at
	}
	offsets := map[string]map[int32]kgo.Offset{TopicState: {s.partition: kgo.NewOffset().At(from)}}
	cl, err := kgo.NewClient(slices.Concat(seeds, []kgo.Opt{kgo.ConsumePartitions(offsets)})...) // seeds are shared
	if err != nil {
		return fmt.Errorf("cannot read the state of %s/%d: %w", s.topic, s.partition, err)
	}
	defer cl.Close()
	for next := from; next < end.Offset; {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return fmt.Errorf("cannot read the state of %s/%d: %w", s.topic, s.partition, err)
		}
		records := fetches.Records()
		if len(records) == 0 {
			continue
		}
		next = records[len(records)-1].Offset + 1
		if err := s.takeAll(r, records); err != nil {
			return fmt.Errorf("state of %s/%d: %w", s.topic, s.partition, err)
		}
	}
	return nil
}

// takeAll takes in records of the state topic, and writes them to the local file if there is one.
func (s source) takeAll(r *restoring, records []*kgo.Record) error {
	prefix := s.stateKey("")
	var states []shard.EntityState
	for _, rec := range records {
		ours := bytes.HasPrefix(rec.Key, prefix)
		if m := r.mark; rec.Offset == m.offset && !(len(rec.Key) == len(prefix) && ours && bytes.Equal(rec.Value, m.marker)) {
			return fmt.Errorf("%w: at offset %d the topic has another record", errLocal, m.offset)
		}
		if !ours {
			continue
		}
		if rec.Offset != r.mark.offset {
			r.beyond++
		}
		if len(rec.Key) > len(prefix) {
			states = append(states, shard.EntityState{Key: string(rec.Key[len(prefix):]), Value: rec.Value})
			continue
		}
		m := mark{rec.Offset, rec.Value}
		if err := r.takeStates(states, &m); err != nil {
			return err
		}
		states = states[:0]
	}
	return r.takeStates(states, nil)
}

// takeStates takes in states, and then the marker that follows them, if there is one.
func (r *restoring) takeStates(states []shard.EntityState, m *mark) error {
	if r.local == nil {
		for _, st := range states {
			r.last[st.Key] = st.Value
		}
	} else {
		places, err := r.local.write(states, m)
		if err != nil {
			r.local.broken = true
			return fmt.Errorf("%w: %w", errLocal, err)
		}
		for i, st := range states {
			if err := r.away(r.local, []byte(st.Key), st.Value, places[i]); err != nil {
				return err
			}
		}
	}
	if m == nil {
		return nil
	}
	return r.marked(*m)
}

// away takes in a record that lies at a place of the local file.
func (r *restoring) away(l *local, key, value []byte, place int64) error {
	ok, err := r.shard.RestoreAway(key, value, place)
	if err != nil {
		return err
	}
	if ok {
		delete(r.last, string(key))
		return nil
	}
	l.note(string(key), place)
	r.last[string(key)] = bytes.Clone(value)
	return nil
}

// keep takes in a record that the local file has at a place.
func (r *restoring) keep(l *local, rec statefile.Record, place int64) error {
	r.kept++
	if len(rec.Key) > 0 {
		return r.away(l, rec.Key, rec.Value, place)
	}
	m, err := parseMark(rec.Value)
	if err != nil {
		return err
	}
	l.note("", place)
	r.mark = mark{m.offset, bytes.Clone(m.marker)}
	return r.marked(m)
}

// marked takes in a marker.
func (r *restoring) marked(m mark) (err error) {
	if r.marker, err = parseMarker(m.marker); err != nil {
		return err
	}
	r.shard.RestoredBelow(r.marker.next)
	return nil
}
