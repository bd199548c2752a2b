package pipeline

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/shard"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// headerSigns marks a call in the exchange that is not to be judged there: it led to detections
// elsewhere, which are signs for the correlations of one of its entities. The header holds them,
// where the call came from, and where it was judged.
const headerSigns = "signs"

// sent is where the call of signs comes from, and their place in their stream.
type sent struct {
	origin
	from stream
	at   reached
}

const sentSize = originSize + 1 + 4 + 8 + 4 + 4

// signsPerRecord bounds a record: with the longest ids of calls that many signs are 150 KiB.
const signsPerRecord = 32

var errSigns = errors.New("exchange record with a garbled header of signs")

func (s sent) append(b []byte) []byte {
	b = append(s.origin.append(b), byte(s.from.what))
	b = binary.BigEndian.AppendUint32(b, uint32(s.from.partition))
	b = binary.BigEndian.AppendUint64(b, uint64(s.at.offset))
	b = binary.BigEndian.AppendUint32(b, uint32(s.at.index))
	return binary.BigEndian.AppendUint32(b, uint32(s.at.part))
}

// parseSigns reads the header of signs; ok is false where there is none.
func parseSigns(r *kgo.Record) (from sent, signs []shard.Sign, ok bool, err error) {
	i := slices.IndexFunc(r.Headers, func(h kgo.RecordHeader) bool { return h.Key == headerSigns })
	if i < 0 {
		return from, nil, false, nil
	}
	b := r.Headers[i].Value
	garbled := fmt.Errorf("%s/%d@%d: %w", r.Topic, r.Partition, r.Offset, errSigns)
	if len(b) < sentSize || int(b[0]) >= detector.Entities {
		return from, nil, true, garbled
	}
	from.origin = readOrigin(b)
	rest := b[originSize:]
	from.from = stream{traffic(rest[0]), from.by, int32(binary.BigEndian.Uint32(rest[1:]))}
	from.at = reached{int64(binary.BigEndian.Uint64(rest[5:])), int32(binary.BigEndian.Uint32(rest[13:])), int32(binary.BigEndian.Uint32(rest[17:]))}
	if from.from.what != signsOfCalls && from.from.what != signsOfGroups {
		return from, nil, true, garbled
	}
	if signs, err = shard.ParseSigns(b[sentSize:]); err != nil {
		return from, nil, true, errors.Join(garbled, err)
	}
	return from, signs, true, nil
}

// signs returns detections that the call c led to on their way to the shard of the entity whose
// correlations they are signs for.
func (p *packer) signs(c *telemetry.Call, from sent, signs []shard.Sign) *kgo.Record {
	p.room()
	begin := p.call(from.by, c)
	header := len(p.bytes)
	p.bytes = shard.AppendSigns(from.append(p.bytes), signs)
	return p.pack(begin, headerSigns, header)
}

// judged is where in its own partition the worker judged the call under way.
type judged struct {
	what traffic
	reached
}

// sendSigns sends the signs that the call under way led to, in the order of the places where it
// was judged.
func (w *worker) sendSigns(ctx context.Context, src shard.Source, at judged) {
	w.packer.place = nil
	if w.placed {
		w.packer.place = &w.place
	}
	for _, out := range w.shard.Signs {
		s := sent{originOf(out.By, src), stream{at.what, out.By, w.partition}, at.reached}
		for some := range slices.Chunk(out.Signs, signsPerRecord) {
			w.send(ctx, w.packer.signs(&w.call, s, some))
			s.at.part++
		}
	}
	w.shard.Signs = w.shard.Signs[:0]
}

// correlate gives the signs of a record of the exchange to their correlations, unless it is a
// repetition.
func (w *worker) correlate(ctx context.Context, r *kgo.Record, from sent, signs []shard.Sign) {
	if w.origins.passed(from.from, from.at) {
		return
	}
	w.decoder.Start(FormatOf(r), r.Value)
	if w.decode(ctx, r) && !w.bad {
		w.place, w.placed = placed(r)
		w.shard.Correlate(from.by, &w.call, signs, from.source(), r.Offset)
		w.publish(ctx, from.source(), judged{signsOfGroups, reached{offset: r.Offset}})
	}
}
