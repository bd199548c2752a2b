package telemetry

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// drain decodes a message to its end and holds every call and every answer to what Next
// promises.
func drain(t *testing.T, d *Decoder, f Format, raw []byte) (calls []*Call) {
	t.Helper()
	before := bytes.Clone(raw)
	d.Start(f, raw)
	var c Call
	for turn := 0; ; turn++ {
		err := d.Next(&c)
		if err == io.EOF {
			break
		}
		if turn > len(raw)+1 {
			t.Fatal("more calls than bytes")
		}
		if err != nil {
			if bad := (*BadCall)(nil); !errors.As(err, &bad) || bad.Reason == "" || bad.Index != turn {
				t.Fatalf("turn %d: not a bad call of that index: %#v", turn, err)
			}
			continue
		}
		checkCall(t, &c)
		calls = append(calls, c.Clone())
	}
	if err := d.Next(&c); err != io.EOF {
		t.Fatalf("after the end: %v", err)
	}
	if !bytes.Equal(raw, before) {
		t.Fatal("the decoder wrote into the message")
	}
	return calls
}

// checkCall holds a call to what every decoder promises.
func checkCall(t *testing.T, c *Call) {
	t.Helper()
	if len(c.ID) == 0 || len(c.Tenant) == 0 || len(c.Agent) == 0 || c.Time < 0 ||
		c.Latency < 0 || c.BytesIn < 0 || c.BytesOut < 0 || c.Outcome > OutcomeError {
		t.Fatalf("not a call: %+v", c)
	}
	if len(c.Chain) > DefaultMaxChain || len(c.Context) > DefaultMaxContext {
		t.Fatalf("chain of %d, context of %d", len(c.Chain), len(c.Context))
	}
	texts := append([][]byte{c.ID, c.Tenant, c.Agent, c.Identity, c.Session, c.Action, c.Resource}, c.Chain...)
	for _, p := range c.Context {
		texts = append(texts, p.Key, p.Value)
	}
	for _, b := range texts {
		if len(b) > DefaultMaxField || !utf8.Valid(b) || bytes.IndexByte(b, 0) >= 0 {
			t.Fatalf("not a text: %q", b)
		}
	}
}

// fuzzDecoder fuzzes one format. A decoder that has seen the message before, and others,
// must answer as a new one does: it retains nothing.
func fuzzDecoder(f *testing.F, format Format, seeds ...[]byte) {
	for _, seed := range seeds {
		f.Add(seed)
		f.Add(gzipOf(f, seed))
		f.Add(seed[:len(seed)/2])
	}
	used := new(Decoder)
	f.Fuzz(func(t *testing.T, raw []byte) {
		first := drain(t, new(Decoder), format, raw)
		drain(t, used, JSON, []byte(benchJSON))
		second := drain(t, used, format, raw)
		if len(first) != len(second) {
			t.Fatalf("%d calls, then %d", len(first), len(second))
		}
		for i := range first {
			a, b := AppendJSON(nil, first[i]), AppendJSON(nil, second[i])
			if !bytes.Equal(a, b) {
				t.Fatalf("first  %s\nsecond %s", a, b)
			}
		}
	})
}

func FuzzDecodeJSON(f *testing.F) {
	fuzzDecoder(f, JSON, []byte(benchJSON), []byte(lineA), []byte(lineB),
		call(`,"latency":"1h2m","bytes_in":1.5e3,"context":{"a":true,"b":{"c":[null]}},"x":"\ud834\udd1e\u0000"`))
}

func FuzzDecodeProto(f *testing.F) {
	fuzzDecoder(f, Protobuf, AppendProto(nil, benchCall(f)), protoCall(protoText(99, "x")...),
		protoCall(0x9b, 0x06, 0x08, 0x01, 0x9c, 0x06)) // a group
}

