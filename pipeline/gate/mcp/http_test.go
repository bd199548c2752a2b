package mcp_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/estop-project/estop/pipeline/gate/mcp"
	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/gate"
)

// upstream is a server that notes what it gets and answers as a test wants.
type upstream struct {
	*httptest.Server
	answer http.HandlerFunc

	mu  sync.Mutex
	got []string
}

func newUpstream(t *testing.T, answer http.HandlerFunc) *upstream {
	u := &upstream{answer: answer}
	u.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		u.mu.Lock()
		u.got = append(u.got, r.Method+" "+r.URL.Path+" "+string(body))
		u.mu.Unlock()
		if strings.Contains(string(body), "notifications/cancelled") {
			w.WriteHeader(http.StatusAccepted)
			return
		}
		u.answer(w, r)
	}))
	t.Cleanup(func() {
		u.CloseClientConnections()
		u.Close()
	})
	return u
}

func (u *upstream) all() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.got
}

func says(kind, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		_, _ = io.WriteString(w, body)
	}
}

func post(t *testing.T, url, body string, headers ...string) (int, string) {
	t.Helper()
	return request(t, http.MethodPost, url, body, headers...)
}

func request(t *testing.T, method, url, body string, headers ...string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	for _, h := range headers {
		k, v, _ := strings.Cut(h, ": ")
		if k == "Content-Type" {
			r.Header.Del(k)
		}
		if k == "Host" {
			r.Host = v
		}
		r.Header.Add(k, v)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestOverHTTPTheHeadersSayWhoCalls(t *testing.T) {
	r := newRig(t)
	u := newUpstream(t, says("application/json", `{"jsonrpc":"2.0","id":1,"result":{}}`))
	at := r.listen(u.URL, mcp.Identify(gate.Names{
		Tenant: value("acme"), Agent: gate.Source{Kind: gate.FromHeader, Key: "X-Agent"}, Chain: gate.Source{Kind: gate.FromHeader, Key: "X-Chain", Optional: true},
	}, headers))
	r.kill(revoke.Revoke)
	for name, c := range map[string]struct {
		status  int
		text    string
		headers []string
	}{
		"another agent":        {200, `"result":{}`, []string{"X-Agent: other", "Mcp-Session-Id: s1", "Traceparent: " + parent}},
		"the stopped one":      {200, `"code":"REVOKED"`, []string{"X-Agent: bot"}},
		"on its behalf":        {200, `"code":"REVOKED"`, []string{"X-Agent: helper", "X-Chain: root, bot, helper"}},
		"nobody":               {403, `"code":"UNIDENTIFIED"`, nil},
		"two":                  {403, `"code":"UNIDENTIFIED"`, []string{"X-Agent: other", "X-Agent: bot"}},
		"two in one":           {403, `"code":"UNIDENTIFIED"`, []string{"X-Agent: other,bot"}},
		"a name without end":   {403, `a revocation can carry 1024`, []string{"X-Agent: " + strings.Repeat("x", 2000)}},
		"a session without it": {400, `too long`, []string{"X-Agent: other", "Mcp-Session-Id: " + strings.Repeat("x", 2000)}},
	} {
		status, body := post(t, at, tool("1", "echo"), c.headers...)
		if status != c.status || !strings.Contains(body, c.text) {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	if n := len(u.all()); n != 1 {
		t.Errorf("the server got %d calls", n)
	}
	for _, got := range r.reported(3) {
		if string(got.Agent) == "other" && (!strings.HasPrefix(string(got.Session), "mcp-") || len(got.Session) != 28 || string(got.Traceparent) != parent) {
			t.Errorf("reported session %q, traceparent %q", got.Session, got.Traceparent)
		}
	}
}

func TestOverHTTPWhatCannotBeDecidedIsRefused(t *testing.T) {
	r := newRig(t, func(o *mcp.Options) { o.MaxMessage = 1 << 12 })
	u := newUpstream(t, says("application/json", `{}`))
	at := r.listen(u.URL, mcp.Identify(names, headers))
	for body, status := range map[string]int{
		`{"id":1,`:                                  400,
		`{"id":1,"method":"a","METHOD":"b"}`:        400,
		`{"id":1,"x":"` + strings.Repeat("y", 5000): 413,
		``: 400,
	} {
		if got, text := post(t, at, body); got != status || !strings.Contains(text, `"error"`) {
			t.Errorf("%.40s: %d %s", body, got, text)
		}
	}
	for _, h := range []string{"Content-Type: application/json; charset=utf-7", "Content-Type: text/plain", "Content-Type: application/json; x=y", "Content-Encoding: gzip"} {
		if status, text := post(t, at, `{"id":1,"method":"tools+AC8-call"}`, h); status != 415 || !strings.Contains(text, "application/json in UTF-8") {
			t.Errorf("%s: %d %s", h, status, text)
		}
	}
	if status, _ := request(t, http.MethodGet, at, "", "Connection: Upgrade", "Upgrade: websocket"); status != 400 {
		t.Errorf("an upgrade: %d", status)
	}
	if status, _ := request(t, http.MethodPut, at, tool("1", "x")); status != 405 {
		t.Errorf("PUT: %d", status)
	}
	if status, text := post(t, at, tool("1", "x"), "Host: evil.example"); status != 403 || !strings.Contains(text, "evil.example") {
		t.Errorf("a name of somebody else's: %d %s", status, text)
	}
	if got := u.all(); len(got) > 0 {
		t.Errorf("the server got %q", got)
	}
	r.wantMetric("estop_gate_messages_refused_total", 4, "reason=media_type")
	r.wantMetric("estop_gate_messages_refused_total", 1, "reason=too_large")
	if status, _ := request(t, http.MethodDelete, at+"/mcp", tool("1", "x")); status != 200 || len(u.all()) != 1 || u.all()[0] != "DELETE /mcp " {
		t.Errorf("DELETE: %d, the server got %q", status, u.all())
	}
}

func TestOverHTTPOfABatchTheDeniedAreAnsweredWithTheRest(t *testing.T) {
	for kind, body := range map[string]string{
		"application/json":  `[{"id":1,"result":{}}]`,
		"text/event-stream": "data: {\"id\":1,\"result\":{}}\n\n",
	} {
		r := newRig(t)
		r.kill(revoke.Restrict)
		u := newUpstream(t, says(kind, body))
		at := r.listen(u.URL, mcp.Identify(names, headers))
		status, text := post(t, at, `[{"id":1,"method":"resources/read","params":{"uri":"a:b"}},`+tool("2", "write")+`]`)
		if status != 200 || !strings.Contains(text, `{"id":1,"result":{}}`) || !strings.Contains(text, `"id":2,"error":{"code":-32050`) {
			t.Errorf("%s: %d %s", kind, status, text)
		}
		if d := cmp.Diff([]string{`POST / [{"id":1,"method":"resources/read","params":{"uri":"a:b"}}]` + "\n"}, u.all()); d != "" {
			t.Error(d)
		}
		if _, text := post(t, at, `[`+tool("2", "write")+`,`+tool("3", "write")+`]`); strings.Count(text, "-32050") != 2 || text[0] != '[' {
			t.Errorf("all denied: %s", text)
		}
		if status, text := post(t, at, `{"method":"tools/call","params":{"name":"write"}}`); status != 202 || text != "" {
			t.Errorf("a call that nobody answers: %d %s", status, text)
		}
	}
}

func TestAServerThatIsNotThereIsSaidToTheClient(t *testing.T) {
	r := newRig(t)
	status, text := post(t, r.listen("http://127.0.0.1:1", mcp.Identify(names, headers)), tool(`"a"`, "x"))
	if status != 502 || !strings.Contains(text, `"id":"a","error":{"code":-32051`) {
		t.Errorf("%d %s", status, text)
	}
	r.reported(1)
	r.wantMetric("estop_gate_calls_in_flight", 0)
}

func TestAStreamOfEventsIsCutWithAnAnswerAndTheServerIsTold(t *testing.T) {
	r := newRig(t)
	u := newUpstream(t, func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, ": hello\r\n\r\nid: 7\r\ndata: {\"method\":\"x\",\r\ndata: \"n\":1}\r\n\r\n")
		w.(http.Flusher).Flush()
		<-q.Context().Done()
	})
	resp, err := http.Post(r.listen(u.URL, mcp.Identify(names, headers)), "application/json", strings.NewReader(tool("1", "slow")))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	in := bufio.NewReader(resp.Body)
	const first = ": hello\r\n\r\nid: 7\r\ndata: {\"method\":\"x\",\r\ndata: \"n\":1}\r\n\r\n"
	b := make([]byte, len(first))
	if _, err := io.ReadFull(in, b); err != nil || string(b) != first {
		t.Fatalf("%q, %v", b, err)
	}
	r.kill(revoke.Revoke)
	rest, err := io.ReadAll(in)
	if err != nil || !strings.HasPrefix(string(rest), `event: message`+"\n"+`data: {"jsonrpc":"2.0","id":1,"error":{"code":-32050`) || !strings.HasSuffix(string(rest), "\n\n") {
		t.Errorf("%q, %v", rest, err)
	}
	eventually(t, "the server is told", func() bool { return len(u.all()) == 2 })
	if got := u.all()[1]; !strings.Contains(got, `"method":"notifications/cancelled","params":{"requestId":1,`) {
		t.Errorf("the server got %s", got)
	}
}

// A client that does not read must not keep the call alive.
func TestAClientThatDoesNotReadHoldsNoCallOpen(t *testing.T) {
	r := newRig(t)
	over := make(chan struct{})
	u := newUpstream(t, func(w http.ResponseWriter, q *http.Request) {
		defer close(over)
		w.Header().Set("Content-Type", "text/event-stream")
		event := "data: {\"method\":\"" + strings.Repeat("x", 1<<16) + "\"}\n\n"
		for q.Context().Err() == nil {
			if _, err := io.WriteString(w, event); err != nil {
				return
			}
		}
	})
	resp, err := http.Post(r.listen(u.URL, mcp.Identify(names, headers)), "application/json", strings.NewReader(tool("1", "slow")))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	time.Sleep(200 * time.Millisecond) // until all buffers are full
	r.kill(revoke.Revoke)
	select {
	case <-over:
	case <-time.After(10 * time.Second):
		t.Error("the call goes on")
	}
}

// The stream on which a server speaks by itself stays open, and silent while the agent is stopped.
func TestAStoppedAgentHearsNothing(t *testing.T) {
	r := newRig(t)
	say := make(chan string)
	u := newUpstream(t, func(w http.ResponseWriter, q *http.Request) {
		if q.Method == http.MethodPost {
			<-q.Context().Done()
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		w.(http.Flusher).Flush()
		for {
			select {
			case s := <-say:
				fmt.Fprintf(w, "data: %s\n\n", s)
				w.(http.Flusher).Flush()
			case <-q.Context().Done():
				return
			}
		}
	})
	at := r.listen(u.URL, mcp.Identify(names, headers))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	q, _ := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	q.Header.Set("Mcp-Session-Id", "s1")
	resp, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	in := bufio.NewReader(resp.Body)
	say <- `{"method":"one"}`
	if line, _ := in.ReadString('\n'); line != "data: {\"method\":\"one\"}\n" {
		t.Errorf("the client heard %q", line)
	}
	cut := make(chan string)
	go func() {
		_, text := post(t, at, tool("5", "slow"), "Mcp-Session-Id: s1")
		cut <- text
	}()
	eventually(t, "the call is in flight", func() bool { return len(u.all()) == 2 })
	r.kill(revoke.Revoke)
	if text := <-cut; !strings.Contains(text, `"cut":true`) {
		t.Errorf("the call ended with %s", text)
	}
	say <- `{"method":"two"}`
	time.Sleep(100 * time.Millisecond) // it is dropped when it comes, not when it is read
	r.release()
	say <- `{"id":5,"result":"late"}`
	say <- `{"method":"three"}`
	_, _ = in.ReadString('\n')
	if line, _ := in.ReadString('\n'); line != "data: {\"method\":\"three\"}\n" {
		t.Errorf("the client heard %q", line)
	}
	r.wantMetric("estop_gate_late_answers_total", 1)
}
