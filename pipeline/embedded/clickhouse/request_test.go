package clickhouse

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ClickHouse/ch-go/compress"
	"github.com/google/go-cmp/cmp"
)

func read(t testing.TB, method, query string, header http.Header) (*request, error) {
	t.Helper()
	r := httptest.NewRequest(method, "/", nil)
	r.URL.RawQuery = query
	for name, values := range header {
		r.Header[name] = values
	}
	return readRequest(r)
}

func TestParametersAreSettingsUnlessTheyAreReserved(t *testing.T) {
	req, err := read(t, "POST", "query=SELECT+1&database=d&max_threads=2&param_x=it's&compress=1&network_compression_method=ZSTD&client_protocol_version=54483", nil)
	if err != nil {
		t.Fatal(err)
	}
	want := &request{
		query: "SELECT 1", database: "d", format: "TabSeparated", compress: true, method: "ZSTD",
		httpEncoding: true, revision: 54483,
		settings: map[string]string{"max_threads": "2", "network_compression_method": "ZSTD"},
		params:   map[string]string{"param_x": "it's"},
	}
	if diff := cmp.Diff(want, req, cmp.AllowUnexported(request{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	const set = `SET async_insert = '0', log_comment = 'mark ', max_threads = '2', network_compression_method = 'ZSTD', param_x = 'it\'s'`
	if got := req.setStatement(map[string]string{"async_insert": "0", "max_threads": "8"}, "mark "); got != set {
		t.Errorf("got  %s\nwant %s", got, set)
	}
}

func TestGetIsReadOnly(t *testing.T) {
	req, err := read(t, "GET", "query=SELECT+1", nil)
	if err != nil {
		t.Fatal(err)
	}
	if req.settings["readonly"] != "2" {
		t.Errorf("readonly is %q, want 2", req.settings["readonly"])
	}
}

func TestNamesThatCouldChangeTheStatementAreRefused(t *testing.T) {
	for _, query := range []string{
		"max_threads%3B+DROP=1", "a+b=1", "param_x+%3D+1%2C+y=2", "=1", "1x=1", "d%C3%A9j%C3%A0=1",
		"default_format=CSV%3B+DROP+TABLE+t", "query_id=" + strings.Repeat("x", maxQueryID+1), "%zz=1",
	} {
		var e *Exception
		if _, err := read(t, "POST", query, nil); !errors.As(err, &e) || e.Status() < 400 || e.Status() >= 500 {
			t.Errorf("%q gives %v, want a refusal", query, err)
		}
	}
}

func FuzzReadRequest(f *testing.F) {
	for _, seed := range []string{"query=SELECT+1&max_threads=2", "param_x=%00&database=%27", "a=1&a=2;b", "log_comment='", "default_format=JSON"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		req, err := read(t, "POST", query, nil)
		if err != nil {
			return
		}
		set := req.setStatement(nil, "mark ")
		if shape := outlineOf(set); shape.several || shape.outfile || shape.infile {
			t.Fatalf("%q became %q", query, set)
		}
		if l := (lexer{sql: set}); !l.is(l.next(), "SET") {
			t.Fatalf("%q became %q", query, set)
		}
	})
}

func TestAnEncodingIsTakenOnlyWhenItIsOffered(t *testing.T) {
	f := func(header, want string) {
		t.Helper()
		if got := acceptedEncoding(header); got != want {
			t.Errorf("%q picks %q, want %q", header, got, want)
		}
	}
	f("", "")
	f("identity", "")
	f("gzip", "gzip")
	f("br, GZIP;q=0.5", "gzip")
	f("gzip;q=0, zstd", "zstd")
	f("gzip; q=0.0, br", "br")
	f("notgzip", "")
}

func TestEveryAnswerEncodingReadsBackAsABody(t *testing.T) {
	text := bytes.Repeat([]byte("estop\n"), 100_000)
	for _, encoding := range []string{"", "gzip", "deflate", "br", "lz4", "zstd"} {
		var packed bytes.Buffer
		w, err := encodeAnswer(&packed, encoding)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(text); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		r, err := decodeBody(&packed, encoding)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, text) {
			t.Errorf("%q: %d bytes back, %v; want %d", encoding, len(got), err, len(text))
		}
	}
}

func TestFramesReadBackOnceAndACutIsAnError(t *testing.T) {
	text := bytes.Repeat([]byte("0123456789"), 300_000) // three frames
	for _, method := range []string{"LZ4", "ZSTD"} {
		var packed bytes.Buffer
		if _, err := newFramer(&packed, method).Write(text); err != nil {
			t.Fatal(err)
		}
		whole := packed.Bytes()
		d := newDeframer(bytes.NewReader(whole))
		got, err := io.ReadAll(d)
		if err != nil || !bytes.Equal(got, text) {
			t.Errorf("%s: %d bytes back, %v; want %d", method, len(got), err, len(text))
		}
		// The end stays the end: the last frame came twice here once.
		if n, err := d.Read(make([]byte, 10)); n != 0 || err != io.EOF {
			t.Errorf("%s: reading past the end gives %d bytes and %v", method, n, err)
		}
		for _, cut := range []int{1, 20, len(whole) - 1} {
			if _, err := io.ReadAll(newDeframer(bytes.NewReader(whole[:cut]))); err == nil {
				t.Errorf("%s: a stream cut at %d is no error", method, cut)
			}
		}
	}
}

func FuzzDeframer(f *testing.F) {
	var packed bytes.Buffer
	newFramer(&packed, "LZ4").Write([]byte("some rows"))
	f.Add(packed.Bytes())
	w := compress.NewWriter(compress.LevelZero, compress.None)
	w.Compress([]byte("plain"))
	f.Add(w.Data)
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := io.Copy(io.Discard, &boundedReader{from: newDeframer(bytes.NewReader(data)), left: 1 << 20})
		if err == nil && len(data) > 0 && n == 0 && len(data) < 25 {
			t.Fatalf("%d bytes are no frame and no error", len(data))
		}
	})
}