func FuzzDecodeCloudTrail(f *testing.F) {
	fuzzDecoder(f, CloudTrail, []byte(trailRecord), []byte(`{"Records":[`+trailRecord+`,{},7]}`),
		[]byte(`{"eventTime":"2026-11-20T08:00:00Z","userIdentity":{"type":"AWSService","invokedBy":"ec2.amazonaws.com"},"eventSource":"ec2.amazonaws.com","eventName":"RunInstances","recipientAccountId":"1","requestParameters":{"instancesSet":{"items":[{"imageId":"ami-1"}]}},"resources":[{"ARNPrefix":"x"},{"ARN":"arn:aws:x"}],"additionalEventData":{"bytesTransferredIn":1.5,"MFAUsed":"No"},"responseElements":{"credentials":{"accessKeyId":"K"},"ConsoleLogin":"Failure"}}`))
}

func FuzzDecodeAuto(f *testing.F) {
	fuzzDecoder(f, Auto, []byte(benchJSON), []byte(trailRecord), []byte("\x1f\x8b\x08\x00"))
}

// FuzzNativeAgainstEncodingJSON holds the scanner to the standard library: what we accept
// is JSON and means the same there, and what we refuse is not JSON or breaks a rule of
// ours, which the reason names.
func FuzzNativeAgainstEncodingJSON(f *testing.F) {
	for _, seed := range [][]byte{[]byte(benchJSON), []byte(lineA), call(`,"context":{"n":1.50,"\u0062":true,"o":{"x":[1]}}`),
		call(`,"session":"\ud834\udd1e\ud834x","x":-0.0e+5`), call(`,"bytes_in":12E2`), []byte(`{"ts":1}`)} {
		f.Add(seed)
	}
	syntax := map[string]bool{ReasonTruncatedJSON: true, ReasonBadJSON: true, ReasonTrailingData: true}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !utf8.Valid(raw) || gzipped(raw) {
			t.Skip("encoding/json replaces what is not UTF-8; we refuse it")
		}
		var d Decoder
		var c Call
		d.Start(JSON, raw)
		err := d.Next(&c)
		var bad *BadCall
		if errors.As(err, &bad) {
			if syntax[bad.Reason] && json.Valid(raw) {
				t.Fatalf("%s, but encoding/json takes it: %q", bad.Reason, raw)
			}
			return
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal(raw, &members); err != nil {
			t.Fatalf("we take what encoding/json refuses (%v): %q", err, raw)
		}
		compareMembers(t, &c, members)
	})
}

func compareMembers(t *testing.T, c *Call, members map[string]json.RawMessage) {
	t.Helper()
	for name, got := range map[string][]byte{"tenant": c.Tenant, "agent": c.Agent, "identity": c.Identity,
		"session": c.Session, "action": c.Action, "resource": c.Resource, "traceparent": c.Traceparent, "sig": c.Sig} {
		if want := unmarshal[string](t, members[name]); string(got) != want {
			t.Fatalf("%s: got %q, want %q", name, got, want)
		}
	}
	chain := unmarshal[[]string](t, members["chain"])
	if len(chain) != len(c.Chain) {
		t.Fatalf("chain: got %q, want %q", c.Chain, chain)
	}
	for i, want := range chain {
		if string(c.Chain[i]) != want {
			t.Fatalf("chain: got %q, want %q", c.Chain, chain)
		}
	}
	for name, got := range map[string]int64{"bytes_in": c.BytesIn, "bytes_out": c.BytesOut} {
		// encoding/json reads no exponent into an integer, and a float64 is exact to 2^53.
		if want := unmarshal[float64](t, members[name]); got < 1<<53 && float64(got) != want {
			t.Fatalf("%s: got %d, want %v", name, got, want)
		}
	}
	if ts := members["ts"]; ts[0] == '"' && !strings.ContainsAny(unmarshal[string](t, ts), "tz ,") {
		want, err := time.Parse(time.RFC3339, unmarshal[string](t, ts))
		if err != nil || want.UnixNano() != c.Time {
			t.Fatalf("ts %s: got %d, want %v %v", ts, c.Time, want, err)
		}
	}
	context := unmarshal[map[string]json.RawMessage](t, members["context"])
	for key, want := range context {
		got, ok := c.Value(key)
		switch {
		case string(want) == "null":
			ok = !ok
		case want[0] == '"':
			ok = ok && string(got) == unmarshal[string](t, want)
		default:
			ok = ok && string(got) == string(want)
		}
		if !ok {
			t.Fatalf("context %q: got %q, want %s", key, got, want)
		}
	}
}

