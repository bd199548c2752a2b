package telemetry

import (
	"bytes"
	"io"
	"math"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// sameCall compares calls by what they say: no order in the context, and no difference
// between nothing and empty.
var sameCall = cmp.Options{
	cmpopts.EquateEmpty(),
	cmpopts.SortSlices(func(a, b Pair) bool { return bytes.Compare(a.Key, b.Key) < 0 }),
}

// anyText draws text that a call can hold: UTF-8 without U+0000.
func anyText(minLen int) *rapid.Generator[[]byte] {
	r := rapid.OneOf(rapid.Rune(), rapid.RuneFrom([]rune("\"\\\n\t\x01\x1f\x7f/<&\u2028\ufffd𝄞é")))
	return rapid.Custom(func(t *rapid.T) []byte {
		runes := rapid.SliceOfN(r.Filter(func(r rune) bool { return r != 0 && utf8.ValidRune(r) }), minLen, 40).Draw(t, "text")
		return []byte(string(runes))
	})
}

// anyCall draws a call that a decoder would accept.
func anyCall(t *rapid.T) *Call {
	text := func(name string, minLen int) []byte { return anyText(minLen).Draw(t, name) }
	number := rapid.Int64Range(0, math.MaxInt64)
	c := &Call{
		ID:          text("id", 1),
		Time:        number.Draw(t, "time"),
		Tenant:      text("tenant", 1),
		Agent:       text("agent", 1),
		Identity:    text("identity", 0),
		Session:     text("session", 0),
		Chain:       rapid.SliceOfN(anyText(1), 0, 6).Draw(t, "chain"),
		Action:      text("action", 0),
		Resource:    text("resource", 0),
		Outcome:     Outcome(rapid.IntRange(0, int(OutcomeError)).Draw(t, "outcome")),
		Latency:     time.Duration(number.Draw(t, "latency")),
		BytesIn:     number.Draw(t, "in"),
		BytesOut:    number.Draw(t, "out"),
		Traceparent: text("traceparent", 0),
		Sig:         text("sig", 0),
	}
	keys := rapid.SliceOfNDistinct(anyText(0), 0, 6, func(b []byte) string { return string(b) }).Draw(t, "keys")
	for _, k := range keys {
		c.Context = append(c.Context, Pair{k, text("value", 0)})
	}
	return c
}

type fataler interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
}

// decodeOne decodes a message of exactly one call.
func decodeOne(t fataler, d *Decoder, f Format, raw []byte) *Call {
	t.Helper()
	var c, rest Call
	d.Start(f, raw)
	if err := d.Next(&c); err != nil {
		t.Fatalf("%v in %q", err, raw)
	}
	got := c.Clone()
	if err := d.Next(&rest); err != io.EOF {
		t.Fatalf("after the call: %v, want io.EOF", err)
	}
	return got
}

func TestWhatWasWrittenDecodesToTheSameCall(t *testing.T) {
	for _, f := range []struct {
		format Format
		append func([]byte, *Call) []byte
	}{{JSON, AppendJSON}, {Protobuf, AppendProto}} {
		t.Run(f.format.String(), rapid.MakeCheck(func(t *rapid.T) {
			var d Decoder // with each call: one that fails must not depend on the last
			want := anyCall(t)
			raw := f.append(nil, want)
			if diff := cmp.Diff(want, decodeOne(t, &d, f.format, raw), sameCall); diff != "" {
				t.Fatalf("(-want +got):\n%s\n%q", diff, raw)
			}
		}))
	}
}

func TestAWarmDecoderAllocatesNothing(t *testing.T) {
	call := benchCall(t)
	escaped := bytes.ReplaceAll([]byte(benchJSON), []byte("acme"), []byte(`\u0061cm\u00e9`))
	noID := bytes.Replace([]byte(benchJSON), []byte(`"id":"01JD3Z8Q6N7W2V5X9Y0ABCDEFG",`), nil, 1)
	duration := bytes.Replace([]byte(benchJSON), []byte(`"latency_ns":12345678`), []byte(`"latency":"12.5ms"`), 1)
	for name, in := range map[string]struct {
		format Format
		raw    []byte
	}{
		"json":         {JSON, []byte(benchJSON)},
		"escapes":      {JSON, escaped},
		"derived id":   {JSON, noID},
		"duration":     {JSON, duration},
		"sniffed":      {Auto, []byte(benchJSON)},
		"protobuf":     {Protobuf, AppendProto(nil, call)},
		"gzip":         {JSON, gzipOf(t, []byte(benchJSON))},
		"cloudtrail":   {CloudTrail, []byte(trailRecord)},
		"records file": {Auto, []byte(`{"Records":[` + trailRecord + `,` + trailRecord + `]}`)},
	} {
		t.Run(name, func(t *testing.T) {
			var d Decoder
			var c Call
			n := testing.AllocsPerRun(100, func() {
				d.Start(in.format, in.raw)
				err := d.Next(&c)
				for ; err == nil; err = d.Next(&c) {
				}
				if err != io.EOF {
					t.Fatal(err)
				}
			})
			if n != 0 {
				t.Errorf("%v allocations a message, want 0", n)
			}
		})
	}
}
