package telemetry

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
)

const (
	lineA = `{"id":"a","ts":1,"tenant":"t","agent":"x","context":{"k":"}{\"["}}`
	lineB = `{"id":"b","ts":2,"tenant":"t","agent":"x","chain":["r","x"]}`
)

// splitAll returns what Split makes of a stream, a line for each call: where it begins,
// its format, and its bytes or what is wrong.
func splitAll(t testing.TB, r io.Reader, l Limits) (got []string) {
	t.Helper()
	for raw, err := range Split(r, Auto, l) {
		var bad *BadCall
		switch {
		case errors.As(err, &bad):
			got = append(got, fmt.Sprintf("%d %s", raw.Line, bad.Reason))
		case err != nil:
			got = append(got, "error")
		default:
			got = append(got, fmt.Sprintf("%d %s %s", raw.Line, raw.Format, raw.Bytes))
		}
	}
	return got
}

func TestSplitFindsEveryCallAndNamesItsLine(t *testing.T) {
	trail := `{"eventTime":"x","userIdentity":{}}`
	for name, in := range map[string]struct {
		stream string
		want   []string
	}{
		"nothing":      {"", nil},
		"empty lines":  {"\n\n \n", nil},
		"json lines":   {lineA + "\n" + lineB + "\n", []string{"1 json " + lineA, "2 json " + lineB}},
		"no last line": {"\n" + lineA + "\r\n" + lineB, []string{"2 json " + lineA, "3 json " + lineB}},
		"concatenated": {lineA + lineB + " " + lineA, []string{"1 json " + lineA, "1 json " + lineB, "1 json " + lineA}},
		"byte order":   {"\ufeff" + lineA, []string{"1 json " + lineA}},
		"rfc 7464":     {"\x1e" + lineA + "\n\x1e" + lineB + "\n", []string{"1 json " + lineA, "2 json " + lineB}},
		"pretty": {"{\n  \"ts\": 1,\n  \"context\": {\n  }\n}\n" + lineB,
			[]string{"1 json {\n  \"ts\": 1,\n  \"context\": {\n  }\n}", "6 json " + lineB}},
		"array":        {"[" + lineA + ",\n" + lineB + "]\n" + lineA, []string{"1 json " + lineA, "2 json " + lineB, "3 json " + lineA}},
		"mixed":        {lineA + "\n" + trail + "\n", []string{"1 json " + lineA, "2 cloudtrail " + trail}},
		"file":         {`{ "Records" : [` + trail + "," + trail + `]}`, []string{"1 cloudtrail " + trail, "1 cloudtrail " + trail}},
		"file by line": {"{\"Records\":[\n" + trail + ",\n" + trail + "\n]}\n", []string{"2 cloudtrail " + trail, "3 cloudtrail " + trail}},
		"two files": {`{"Records":[` + trail + `],"x":{"y":[1]}}` + "\n" + `{"Records":[]}` + lineB,
			[]string{"1 cloudtrail " + trail, "2 json " + lineB}},
		"garbage":          {lineA + "\nhello\n" + lineB, []string{"1 json " + lineA, "2 bad_json", "3 json " + lineB}},
		"cut in string":    {`{"id":"a` + "\n" + lineB, []string{"1 truncated_json", "2 json " + lineB}},
		"cut after number": {`{"a":{"b":1` + "\n" + lineB + "\n" + lineA, []string{"1 truncated_json", "2 json " + lineB, "3 json " + lineA}},
		"cut after comma":  {`{"a":1,` + "\n" + lineB + "\n" + lineA, []string{"1 truncated_json", "2 json " + lineB, "3 json " + lineA}},
		"cut at the end":   {lineA + "\n" + `{"a":`, []string{"1 json " + lineA, "2 truncated_json"}},
		"braces in column 1, allowed": {"{\"a\":[\n{\"b\":1},\n{\"b\":2}]}\n" + lineB,
			[]string{"1 json {\"a\":[\n{\"b\":1},\n{\"b\":2}]}", "4 json " + lineB}},
		"array without end": {"[" + lineA + ",", []string{"1 json " + lineA, "1 truncated_json"}},
		"file without end":  {`{"Records":[` + trail + "]", []string{"1 cloudtrail " + trail, "1 truncated_json"}},
	} {
		t.Run(name, func(t *testing.T) {
			readers := map[string]io.Reader{
				"whole":         strings.NewReader(in.stream),
				"byte for byte": iotest.OneByteReader(strings.NewReader(in.stream)),
				"data with EOF": iotest.DataErrReader(strings.NewReader(in.stream)),
			}
			if len(in.stream) > 0 {
				readers["gzip"] = bytes.NewReader(gzipOf(t, []byte(in.stream)))
			}
			for how, r := range readers {
				if diff := cmp.Diff(in.want, splitAll(t, r, Limits{})); diff != "" {
					t.Errorf("%s (-want +got):\n%s", how, diff)
				}
			}
		})
	}
}

