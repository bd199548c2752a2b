package clickhouse_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/estop-project/estop/pipeline/embedded/clickhouse"
	"github.com/estop-project/estop/pipeline/embedded/clickhouse/chtest"
)

// These tests hold the promise that any client of ClickHouse's HTTP interface will do.

var passwordOptions = clickhouse.Options{User: "estop", Password: "right"}

// ask posts a query as curl would and returns the answer, read to its end.
func ask(t testing.TB, server *clickhouse.Server, parameters, body string) (*http.Response, string, error) {
	t.Helper()
	request, err := http.NewRequestWithContext(deadline(t), http.MethodPost, "http://"+server.Addr()+"/?"+parameters, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept-Encoding", "identity")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response, string(text), err
}

func mustAsk(t testing.TB, server *clickhouse.Server, parameters, body string) string {
	t.Helper()
	response, text, err := ask(t, server, parameters, body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%q: %s, %v: %.300s", body, response.Status, err, text)
	}
	return text
}

func TestCurlInsertsAndReads(t *testing.T) {
	server := chtest.Start(t)
	mustAsk(t, server, "", "CREATE TABLE t (a String, b UInt64) ENGINE = MergeTree ORDER BY b")
	mustAsk(t, server, "", "INSERT INTO t FORMAT JSONEachRow {\"a\":\"x\",\"b\":1}\n{\"a\":\"y\",\"b\":2}")
	mustAsk(t, server, "query="+url.QueryEscape("INSERT INTO t FORMAT CSV"), "c,3\nd,4\n")
	mustAsk(t, server, "", "INSERT INTO t VALUES ('semi;colon', 5), ('nul\x00byte', toUInt64(3) * 2)")
	mustAsk(t, server, "param_v=bound", "INSERT INTO t VALUES ({v:String}, 7)")
	mustAsk(t, server, "", "INSERT INTO t -- VALUES ('no', 0)\n SETTINGS max_insert_threads = 1 FORMAT TSV\ntab\t8\n")
	mustAsk(t, server, "", "INSERT INTO t SELECT 'selected', 9")
	mustAsk(t, server, "", "WITH q AS (SELECT 'with' AS a, 10 AS b) INSERT INTO t SELECT * FROM q")
	mustAsk(t, server, "", "INSERT INTO t FORMAT CSV\n") // no rows are no error
	got := mustAsk(t, server, "", "SELECT * FROM t ORDER BY b FORMAT JSONEachRow")
	var names []string
	for line := range strings.Lines(got) {
		var row struct {
			A string
			B any
		}
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		names = append(names, fmt.Sprint(row.A, "=", row.B))
	}
	const want = "x=1 y=2 c=3 d=4 semi;colon=5 nul\x00byte=6 bound=7 tab=8 selected=9 with=10"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("rows are %q\nwant     %q", got, want)
	}
	if got := mustAsk(t, server, "query=SELECT+count()", "FROM t FORMAT TSV"); got != "10\n" {
		t.Errorf("a query in two parts gives %q", got)
	}
}

func TestHeadersSayWhatTheAnswerIs(t *testing.T) {
	server := chtest.Start(t)
	response, text, err := ask(t, server, "query_id=my-id&default_format=JSONCompact", "SELECT count() AS n FROM numbers(1000)")
	if err != nil {
		t.Fatal(err)
	}
	var answer struct{ Data [][]any }
	if err := json.Unmarshal([]byte(text), &answer); err != nil || len(answer.Data) != 1 {
		t.Errorf("answer is %q, %v", text, err)
	}
	for name, want := range map[string]string{
		"X-ClickHouse-Query-Id": "my-id", "X-ClickHouse-Format": "JSONCompact", "Content-Type": "application/json; charset=UTF-8",
		"Content-Length": strconv.Itoa(len(text)),
	} {
		if got := response.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	for _, name := range []string{"X-ClickHouse-Server-Display-Name", "X-ClickHouse-Timezone"} {
		if response.Header.Get(name) == "" {
			t.Errorf("%s is missing", name)
		}
	}
	var summary map[string]string
	if err := json.Unmarshal([]byte(response.Header.Get("X-ClickHouse-Summary")), &summary); err != nil || summary["read_rows"] != "1000" {
		t.Errorf("summary is %v, %v", summary, err)
	}
	response, text, _ = ask(t, server, "", "SELECT * FROM nowhere")
	if response.StatusCode != 404 || response.Header.Get("X-ClickHouse-Exception-Code") != "60" || !strings.HasPrefix(text, "Code: 60. DB::Exception: ") {
		t.Errorf("an unknown table gives %s, %v, %q", response.Status, response.Header, text)
	}
	for path, want := range map[string]int{"/ping": 200, "/": 200, "/other": 404} {
		response, err := http.Get("http://" + server.Addr() + path)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("%s gives %s, want %d", path, response.Status, want)
		}
	}
}

