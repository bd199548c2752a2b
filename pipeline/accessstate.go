package pipeline

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/pipeline/graph"
	"github.com/estop-project/estop/pipeline/shard"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// The state of the access graph is written when a snapshot is computed, with the checkpoint that
// comes next: in chunks, and in three slots by turns, so that the two states before are whole while
// one is written. After a restart the last whole state below the marker is taken, with the
// one before it for the snapshot that is asked, and the calls from its place up to the marker
// are read again for the graph alone.
const (
	graphSlots   = 3
	graphPrefix  = "\xff" // of the keys; no entity's begins so
	graphVersion = 1
	maxChunk     = 500 << 10 // bytes
	maxAgain     = 1 << 18   // records that are read again, the last ones
	againWait    = 10 * time.Second
)

// graphState is a state of the access graph as it is saved.
type graphState struct {
	number uint64
	graph.State
}

// state returns the state that a checkpoint is to save, if there is a new one.
func (a *access) state() (s graphState, ok bool) {
	if a == nil {
		return s, false
	}
	if s.State, ok = a.recorder.State(); ok {
		a.number++
		s.number = a.number
	}
	return s, ok
}

// records are those of the state, and tombstones for the chunks of a longer one in its slot.
func (a *access) records(s graphState) (states []shard.EntityState) {
	slot := int(s.number % graphSlots)
	chunks := slices.Collect(slices.Chunk(s.Data, maxChunk))
	for i, chunk := range chunks {
		states = append(states, shard.EntityState{Key: graphKey(slot, i), Value: append(s.appendHead(nil, len(chunks)), chunk...)})
	}
	for i := len(chunks); i < a.chunks[slot]; i++ {
		states = append(states, shard.EntityState{Key: graphKey(slot, i)})
	}
	a.chunks[slot] = len(chunks)
	return states
}

func graphKey(slot, chunk int) string {
	return graphPrefix + string(binary.BigEndian.AppendUint32([]byte{byte(slot)}, uint32(chunk)))
}

// appendHead appends what every chunk begins with. The sum tells chunks of one state from those of
// another with the same number.
func (s graphState) appendHead(b []byte, chunks int) []byte {
	b = append(b, graphVersion)
	for _, v := range []uint64{s.number, uint64(s.From.Offset), uint64(s.From.Index), uint64(chunks), uint64(crc32.ChecksumIEEE(s.Data))} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	return b
}

const headSize = 1 + 5*8

// wholeState puts the chunks of a slot together; ok is false where they are not all of one state.
func wholeState(chunk func(i int) []byte) (s graphState, ok bool) {
	first := chunk(0)
	if len(first) < headSize || first[0] != graphVersion {
		return s, false
	}
	head := first[:headSize]
	field := func(i int) uint64 { return binary.BigEndian.Uint64(head[1+8*i:]) }
	s.number, s.From = field(0), graph.Position{Offset: int64(field(1)), Index: int(field(2))}
	for i := range field(3) {
		c := chunk(int(i))
		if len(c) < headSize || string(c[:headSize]) != string(head) {
			return s, false
		}
		s.Data = append(s.Data, c[headSize:]...)
	}
	return s, uint64(crc32.ChecksumIEEE(s.Data)) == field(4)
}

// keepGraph takes the records of the graph's states out of those that are restored.
func keepGraph(kept map[string][]byte, restore func(shard.EntityState) error) func(shard.EntityState) error {
	return func(st shard.EntityState) error {
		if !strings.HasPrefix(st.Key, graphPrefix) {
			return restore(st)
		}
		if len(st.Value) > 0 {
			kept[st.Key] = st.Value
		}
		return nil
	}
}

// restore goes on from the last state below next, and returns the place from which the calls are to
// be read again; ok is false where there is no such state.
func (a *access) restore(kept map[string][]byte, next int64) (from graph.Position, ok bool, err error) {
	var states []graphState
	for slot := range graphSlots {
		for a.chunks[slot] = 0; kept[graphKey(slot, a.chunks[slot])] != nil; a.chunks[slot]++ {
		}
		if s, ok := wholeState(func(i int) []byte { return kept[graphKey(slot, i)] }); ok && s.From.Offset < next {
			states = append(states, s)
		}
	}
	if len(states) == 0 {
		return from, false, nil
	}
	slices.SortFunc(states, func(x, y graphState) int { return cmp.Compare(y.number, x.number) })
	last, before := states[0], []byte(nil)
	if len(states) > 1 && states[1].number == last.number-1 {
		before = states[1].Data
	}
	a.number = last.number
	if err := a.recorder.Restore(last.Data, before); err != nil {
		return from, false, fmt.Errorf("cannot go on with the access graph: %w", err)
	}
	return last.From, true, nil
}

// restoreGraph takes the access graph up where it was. What cannot be had is left out with a
// warning: it is missing in explanations and nowhere else.
func (w *worker) restoreGraph(ctx context.Context, kept map[string][]byte, next int64) {
	from, ok, err := w.access.restore(kept, next)
	if err == nil && ok {
		if next-from.Offset > maxAgain {
			w.log.Warn("too many calls since the last state of the access graph; it lacks the first ones", "calls", next-from.Offset-maxAgain)
			from = graph.Position{Offset: next - maxAgain}
		}
		err = w.again(ctx, from, next)
	}
	if err != nil && ctx.Err() == nil {
		w.log.Warn("the access graph lacks calls from before", "err", err)
	}
}

// again gives the access graph the calls from a place on, up to the offset next.
func (w *worker) again(ctx context.Context, from graph.Position, next int64) error {
	ctx, cancel := context.WithTimeout(ctx, againWait)
	defer cancel()
	offsets := map[string]map[int32]kgo.Offset{w.topic: {w.partition: kgo.NewOffset().At(from.Offset)}}
	cl, err := kgo.NewClient(slices.Concat(w.detect.opt.Kafka, []kgo.Opt{kgo.ConsumePartitions(offsets), kgo.FetchIsolationLevel(kgo.ReadCommitted())})...)
	if err != nil {
		return fmt.Errorf("cannot read calls of %s/%d again: %w", w.topic, w.partition, err)
	}
	defer cl.Close()
	starts, err := kadm.NewClient(cl).ListStartOffsets(ctx, w.topic)
	if err != nil {
		return fmt.Errorf("cannot find the start of %s/%d: %w", w.topic, w.partition, err)
	}
	if start, ok := starts.Lookup(w.topic, w.partition); ok && start.Offset >= next {
		return fmt.Errorf("calls of %s/%d up to %d are gone", w.topic, w.partition, next)
	}
	for at := from.Offset; at < next; {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return fmt.Errorf("cannot read calls of %s/%d again: %w", w.topic, w.partition, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if at = r.Offset + 1; r.Offset < next {
				w.recall(r, from)
			}
		})
	}
	return nil
}

// recall gives the access graph the calls of a record that are not before from.
func (w *worker) recall(r *kgo.Record, from graph.Position) {
	src := SourceOf(r)
	w.decoder.Start(FormatOf(r), r.Value)
	for ; ; src.Index++ {
		err := w.decoder.Next(&w.call)
		if bad := (*telemetry.BadCall)(nil); errors.As(err, &bad) {
			continue
		}
		if err != nil {
			return // io.EOF
		}
		if before := r.Offset == from.Offset && src.Index < from.Index; !before && w.keyed(r) {
			w.access.call(&w.call, src)
		}
	}
}
