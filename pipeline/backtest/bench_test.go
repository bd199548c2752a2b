//go:build unix

package backtest

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"io"
	"runtime"
	"slices"
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

// messages is a log that lies in memory, as records of Kafka do that were fetched. It may be played several
// times over, each time later.
type messages struct {
	format telemetry.Format
	lines  [][]byte // each with its end of line
	at     []int    // where in a line its time stands; nil: one turn
	times  []string // of all turns
}

func (m *messages) Partitions() int { return 1 }

func (m *messages) Read(_ context.Context, each func(Entry) error) error {
	for i := range m.len() {
		line := m.line(i)
		if err := each(Entry{Source: shard.Source{Topic: "estop.calls"}, Numbered: true, Format: m.format, Raw: line[:len(line)-1]}); err != nil {
			return err
		}
	}
	return nil
}

func (m *messages) len() int { return max(len(m.lines), len(m.times)) }

// line returns line i, which lasts until another turn.
func (m *messages) line(i int) []byte {
	nth := i % len(m.lines)
	if m.times != nil {
		copy(m.lines[nth][m.at[nth]:], m.times[i])
	}
	return m.lines[nth]
}

// file is the same log as a file, which is to be taken apart first.
type file struct{ *messages }

func (f file) Read(_ context.Context, each func(Entry) error) error {
	for raw, err := range telemetry.Split(&reader{messages: f.messages}, telemetry.Auto, telemetry.Limits{}) {
		if err != nil {
			return err
		}
		if err := each(Entry{Source: shard.Source{Topic: "estop.calls"}, Numbered: true, Format: raw.Format, Raw: raw.Bytes}); err != nil {
			return err
		}
	}
	return nil
}

// reader reads lines one behind the other.
type reader struct {
	*messages
	next int
	rest []byte
}

func (r *reader) Read(b []byte) (n int, err error) {
	for n < len(b) {
		if len(r.rest) == 0 {
			if r.next == r.len() {
				return n, io.EOF
			}
			r.rest = r.line(r.next)
			r.next++
		}
		read := copy(b[n:], r.rest)
		n, r.rest = n+read, r.rest[read:]
	}
	return n, nil
}

// june is the network of June 1998 as calls: an address is an agent, and what it connects to a resource.
func june(b *testing.B) *messages {
	b.Helper()
	minutes := map[string]time.Time{}
	records(b, "darpa/minutes.csv.gz", func(field []string) {
		if at, err := time.Parse("01/02/2006-15:04", field[1]); err == nil {
			minutes[field[0]] = at
		}
	})
	m := &messages{format: telemetry.JSON}
	var tick string
	nth := 0
	records(b, "darpa/edges.csv.gz", func(field []string) {
		if nth++; field[2] != tick {
			tick, nth = field[2], 0
		}
		agent := []byte("address-" + field[0])
		m.lines = append(m.lines, append(telemetry.AppendJSON(nil, &telemetry.Call{
			ID: strconv.AppendInt(nil, int64(len(m.lines)), 10), Time: minutes[tick].Add(time.Duration(nth) * time.Millisecond).UnixNano(), Tenant: []byte("darpa"),
			Agent: agent, Chain: [][]byte{agent}, Action: []byte("connect"), Resource: []byte("address-" + field[1]),
		}), '\n'))
	})
	return m
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

// enoughCalls is how many a measurement plays at least, so that its start does not weigh.
const enoughCalls = 300_000

// trails are the CloudTrail records, over and over: there are few. A pause of more than an hour is one of an
// hour, so that the turns follow one another as the days of an account do.
func trails(b *testing.B) *messages {
	b.Helper()
	type record struct {
		line []byte
		at   int
		time time.Time
	}
	var all []record
	for _, name := range []string{"cloudtrail/raw/invictus.cloudtrail.jsonl.gz", "cloudtrail/raw/stratus.cloudtrail.jsonl.gz"} {
		text, err := io.ReadAll(labelled.Open(b, name))
		if err != nil {
			b.Fatal(err)
		}
		for line := range bytes.Lines(text) {
			key := []byte(`"eventTime":"`)
			at := bytes.Index(line, key) + len(key)
			t, err := time.Parse(time.RFC3339, string(line[at:at+len("2006-01-02T15:04:05Z")]))
			if err != nil {
				b.Fatal(err)
			}
			all = append(all, record{append(bytes.TrimSpace(line), '\n'), at, t})
		}
	}
	slices.SortStableFunc(all, func(a, b record) int { return a.time.Compare(b.time) })
	m := &messages{format: telemetry.CloudTrail}
	now := all[0].time
	for len(m.times) < enoughCalls {
		last := all[0].time
		for _, r := range all {
			now = now.Add(min(r.time.Sub(last), time.Hour))
			last = r.time
			m.times = append(m.times, now.Format(time.RFC3339))
		}
		now = now.Add(time.Hour)
	}
	for _, r := range all {
		m.lines, m.at = append(m.lines, r.line), append(m.at, r.at)
	}
	return m
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
// decoded and given to the shards, and nothing is counted or kept. Both take the same messages from
// memory, as the live way has them when they were fetched; from a file they are to be told apart first. All is in processor time.
func BenchmarkBacktest(b *testing.B) {
	set, errs := detector.Load(catalog.FS)
	if err := errs.Err(); err != nil {
		b.Fatal(err)
	}
	for name, log := range map[string]func(*testing.B) *messages{"darpa": june, "cloudtrail": trails} {
		b.Run(name, func(b *testing.B) {
			m := log(b)
			var live, back, fromFile time.Duration
			var calls int64
			b.ResetTimer()
			for range b.N {
				took, n := liveWay(b, m, set)
				live, calls = live+took, calls+n
				back += backtested(b, m, set, n)
				fromFile += backtested(b, file{m}, set, n)
			}
			b.ReportMetric(float64(calls)/live.Seconds(), "live-calls/s")
			b.ReportMetric(float64(calls)/back.Seconds(), "calls/s")
			b.ReportMetric(float64(calls)/fromFile.Seconds(), "file-calls/s")
			b.ReportMetric(live.Seconds()/back.Seconds(), "x-live")
			b.ReportMetric(live.Seconds()/fromFile.Seconds(), "file-x-live")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// backtested runs a backtest of a log and returns how long it took.
func backtested(b *testing.B, log Log, set *detector.Set, want int64) time.Duration {
	b.Helper()
	runtime.GC() // nobody pays for what others left
	began := worked(b)
	r, err := Run(b.Context(), log, set, Options{})
	if err != nil {
		b.Fatal(err)
	}
	took := worked(b) - began
	if r.Calls != want {
		b.Fatalf("%d calls, live %d", r.Calls, want)
	}
	return took
}

// liveWay decodes and judges a log as the node does, and returns how long that took.
func liveWay(b *testing.B, log Log, set *detector.Set) (time.Duration, int64) {
	b.Helper()
	runtime.GC()
	p := newPlayer(set.Plan, shard.Options{}, 1)
	var decoder telemetry.Decoder
	var c telemetry.Call
	src := shard.Source{Topic: "estop.calls"}
	n := int64(0)
	began := worked(b)
	err := log.Read(b.Context(), func(e Entry) error {
		for decoder.Start(e.Format, e.Raw); ; {
			if err := decoder.Next(&c); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				continue
			}
			src.Offset, src.Appended = n, c.Time
			n++
			p.call(&c, src, false)
		}
	})
	if err != nil {
		b.Fatal(err)
	}
	return worked(b) - began, n
}