func TestGetChangesNothing(t *testing.T) {
	server := chtest.Start(t)
	response, err := http.Get("http://" + server.Addr() + "/?query=" + url.QueryEscape("CREATE TABLE t (a String) ENGINE = Memory"))
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if code := response.Header.Get("X-ClickHouse-Exception-Code"); code != "164" {
		t.Errorf("GET with CREATE gives %s and code %q, want 164", response.Status, code)
	}
	for _, format := range []string{"JSON", "TSV"} {
		response, err = http.Get("http://" + server.Addr() + "/?query=" + url.QueryEscape("SELECT 1 AS x FORMAT "+format))
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != 200 {
			t.Errorf("GET with SELECT in %s gives %s", format, response.Status)
		}
	}
}

func TestAStreamedAnswerIsTheWholeAnswer(t *testing.T) {
	server := chtest.Start(t)
	for _, format := range []string{
		"Native", "RowBinary", "Null", "CSV", "TSKV", "TabSeparated", "TSV", "TabSeparatedRaw", "TSVRaw",
		"JSONEachRow", "JSONLines", "NDJSON", "JSONCompactEachRow", "JSONStringsEachRow", "JSONCompactStringsEachRow",
		"TabSeparatedWithNames", "CSVWithNames", "Values", "Vertical", "JSON", "JSONCompact", "Parquet", "Markdown",
	} {
		query := "SELECT number, toString(number) AS s FROM numbers(200000) SETTINGS max_threads = 1 FORMAT " + format
		streamed := mustAsk(t, server, "", query)
		whole := mustAsk(t, server, "wait_end_of_query=1", query)
		if format == "JSON" || format == "JSONCompact" {
			if !json.Valid([]byte(streamed)) {
				t.Errorf("%s is not JSON", format)
			}
			continue // it holds the time it took
		}
		if streamed != whole || format != "Null" && len(whole) < 50_000 {
			t.Errorf("%s: streamed %d bytes, whole %d", format, len(streamed), len(whole))
		}
	}
	totals := mustAsk(t, server, "", "SELECT number % 2 AS k, count() AS n FROM numbers(10) GROUP BY k WITH TOTALS ORDER BY k FORMAT TSV")
	if totals != "0\t5\n1\t5\n\n0\t10\n" {
		t.Errorf("with totals: %q", totals)
	}
	array := mustAsk(t, server, "output_format_json_array_of_rows=1", "SELECT number FROM numbers(100000) FORMAT JSONEachRow")
	if !json.Valid([]byte(array)) {
		t.Error("rows in a JSON array are not JSON")
	}
}

func TestAnErrorInTheMidstBreaksTheConnectionOff(t *testing.T) {
	server := chtest.Start(t)
	const query = "SELECT throwIf(number = 900000, 'late'), number FROM numbers(1000000) SETTINGS max_block_size = 1000"
	response, text, err := ask(t, server, "", query)
	if response.StatusCode != 200 || err == nil {
		t.Errorf("status %s, read to the end: %v", response.Status, err == nil)
	}
	tag := response.Header.Get("X-ClickHouse-Exception-Tag")
	if !strings.Contains(text, "\r\n__exception__\r\n"+tag+"\r\nCode: 395. ") || !strings.HasSuffix(text, " "+tag+"\r\n__exception__\r\n") {
		t.Errorf("the answer ends in %q", text[max(0, len(text)-300):])
	}
	response, text, err = ask(t, server, "wait_end_of_query=1", query)
	if response.StatusCode != 500 || err != nil || !strings.HasPrefix(text, "Code: 395. ") {
		t.Errorf("with wait_end_of_query: %s, %v, %.100q", response.Status, err, text)
	}
}