func TestABodyLargerThanItMayBeIsAnErrorNotACut(t *testing.T) {
	f := func(size, limit int64, ok bool) {
		t.Helper()
		r := &boundedReader{from: strings.NewReader(strings.Repeat("x", int(size))), left: limit}
		n, err := io.Copy(io.Discard, r)
		if ok && (err != nil || n != size) || !ok && err == nil {
			t.Errorf("%d bytes under a limit of %d: read %d, %v", size, limit, n, err)
		}
	}
	f(0, 10, true)
	f(10, 10, true)
	f(11, 10, false)
	f(100_000, 10, false)
}

func TestTheStatementAndItsRowsComeFromParameterAndBody(t *testing.T) {
	f := func(query, body, wantText, wantRows string) {
		t.Helper()
		// One byte at a time: nothing depends on how the body is cut.
		s, rows, err := readStatement(query, oneByte{strings.NewReader(body)})
		if err != nil {
			t.Errorf("%q %q: %v", query, body, err)
			return
		}
		if rows == nil {
			if s.text != wantText {
				t.Errorf("%q %q: text %q, want %q", query, body, s.text, wantText)
			}
			return
		}
		got, err := io.ReadAll(rows)
		if err != nil || s.insertion.target != wantText || string(got) != wantRows {
			t.Errorf("%q: target %q, rows %.40q (%d), %v; want %q, %.40q (%d)", query, s.insertion.target, got, len(got), err, wantText, wantRows, len(wantRows))
		}
	}
	f("SELECT 1", "", "SELECT 1", "")
	f("", "SELECT 1", "SELECT 1", "")
	f("SELECT 1", "FORMAT JSON", "SELECT 1\nFORMAT JSON", "")
	f("INSERT INTO t FORMAT Native", "\n\x00\n", "INSERT INTO t", "\n\x00\n")
	f("INSERT INTO t", "VALUES (1)", "INSERT INTO t", " (1)")
	f("INSERT INTO t FORMAT CSV", "", "INSERT INTO t", "")
	rows := strings.Repeat("1,2\n", statementHead)
	f("INSERT INTO t FORMAT CSV", rows, "INSERT INTO t", rows)
	f("", "INSERT INTO t FORMAT CSV\n"+rows, "INSERT INTO t", rows)
	columns := "INSERT INTO t (" + strings.Repeat("column, ", statementHead) + "a)"
	f("", columns+" VALUES (1)", columns, " (1)")
	long := "SELECT '" + strings.Repeat("x", statementHead*3) + "'"
	f("", long, long, "")
	if _, _, err := readStatement("", strings.NewReader("SELECT '"+strings.Repeat("x", maxStatement*4))); err == nil {
		t.Error("a statement beyond the bound is no error")
	}
}

type oneByte struct{ from io.Reader }

func (o oneByte) Read(p []byte) (int, error) {
	if len(p) > 1 {
		p = p[:1]
	}
	return o.from.Read(p)
}

func TestAnExceptionKeepsItsCodeAndGetsAStatus(t *testing.T) {
	f := func(text string, code, status int) {
		t.Helper()
		e := parseException(text)
		if e.Code != code || e.Status() != status {
			t.Errorf("%q gives code %d and status %d, want %d and %d", text, e.Code, e.Status(), code, status)
		}
	}
	f("Code: 60. DB::Exception: no table", 60, 404)
	f("Code: 395. DB::Exception: thrown", 395, 500)
	f("Code: 0. nothing", codeUnknownException, 500)
	f("something else", codeUnknownException, 500)
	f("Code: 99999999999999999999. x", codeUnknownException, 500)
}

func TestHeadersCannotBeSplitByAQueryID(t *testing.T) {
	if got := headerText("a\r\nSet-Cookie: b"); strings.ContainsAny(got, "\r\n") {
		t.Errorf("got %q", got)
	}
}