func unmarshal[T any](t *testing.T, raw json.RawMessage) (v T) {
	t.Helper()
	if len(raw) == 0 {
		return v
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatalf("%v in %s", err, raw)
	}
	return v
}

// FuzzSplit holds Split to its promises: it ends, keeps to its bounds, gives its lines in
// order, and neither the reader's pace nor what follows changes what it finds.
func FuzzSplit(f *testing.F) {
	for _, seed := range []string{lineA + "\n" + lineB, `{"Records":[` + trailRecord + "]}", "[" + lineA + "]", "x\n" + lineA,
		`{"a":[` + "\n{", "{\"a\":\"\n{\"b\":1}\n", "{\"a\":1,\n{}\n{}", `{"a":"` + strings.Repeat("x", 70)} {
		f.Add([]byte(seed))
		f.Add(gzipOf(f, []byte(seed)))
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		limits := Limits{MaxBytes: 64}
		last, calls := 1, 0
		for raw, err := range Split(bytes.NewReader(stream), Auto, limits) {
			if calls++; !gzipped(stream) && calls > len(stream)+2 {
				t.Fatal("more calls than bytes")
			}
			if raw.Line < last {
				t.Fatalf("line %d after line %d", raw.Line, last)
			}
			last = raw.Line
			if err == nil && (len(raw.Bytes) > limits.MaxBytes || raw.Bytes[0] != '{') || len(raw.Bytes) > headBytes {
				t.Fatalf("not a call: %q", raw.Bytes)
			}
		}
		whole := splitAll(t, bytes.NewReader(stream), limits)
		slow := splitAll(t, &pieces{stream}, limits)
		if strings.Join(whole, "\n") != strings.Join(slow, "\n") {
			t.Fatalf("read at once %q\nread in pieces %q", whole, slow)
		}
	})
}

// pieces gives seven bytes at a time.
type pieces struct{ rest []byte }

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(7, len(b))], p.rest)
	p.rest = p.rest[n:]
	return n, nil
}

// TestDecodersAllocateWithinABound feeds each decoder messages that ask for much and
// measures what it takes.
func TestDecodersAllocateWithinABound(t *testing.T) {
	bomb := gzipOf(t, bytes.Repeat([]byte(" "), 200<<20))
	for name, in := range map[string]struct {
		format Format
		raw    []byte
		most   uint64
	}{
		"gzip bomb":       {JSON, bomb, 4 << 20},
		"gzip file bomb":  {Auto, bomb, 3 * DefaultMaxFile}, // a buffer that doubles, all added up
		"escapes":         {JSON, call(`,"x":"` + strings.Repeat(`\u0041`, 100_000) + `"`), 2 << 20},
		"escaped keys":    {JSON, call(strings.Repeat(`,"\u0041":1`, 80_000)), 8 << 20},
		"nested":          {JSON, call(`,"x":` + strings.Repeat(`{"a":`, 100_000)), 1 << 20},
		"protobuf groups": {Protobuf, protoCall(bytes.Repeat([]byte{0x9b, 0x06}, 400_000)...), 1 << 20},
		"protobuf length": {Protobuf, protoCall(0x0a, 0xff, 0xff, 0xff, 0xff, 0x07), 1 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			var d Decoder
			var c Call
			d.Start(in.format, in.raw)
			for d.Next(&c) != io.EOF {
			}
			runtime.ReadMemStats(&after)
			if got := after.TotalAlloc - before.TotalAlloc; got > in.most {
				t.Errorf("%d bytes for a message of %d, want at most %d", got, len(in.raw), in.most)
			}
		})
	}
}