func TestCompressedBodiesAndAnswersOfPlainHTTP(t *testing.T) {
	server := chtest.Start(t)
	mustAsk(t, server, "", "CREATE TABLE t (n UInt64) ENGINE = Memory")
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	io.WriteString(w, "INSERT INTO t FORMAT TSV\n1\n2\n3\n")
	w.Close()
	request, err := http.NewRequest(http.MethodPost, "http://"+server.Addr()+"/", &packed)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Encoding", "gzip")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	for _, query := range []string{"SELECT sum(n) FROM t FORMAT TSV", "SELECT n FROM t WHERE n > 9", "SELECT sum(n) FROM t FORMAT JSONCompact"} {
		// Go's client asks for gzip by itself and unpacks it.
		response, err := http.Post("http://"+server.Addr()+"/", "", strings.NewReader(query))
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || strings.Contains(query, "sum") && (!response.Uncompressed || !strings.Contains(string(text), "6")) {
			t.Errorf("%q: %q, %v, compressed %v", query, text, err, response.Uncompressed)
		}
	}
	// Broken bodies are refused and harm nothing.
	for _, parameters := range []string{"decompress=1&query=INSERT+INTO+t+FORMAT+Native", "decompress=1"} {
		if response, text, _ := ask(t, server, parameters, "these are no frames, and long enough to be read as one"); response.StatusCode != 500 {
			t.Errorf("%s: %s %q", parameters, response.Status, text)
		}
	}
}

func TestPasswordsAreCheckedWhereverTheyStand(t *testing.T) {
	server := chtest.StartWith(t, passwordOptions)
	f := func(want int, parameters string, edit func(*http.Request)) {
		t.Helper()
		request, err := http.NewRequest(http.MethodPost, "http://"+server.Addr()+"/?"+parameters, strings.NewReader("SELECT 1"))
		if err != nil {
			t.Fatal(err)
		}
		if edit != nil {
			edit(request)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("%q: %s, want %d", parameters, response.Status, want)
		}
	}
	f(200, "user=estop&password=right", nil)
	f(403, "user=estop&password=wrong", nil)
	f(403, "user=default&password=right", nil)
	f(403, "", nil)
	f(200, "", func(r *http.Request) { r.SetBasicAuth("estop", "right") })
	f(403, "", func(r *http.Request) { r.SetBasicAuth("estop", "") })
	f(200, "", func(r *http.Request) {
		r.Header.Set("X-ClickHouse-User", "estop")
		r.Header.Set("X-ClickHouse-Key", "right")
	})
	f(403, "user=estop&password=right", func(r *http.Request) { r.Header.Set("X-ClickHouse-Key", "wrong") })
	f(200, "user=estop&password=right", func(r *http.Request) { r.Header.Set("Origin", "http://example.org") })
}

func TestAPageInABrowserIsRefusedWhileThereIsNoPassword(t *testing.T) {
	server := chtest.Start(t)
	request, err := http.NewRequest(http.MethodPost, "http://"+server.Addr()+"/", strings.NewReader("SELECT 1"))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Origin", "http://example.org")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusForbidden {
		t.Errorf("a page of another origin gets %s", response.Status)
	}
}

func TestFilesOfTheMachineAreOutOfReachOfInfileAndOutfile(t *testing.T) {
	server := chtest.Start(t)
	mustAsk(t, server, "", "CREATE TABLE t (line String) ENGINE = Memory")
	target := t.TempDir() + "/out"
	for _, query := range []string{
		"SELECT 1 INTO OUTFILE '" + target + "'", "SELECT 1 INTO OUTFILE '" + target + "' FORMAT CSV",
		"INSERT INTO t FROM INFILE '/etc/hostname' FORMAT LineAsString",
		"SELECT 1; SELECT 2 INTO OUTFILE '" + target + "'",
	} {
		if response, text, _ := ask(t, server, "", query); response.StatusCode < 400 {
			t.Errorf("%q: %s %q", query, response.Status, text)
		}
	}
	if _, err := os.Stat(target); err == nil {
		t.Error("a file was written")
	}
}

