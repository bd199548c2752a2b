package telemetry

import (
	"encoding/json"
	"math"
	"math/big"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestTimesAreReadAsTheTimePackageReadsThem(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := time.Unix(0, rapid.Int64Range(0, math.MaxInt64).Draw(t, "ns"))
		minutes := rapid.IntRange(-23*60-59, 23*60+59).Draw(t, "offset")
		text := want.In(time.FixedZone("", minutes*60)).Format(time.RFC3339Nano)
		got, reason := parseTime([]byte(text))
		if reason != "" || got != want.UnixNano() {
			t.Fatalf("%s: got %d %s, want %d", text, got, reason, want.UnixNano())
		}
	})
}

func TestTimesAtTheEdge(t *testing.T) {
	f := func(text string, wantNS int64, wantReason string) {
		t.Helper()
		ns, reason := parseTime([]byte(text))
		if ns != wantNS || reason != wantReason {
			t.Errorf("%q: got %d %q, want %d %q", text, ns, reason, wantNS, wantReason)
		}
	}
	f("1970-01-01T00:00:00Z", 0, "")
	f("1970-01-01t00:00:00.000000001z", 1, "")
	f("1970-01-01 00:00:00.1234567899Z", 123456789, "")
	f("1970-01-01T01:00:00+01:00", 0, "")
	f("1969-12-31T23:00:00-01:30", 1800e9, "")
	f("1970-01-01T00:00:00+00:01", 0, ReasonNegativeTime)
	f("2000-02-29T00:00:00Z", 951782400e9, "")
	f("2262-04-11T23:47:16.854775807Z", math.MaxInt64, "")
	f("2262-04-11T23:47:16.854775808Z", 0, ReasonBadTime)
	f("9999-12-31T23:59:59Z", 0, ReasonBadTime)
	f("2100-02-29T00:00:00Z", 0, ReasonBadTime)
	for _, text := range []string{"", "2026-11-20", "2026-11-20T08:00:00", "2026-13-20T08:00:00Z",
		"2026-11-20T24:00:00Z", "2026-11-20T08:00:60Z", "2026-11-20T08:00:00.Z", "2026-11-20T08:00:00+1:00",
		"2026-11-20T08:00:00+24:00", "2026-11-20T08:00:00ZZ", "2026-1a-20T08:00:00Z", "20261120T080000Z....."} {
		f(text, 0, ReasonBadTime)
	}
}

func TestNumbersAreReadExactlyOrNotAtAll(t *testing.T) {
	digits := rapid.StringMatching(`-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?`)
	rapid.Check(t, func(t *rapid.T) {
		text := digits.Draw(t, "number")
		s := scanner{b: []byte(text), limits: Limits{}.withDefaults()}
		got, ok := s.integer()
		want, _ := new(big.Rat).SetString(text)
		fits := want.IsInt() && want.Num().IsInt64() && want.Num().Int64() != math.MinInt64
		if ok != fits {
			t.Fatalf("%s: accepted %v, want %v", text, ok, fits)
		}
		if ok && got != want.Num().Int64() {
			t.Fatalf("%s: got %d", text, got)
		}
	})
}

func TestStringsAreReadAsEncodingJSONReadsThem(t *testing.T) {
	f := func(text string) {
		t.Helper()
		var want string
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			t.Fatal(err)
		}
		s := scanner{b: []byte(text), limits: Limits{}.withDefaults()}
		got, ok := s.str()
		if !ok || string(got) != want || s.i != len(text) {
			t.Errorf("%s: got %q %v, want %q", text, got, ok, want)
		}
		s.i = 0
		if !s.skipString() || s.i != len(text) {
			t.Errorf("%s: not skipped", text)
		}
	}
	f(`""`)
	f(`"\"\\\/\b\f\n\r\t"`)
	f(`"\u00e9\u20AC\uD834\uDD1E"`)
	f(`"a\ud834b"`)     // half of a pair
	f(`"\udd1e\ud834"`) // a pair the wrong way round
	f(`"\ud834\ud834\udd1e"`)
	f(`"\ud834\n"`)
	f("\"é\u2028𝄞\x7f\"")
	for n := range 20 { // the special byte at each place of a word
		pad := strings.Repeat("x", n)
		f(`"` + pad + `"`)
		f(`"` + pad + `\n` + pad + `"`)
		f(`"` + pad + `é` + pad + `"`)
	}
}

