//go:build unix

package backtest

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"io"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/estop-project/estop/bench/labelled"
	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/detector/catalog"
	"github.com/estop-project/estop/pipeline/shard"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// lines is a log that lies in memory.
type lines []byte

func (l lines) Partitions() int { return 1 }

func (l lines) Read(_ context.Context, each func(Entry) error) error {
	for raw, err := range telemetry.Split(bytes.NewReader(l), telemetry.Auto, telemetry.Limits{}) {
		e := Entry{Source: shard.Source{Topic: "estop.calls"}, Numbered: true, Format: raw.Format, Raw: raw.Bytes}
		if bad := (*telemetry.BadCall)(nil); errors.As(err, &bad) {
			e = Entry{Bad: bad}
		} else if err != nil {
			return err
		}
		if err := each(e); err != nil {
			return err
		}
	}
	return nil
}

// june is the network of June 1998 as calls: an address is an agent, and what it connects to a resource.
func june(b *testing.B) lines {
	b.Helper()
	minutes := map[string]time.Time{}
	records(b, "darpa/minutes.csv.gz", func(field []string) {
		if at, err := time.Parse("01/02/2006-15:04", field[1]); err == nil {
			minutes[field[0]] = at
		}
	})
	var l lines
	var tick string
	nth := 0
	records(b, "darpa/edges.csv.gz", func(field []string) {
		if nth++; field[2] != tick {
			tick, nth = field[2], 0
		}
		agent := []byte("address-" + field[0])
		l = append(telemetry.AppendJSON(l, &telemetry.Call{
			ID: strconv.AppendInt(nil, int64(len(l)), 10), Time: minutes[tick].Add(time.Duration(nth) * time.Millisecond).UnixNano(), Tenant: []byte("darpa"),
			Agent: agent, Chain: [][]byte{agent}, Action: []byte("connect"), Resource: []byte("address-" + field[1]),
		}), '\n')
	})
	return l
}

func records(b *testing.B, name string, each func([]string)) {
	b.Helper()
	r := csv.NewReader(labelled.Open(b, name))
	for {
		field, err := r.Read()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			b.Fatal(err)
		}
		each(field)
	}
}

// trails are the CloudTrail records, twenty times over: there are few.
func trails(b *testing.B) lines {
	b.Helper()
	var once lines
	for _, name := range []string{"cloudtrail/raw/invictus.cloudtrail.jsonl.gz", "cloudtrail/raw/stratus.cloudtrail.jsonl.gz"} {
		text, err := io.ReadAll(labelled.Open(b, name))
		if err != nil {
			b.Fatal(err)
		}
		once = append(append(once, text...), '\n')
	}
	return bytes.Repeat(once, 20)
}

// worked is the processor time of the process so far, which does not run while others have the core.
func worked(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkBacktest plays labelled data to the whole catalogue, beside the live way in the same run: each message is
// decoded and given to the shards, and nothing is counted or kept. Both are in processor time.
func BenchmarkBacktest(b *testing.B) {
	set, errs := detector.Load(catalog.FS)
	if err := errs.Err(); err != nil {
		b.Fatal(err)
	}
	for name, log := range map[string]func(*testing.B) lines{"darpa": june, "cloudtrail": trails} {
		b.Run(name, func(b *testing.B) {
			l := log(b)
			var live, back time.Duration
			var calls int64
			b.ResetTimer()
			for range b.N {
				took, n := liveWay(b, l, set)
				live, calls = live+took, calls+n
				began := worked(b)
				r, err := Run(b.Context(), l, set, Options{})
				if err != nil {
					b.Fatal(err)
				}
				back += worked(b) - began
				if r.Calls != n {
					b.Fatalf("%d calls, live %d", r.Calls, n)
				}
			}
			b.ReportMetric(float64(calls)/live.Seconds(), "live-calls/s")
			b.ReportMetric(float64(calls)/back.Seconds(), "calls/s")
			b.ReportMetric(live.Seconds()/back.Seconds(), "x-live")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// liveWay decodes and judges a log as the node does, and returns how long that took.
func liveWay(b *testing.B, l lines, set *detector.Set) (time.Duration, int64) {
	b.Helper()
	var messages [][]byte
	var formats []telemetry.Format
	if err := l.Read(b.Context(), func(e Entry) error {
		if e.Bad == nil {
			messages, formats = append(messages, bytes.Clone(e.Raw)), append(formats, e.Format)
		}
		return nil
	}); err != nil {
		b.Fatal(err)
	}
	p := newPlayer(set.Plan, shard.Options{}, 1)
	var decoder telemetry.Decoder
	var c telemetry.Call
	src := shard.Source{Topic: "estop.calls"}
	n := int64(0)
	began := worked(b)
	for i, m := range messages {
		for decoder.Start(formats[i], m); ; {
			if err := decoder.Next(&c); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				continue
			}
			src.Offset, src.Appended = n, c.Time
			n++
			p.call(&c, src, false)
		}
	}
	return worked(b) - began, n
}