func TestABodyBeyondTheBoundIsRefused(t *testing.T) {
	server := chtest.StartWith(t, clickhouse.Options{MaxBody: 1 << 20})
	mustAsk(t, server, "", "CREATE TABLE t (s String) ENGINE = Memory")
	const insert = "query=INSERT+INTO+t+FORMAT+LineAsString"
	mustAsk(t, server, insert, strings.Repeat("x", 1<<19))
	if response, _, _ := ask(t, server, insert, strings.Repeat("x", 1<<21)); response.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("a body of 2 MiB under a bound of 1 MiB gives %s", response.Status)
	}
	// A small body that unpacks to a large one is bounded as well.
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	w.Write(bytes.Repeat([]byte("x"), 64<<20))
	w.Close()
	request, err := http.NewRequest(http.MethodPost, "http://"+server.Addr()+"/?"+insert, &packed)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Encoding", "gzip")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("a body that unpacks to 64 MiB gives %s", response.Status)
	}
	if got := mustAsk(t, server, "", "SELECT count() FROM t"); got != "1\n" {
		t.Errorf("rows of refused bodies are in the table: %q", got)
	}
}

func TestTheQueryOfAClientThatGoesAwayIsKilled(t *testing.T) {
	server := chtest.Start(t)
	running := func() string {
		return mustAsk(t, server, "", "SELECT count() FROM system.processes WHERE query LIKE '%sleep-marker%' AND query NOT LIKE '%system.processes%'")
	}
	for _, query := range []string{
		"SELECT 'sleep-marker', sleepEachRow(0.01) FROM numbers(1e9) SETTINGS max_block_size = 10 FORMAT TSV",
		"SELECT 'sleep-marker', sleepEachRow(0.01) FROM numbers(1e9) SETTINGS max_block_size = 10 FORMAT JSON",
		"SELECT 'sleep-marker', count() FROM numbers(1e18) WHERE sipHash64(number) = 1",
	} {
		ctx, cancel := context.WithCancel(context.Background())
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+server.Addr()+"/", strings.NewReader(query))
		if err != nil {
			t.Fatal(err)
		}
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			if response, err := http.DefaultClient.Do(request); err == nil {
				io.Copy(io.Discard, response.Body)
				response.Body.Close()
			}
		}()
		waitFor(t, "the query to run", func() bool { return running() == "1\n" })
		cancel()
		<-gone
		waitFor(t, "the query to be killed: "+query, func() bool { return running() == "0\n" })
	}
}

// waitFor polls until the condition holds, and fails the test when it does not in time.
func waitFor(t testing.TB, what string, holds func() bool) {
	t.Helper()
	limit := time.Now().Add(time.Minute)
	for !holds() {
		if time.Now().After(limit) {
			t.Fatalf("waited 30 s for %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestALargeAnswerIsReadInBoundedMemory(t *testing.T) {
	server := chtest.Start(t)
	const width = 128
	read := func(format string, rows int) int64 {
		t.Helper()
		query := fmt.Sprintf("SELECT repeat('x', %d) AS s FROM numbers(%d) FORMAT %s", width, rows, format)
		response, err := http.Post("http://"+server.Addr()+"/?enable_http_compression=0", "", strings.NewReader(query))
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		n, err := io.Copy(io.Discard, response.Body)
		if err != nil || n < int64(rows)*width {
			t.Fatalf("%s: read %d bytes, %v", format, n, err)
		}
		return n
	}
	for _, format := range []string{"RowBinary", "JSON"} {
		// The engine's buffers and arenas reach their size with the first answer; a longer
		// one must not need more.
		read(format, 1_000_000)
		before := peakMemory(t, server.Pid())
		size := read(format, 4_000_000)
		if grown := peakMemory(t, server.Pid()) - before; grown > size/5 {
			t.Errorf("an answer of %d MB in %s took %d MB of memory", size>>20, format, grown>>20)
		}
	}
}

// peakMemory returns the most memory that a process has had, in bytes.
func peakMemory(t testing.TB, pid int) int64 {
	t.Helper()
	file, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Skipf("cannot measure memory on this system: %v", err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), "VmHWM:"); ok {
			kilobytes, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(value, "kB")), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kilobytes << 10
		}
	}
	t.Fatal("no VmHWM in the process's status")
	return 0
}
