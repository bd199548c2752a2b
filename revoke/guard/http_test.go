package guard_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/guard"
)

// service is an HTTP server behind a guard; the agent's name is in a header.
func service(t *testing.T, g *guard.Guard, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(guard.HTTP(g, func(r *http.Request) (guard.Call, error) {
		agent := r.Header.Get("Agent")
		if agent == "" {
			return guard.Call{}, errors.New("no agent")
		}
		return guard.Call{Tenant: "acme", Agent: agent}, nil
	}, h))
	t.Cleanup(s.Close)
	return s.URL
}

func do(t *testing.T, method, url, agent string, body io.Reader) (*http.Response, error) {
	t.Helper()
	req, err := http.NewRequest(method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	if agent != "" {
		req.Header.Set("Agent", agent)
	}
	req.Close = true
	res, err := http.DefaultClient.Do(req)
	if err == nil {
		t.Cleanup(func() { res.Body.Close() })
	}
	return res, err
}

func wantStatus(t *testing.T, method, url, agent string, status int, verdict string) {
	t.Helper()
	res, err := do(t, method, url, agent, nil)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != status {
		t.Errorf("%s as %q: %s, want %d", method, agent, res.Status, status)
	}
	if status == http.StatusOK {
		return
	}
	var body struct{ Verdict, Reason string }
	if err := json.NewDecoder(res.Body).Decode(&body); err != nil {
		t.Fatal(err)
	}
	if body.Verdict != verdict || body.Reason == "" || res.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%s as %q: %+v, %v", method, agent, body, res.Header)
	}
}

func TestHTTPSaysWhatEachVerdictMeans(t *testing.T) {
	r := newRig(t, 1)
	clock := newClock()
	g := r.guard("g1", func(o *guard.Options) { o.Clock = clock.now })
	url := service(t, g, func(http.ResponseWriter, *http.Request) {})
	wantStatus(t, "POST", url, "bot", 200, "")
	wantStatus(t, "POST", url, "", 403, "deny")

	r.kill("acme", "bot", action(revoke.Throttle))
	wantStatus(t, "POST", url, "bot", 200, "")
	wantStatus(t, "POST", url, "bot", 429, "throttle")
	clock.add(guard.PaceEvery)
	wantStatus(t, "POST", url, "bot", 200, "")

	r.kill("acme", "bot", action(revoke.Restrict))
	wantStatus(t, "GET", url, "bot", 200, "")
	wantStatus(t, "POST", url, "bot", 403, "restrict")

	r.kill("acme", "bot")
	wantStatus(t, "GET", url, "bot", 403, "deny")
	wantStatus(t, "GET", url, "other", 200, "")
}

func TestComplaint01ARequestInFlightFails(t *testing.T) {
	r := newRig(t, 1)
	g := r.guard("g1")
	entered := make(chan struct{}, 1)
	left := make(chan error, 1)
	f := func(name string, handler http.HandlerFunc, body io.Reader, check func(*http.Response, error)) {
		t.Helper()
		url := service(t, g, handler)
		answered := make(chan func(), 1)
		go func() {
			res, err := do(t, "POST", url, name, body)
			answered <- func() { check(res, err) }
		}()
		<-entered
		r.kill("acme", name)
		select {
		case check := <-answered:
			check()
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: still running", name)
		}
		var revoked *guard.Revoked
		if err := <-left; !errors.As(err, &revoked) {
			t.Errorf("%s: the handler ended with %v, want *Revoked", name, err)
		}
	}
	forbidden := func(res *http.Response, err error) {
		if err != nil || res.StatusCode != http.StatusForbidden {
			t.Errorf("got %v, %v; want 403", res, err)
		}
	}
	f("heeds-its-context", func(w http.ResponseWriter, req *http.Request) {
		entered <- struct{}{}
		<-req.Context().Done()
		_, err := w.Write([]byte("too late"))
		left <- err
	}, nil, forbidden)

	reader, writer := io.Pipe()
	defer writer.Close()
	f("waits-for-its-client", func(w http.ResponseWriter, req *http.Request) {
		entered <- struct{}{}
		_, err := io.ReadAll(req.Body)
		left <- err
	}, reader, forbidden)

	f("writes-for-ever", func(w http.ResponseWriter, req *http.Request) {
		chunk := []byte(strings.Repeat("x", 64<<10))
		for first := true; ; first = false {
			if _, err := w.Write(chunk); err != nil {
				left <- err
				return
			}
			if first {
				entered <- struct{}{}
			}
		}
	}, nil, func(res *http.Response, err error) {
		if err != nil {
			return // the connection broke before the header came
		}
		if _, err := io.Copy(io.Discard, res.Body); err == nil {
			t.Error("the cut response looks whole")
		}
	})
}