func TestNativeFieldsMeanWhatTheyMayBeWrittenAs(t *testing.T) {
	var d Decoder
	f := func(members string, want func(*Call) bool) {
		t.Helper()
		c := decodeOne(t, &d, JSON, call(members))
		if !want(c) {
			t.Errorf("%s: got %s", members, AppendJSON(nil, c))
		}
	}
	f(`,"latency":"1.5ms"`, func(c *Call) bool { return c.Latency == 1500*time.Microsecond })
	f(`,"latency":1500`, func(c *Call) bool { return c.Latency == 1500 })
	f(`,"latency_ns":1.5e3`, func(c *Call) bool { return c.Latency == 1500 })
	f(`,"bytes_in":2E2,"bytes_out":10.0`, func(c *Call) bool { return c.BytesIn == 200 && c.BytesOut == 10 })
	f(`,"context":{"n":1.50,"b":true,"o":{"x":[1, 2]},"z":null,"s":"\u0041"}`, func(c *Call) bool {
		n, _ := c.Value("n")
		b, _ := c.Value("b")
		o, _ := c.Value("o")
		s, _ := c.Value("s")
		_, z := c.Value("z")
		return string(n) == "1.50" && string(b) == "true" && string(o) == `{"x":[1, 2]}` && string(s) == "A" && !z
	})
	f(`,"session":null,"chain":null,"context":null,"latency":null,"bytes_in":null,"outcome":null,"sig":null`,
		func(c *Call) bool { return c.Unknown == 0 && len(c.Chain) == 0 && len(c.Context) == 0 })
	f(`,"new":{"deep":[{}]},"other":[[]],"\u0061ction":"do"`,
		func(c *Call) bool { return c.Unknown == 2 && string(c.Action) == "do" })
	f(``, func(c *Call) bool { return len(c.ID) == 32 && string(c.Root()) == "a" })
}

func TestAnIDIsDerivedFromTheBytesAlone(t *testing.T) {
	var d Decoder
	id := func(f Format, raw []byte) string { return string(decodeOne(t, &d, f, raw).ID) }
	raw := call("")
	if a, b := id(JSON, raw), id(Auto, append(gzipOf(t, raw), 0)[:len(gzipOf(t, raw))]); a != b {
		t.Errorf("gzip changes the id: %s and %s", a, b)
	}
	if a, b := id(JSON, raw), id(JSON, append([]byte(" "), append(raw, '\n')...)); a != b {
		t.Errorf("white space around a call changes its id: %s and %s", a, b)
	}
	if a, b := id(JSON, raw), id(JSON, call(`,"session":"s"`)); a == b {
		t.Error("different calls have the same id")
	}
	record := strings.Replace(trailRecord, `"eventID"`, `"noEventID"`, 1)
	if a, b := id(CloudTrail, []byte(record)), id(CloudTrail, []byte(`{"Records": [ `+record+` ]}`)); a != b {
		t.Errorf("a file around a record changes its id: %s and %s", a, b)
	}
}

func TestEveryByteIsFoundAtEveryPlaceOfAWord(t *testing.T) {
	for c := range 256 {
		for n := range 20 {
			b := []byte(strings.Repeat("x", 20))
			b[n] = byte(c)
			if got, want := plain(b), c > 0 && c < 128; got != want {
				t.Errorf("plain with %#x at %d: %v", c, n, got)
			}
			want := len(b)
			if c < ' ' || c == '"' || c == '\\' || c > 127 {
				want = n
			}
			if got := special(b, 0, ^uint64(0)); got != want {
				t.Errorf("special with %#x at %d: %d, want %d", c, n, got, want)
			}
		}
	}
}