// endless gives size bytes of the same letter and keeps none of them.
func endless(size int64) io.Reader { return io.LimitReader(letters{}, size) }

type letters struct{}

func (letters) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'x'
	}
	return len(b), nil
}

func TestALineOf50MBIsNamedAndTheRestGoesOn(t *testing.T) {
	const size = 50 << 20
	for name, open := range map[string]string{"a string": `{"id":"`, "garbage": "", "numbers": `{"a":[1`} {
		t.Run(name, func(t *testing.T) {
			tail := "\"}\n"
			if name != "a string" {
				tail = "\n"
			}
			stream := io.MultiReader(strings.NewReader(lineA+"\n"+open), endless(size), strings.NewReader(tail+lineB+"\n"))
			var got []string
			most := 0
			for raw, err := range Split(stream, Auto, Limits{}) {
				most = max(most, cap(raw.Bytes))
				var bad *BadCall
				if errors.As(err, &bad) {
					got = append(got, bad.Reason)
					if want := "line 2:"; !strings.HasPrefix(bad.Detail, want) || raw.Line != 2 {
						t.Errorf("detail %q, line %d: want line 2", bad.Detail, raw.Line)
					}
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, string(raw.Bytes))
			}
			reason := ReasonTooLarge
			if name == "garbage" {
				reason = ReasonBadJSON
			}
			if diff := cmp.Diff([]string{lineA, reason, lineB}, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if most > headBytes+DefaultMaxBytes {
				t.Errorf("kept %d bytes", most)
			}
		})
	}
}

func TestSplitTakesACallOfExactlyMaxBytes(t *testing.T) {
	stream := lineB + "\n" + lineB
	want := []string{"1 json " + lineB, "2 json " + lineB}
	if diff := cmp.Diff(want, splitAll(t, strings.NewReader(stream), Limits{MaxBytes: len(lineB)})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	want = []string{"1 too_large", "2 too_large"}
	if diff := cmp.Diff(want, splitAll(t, strings.NewReader(stream), Limits{MaxBytes: len(lineB) - 1})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestABrokenStreamEndsWithItsError(t *testing.T) {
	zipped := gzipOf(t, bytes.Repeat([]byte(lineA+"\n"), 1000))
	got := splitAll(t, bytes.NewReader(zipped[:len(zipped)-20]), Limits{})
	if len(got) == 0 || got[len(got)-1] != "error" {
		t.Errorf("cut gzip ends with %q, want an error", got[max(0, len(got)-1):])
	}
	got = splitAll(t, io.MultiReader(strings.NewReader(lineA+"\n"+lineB), iotest.ErrReader(io.ErrClosedPipe)), Limits{})
	if diff := cmp.Diff([]string{"1 json " + lineA, "2 json " + lineB, "error"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// trickle gives what is there and then waits, as a pipe does.
type trickle struct{ parts chan string }

func (r trickle) Read(p []byte) (int, error) {
	part, ok := <-r.parts
	if !ok {
		return 0, io.EOF
	}
	return copy(p, part), nil
}

func TestACallIsGivenAsSoonAsItIsWhole(t *testing.T) {
	parts := make(chan string, 1)
	next, stop := iter.Pull2(Split(trickle{parts}, Auto, Limits{}))
	defer stop()
	for i := range 3 {
		line := fmt.Sprintf(`{"id":"%d","ts":"2026-01-01T00:00:00Z","tenant":"t","agent":"a"}`+"\n", i)
		parts <- line
		got := make(chan string, 1)
		go func() {
			raw, err, _ := next()
			got <- fmt.Sprintf("%s %v", raw.Bytes, err)
		}()
		select {
		case s := <-got:
			if want := strings.TrimSuffix(line, "\n") + " <nil>"; s != want {
				t.Errorf("got %q, want %q", s, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("a whole call is held back until more is written")
		}
	}
	close(parts)
}
