package plugin

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/pipeline/rig"
	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/guard"
)

func order(agent string) Order {
	return Order{Target: Target{Tenant: "t1", Scope: revoke.Agent, Subject: agent}, For: "15m", Reason: "seen in the logs"}
}

func TestActs(t *testing.T) {
	w := newWorld(t, rig.Options{})
	d := w.datasource(nil)
	t.Run("a kill denies, and a release lets go again", func(t *testing.T) { killAndRelease(t, w, d) })
	t.Run("everybody may what their role may", func(t *testing.T) { everyRole(t, w, d) })
	t.Run("a request of another site is refused", func(t *testing.T) { otherSites(t, w, d) })
	t.Run("an order that is not clear stops nobody", func(t *testing.T) { unclear(t, w, d) })
	t.Run("nobody acts outside the tenants of the data source", func(t *testing.T) { outside(t, w) })
	t.Run("what takes two is refused to one", func(t *testing.T) { two(t, d) })
	t.Run("where something is not set up it says so", func(t *testing.T) { notSetUp(t, w) })
}

func killAndRelease(t *testing.T, w *world, d *Datasource) {
	w.await("crawler", guard.Allow)
	began := time.Now()
	status, got := post(t, d, person("ada", "Admin"), "kill", order("crawler"))
	took := time.Since(began)
	if status != http.StatusOK || got["confirmed"] != true || got["by"] != "ada" {
		t.Fatalf("kill: %d %v", status, got)
	}
	w.await("crawler", guard.Deny)
	t.Logf("from the request to the acknowledgements of all guards: %v", took)
	status, got = post(t, d, person("eve", "Editor"), "release", Order{Target: order("crawler").Target, Reason: "false alarm"})
	if status != http.StatusOK || got["confirmed"] != true {
		t.Fatalf("release: %d %v", status, got)
	}
	w.await("crawler", guard.Allow)
	var by []string
	for _, r := range rig.Read[revoke.Record](t, w.Rig, pipeline.TopicRevocations) {
		signed, err := w.verifier.Genuine([]byte(r.SET))
		if err != nil {
			t.Fatal(err)
		}
		by = append(by, fmt.Sprint(signed.By, " ", signed.Action, " ", signed.Subject))
	}
	if want := []string{"ada revoke crawler", "eve release crawler"}; !slices.Equal(by, want) {
		t.Errorf("the log of record has %v, want %v", by, want)
	}
}

func everyRole(t *testing.T, w *world, d *Datasource) {
	for _, c := range []struct {
		user *backend.User
		may  map[string]bool
	}{
		{nil, nil},
		{person("", "Admin"), nil},
		{person("ada", ""), nil},
		{person("ada", "None"), nil},
		{person("ada", "admin"), nil},
		{person("ada", "Viewer"), nil},
		{person("ada", "Editor"), map[string]bool{"release": true, "dismiss": true, "preview": true}},
		{person("ada", "Admin"), map[string]bool{"kill": true, "release": true, "approve": true, "dismiss": true, "preview": true}},
		{person("mallory", "Admin"), map[string]bool{"preview": true}}, // who has no key
	} {
		for path, body := range map[string]any{
			"kill": Order{Target: order("nobody").Target, For: "1s", Reason: "a test"}, "release": Order{Target: order("stranger").Target, Reason: "a test"},
			"approve": Verdict{ID: "nothing", Reason: "a test"}, "dismiss": Verdict{ID: "nothing", Reason: "a test"}, "preview": Order{Target: order("x").Target},
		} {
			status, got := post(t, d, c.user, path, body)
			// Without ClickHouse there is no queue; whoever may act comes so far.
			allowed := status != http.StatusForbidden
			if c.user != nil && c.user.Login == "mallory" && (path == "approve" || path == "dismiss") {
				continue // the queue is asked first
			}
			if allowed != c.may[path] {
				t.Errorf("%v, %s: %d %v", c.user, path, status, got)
			}
		}
	}
}

func otherSites(t *testing.T, w *world, d *Datasource) {
	body := []byte(`{"tenant":"t1","scope":"agent","subject":"victim","for":"15m","reason":"forged"}`)
	good := map[string][]string{"Content-Type": {"application/json; charset=utf-8"}, actHeader: {"1"}}
	without := func(name string) map[string][]string {
		h := map[string][]string{}
		for k, v := range good {
			if k != name {
				h[k] = v
			}
		}
		return h
	}
	with := func(name, value string) map[string][]string {
		h := without(name)
		h[name] = []string{value}
		return h
	}
	for name, r := range map[string]*backend.CallResourceRequest{
		"GET":           {Method: "GET", Headers: good},
		"no header":     {Method: "POST", Headers: without(actHeader)},
		"no type":       {Method: "POST", Headers: without("Content-Type")},
		"a form":        {Method: "POST", Headers: with("Content-Type", "application/x-www-form-urlencoded")},
		"text":          {Method: "POST", Headers: with("Content-Type", "text/plain")},
		"another site":  {Method: "POST", Headers: with("Sec-Fetch-Site", "cross-site")},
		"a sister site": {Method: "POST", Headers: with("Sec-Fetch-Site", "same-site")},
	} {
		r.Path, r.URL, r.Body = "kill", "kill", body
		if status, got := send(t, d, person("ada", "Admin"), r); status != http.StatusBadRequest {
			t.Errorf("%s: %d %v", name, status, got)
		}
	}
	w.await("victim", guard.Allow)
	if status, got := send(t, d, person("ada", "Admin"), &backend.CallResourceRequest{Method: "POST", Path: "kill", URL: "kill", Headers: good, Body: body}); status != http.StatusOK {
		t.Errorf("its own page: %d %v", status, got)
	}
	w.await("victim", guard.Deny)
}

func unclear(t *testing.T, w *world, d *Datasource) {
	good := order("unclear")
	for name, change := range map[string]func(*Order){
		"no tenant": func(o *Order) { o.Tenant = "" }, "no subject": func(o *Order) { o.Subject = "" }, "no scope": func(o *Order) { o.Scope = "" },
		"another scope": func(o *Order) { o.Scope = "everything" }, "no time": func(o *Order) { o.For = "" }, "a time of another kind": func(o *Order) { o.For = "soon" },
		"a time that is over": func(o *Order) { o.For = "-1m" }, "too long": func(o *Order) { o.For = "10000h" }, "no reason": func(o *Order) { o.Reason = "" },
		"a release as a kill": func(o *Order) { o.Action = revoke.Release }, "another action": func(o *Order) { o.Action = "explode" },
		"another tenant's name": func(o *Order) { o.Scope, o.Subject = revoke.Tenant, "zwei" }, "everything of one": func(o *Order) { o.Scope = revoke.Global },
	} {
		o := good
		change(&o)
		if status, got := post(t, d, person("ada", "Admin"), "kill", o); status != http.StatusBadRequest {
			t.Errorf("%s: %d %v", name, status, got)
		}
	}
	for _, text := range []string{``, `[]`, `{"tenant":`, `{"agent":"unclear"}`, `{"tenant":"t1"}{"tenant":"zwei"}`, `{"reason":"` + strings.Repeat("x", maxBody) + `"}`} {
		r := &backend.CallResourceRequest{Method: "POST", Path: "kill", URL: "kill", Body: []byte(text), Headers: map[string][]string{"Content-Type": {"application/json"}, actHeader: {"1"}}}
		if status, got := send(t, d, person("ada", "Admin"), r); status != http.StatusBadRequest {
			t.Errorf("%.40s: %d %v", text, status, got)
		}
	}
	w.await("unclear", guard.Allow)
	if status, got := post(t, d, person("ada", "Admin"), "release", Order{Target: good.Target, Reason: "a test"}); status != http.StatusNotFound {
		t.Errorf("a release of what is not stopped: %d %v", status, got)
	}
}

func outside(t *testing.T, w *world) {
	d := w.datasource(func(s *Settings) { s.AllTenants, s.Tenants = false, []string{"zwei"} })
	global := Order{Target: Target{Scope: revoke.Global}, For: "1m", Reason: "a test"}
	for _, o := range []Order{order("outside"), global} {
		for _, path := range []string{"kill", "release", "preview"} {
			if status, got := post(t, d, person("ada", "Admin"), path, o); status != http.StatusForbidden {
				t.Errorf("%s %s: %d %v", path, o.Scope, status, got)
			}
		}
	}
	w.await("outside", guard.Allow)
}

func two(t *testing.T, d *Datasource) {
	o := Order{Target: Target{Tenant: "t1", Scope: revoke.Tenant}, For: "1h", Reason: "a test"}
	if status, got := post(t, d, person("ada", "Admin"), "kill", o); status != http.StatusConflict {
		t.Errorf("one alone: %d %v", status, got)
	}
	o.Propose = true
	status, got := post(t, d, person("ada", "Admin"), "kill", o)
	if waits, ok := got["waits"].(map[string]any); status != http.StatusOK || !ok || waits["approval"] == "" {
		t.Errorf("a proposal: %d %v", status, got)
	}
}

func notSetUp(t *testing.T, w *world) {
	for name, change := range map[string]func(*Settings){
		"NATS": func(s *Settings) { s.NATS.URL = "" }, "Kafka": func(s *Settings) { s.Kafka.Brokers = nil }, "keys": func(s *Settings) { s.Keys = "" },
	} {
		d := w.datasource(change)
		status, got := post(t, d, person("ada", "Admin"), "kill", order("x"))
		if status != http.StatusServiceUnavailable || !strings.HasPrefix(fmt.Sprint(got["error"]), name) {
			t.Errorf("without %s: %d %v", name, status, got)
		}
	}
}

func queue(t *testing.T, w *world, d *Datasource) {
	waiting := must(t, d, Query{Kind: "waiting"})[0]
	if ids := column(waiting, "id"); !slices.Equal(ids, []string{"held-1"}) {
		t.Fatalf("%v waits", ids)
	}
	elsewhere := w.datasource(func(s *Settings) { s.AllTenants, s.Tenants = false, []string{"zwei"} })
	if status, got := post(t, elsewhere, person("ada", "Admin"), "approve", Verdict{ID: "held-1", Reason: "a test"}); status != http.StatusNotFound {
		t.Errorf("what waits of another tenant: %d %v", status, got)
	}
	if status, got := post(t, d, person("ada", "Admin"), "approve", Verdict{ID: "held-1", Reason: "same key"}); status != http.StatusOK || got["confirmed"] != true {
		t.Fatalf("approve: %d %v", status, got)
	}
	w.await("held-agent", guard.Deny)

	id := proposed(t, d, Order{Target: Target{Tenant: "zwei", Scope: revoke.Tenant}, For: "1h", Reason: "a test", Propose: true})
	if status, got := post(t, d, person("ada", "Admin"), "approve", Verdict{ID: id, Reason: "mine"}); status != http.StatusConflict {
		t.Errorf("the same person approves: %d %v", status, got)
	}
	if status, got := post(t, d, person("bob", "Admin"), "approve", Verdict{ID: id, Reason: "agreed"}); status != http.StatusOK {
		t.Errorf("another one approves: %d %v", status, got)
	}
	id = proposed(t, d, Order{Target: Target{Scope: revoke.Global}, For: "1h", Reason: "a test", Propose: true})
	for _, path := range []string{"approve", "dismiss"} {
		if status, got := post(t, elsewhere, person("bob", "Admin"), path, Verdict{ID: id, Reason: "a test"}); status != http.StatusForbidden {
			t.Errorf("%s of a stop of everything, by a data source of one tenant: %d %v", path, status, got)
		}
	}
	for _, g := range w.guards {
		rig.Await(t, time.Minute, func() error {
			if v := g.Check(&guard.Call{Tenant: "zwei", Agent: "anybody"}).Verdict; v != guard.Deny {
				return fmt.Errorf("tenant zwei gets %v", v)
			}
			return nil
		})
	}
}

// proposed lets an order of ada's wait, and returns its id once it is in the queue.
func proposed(t *testing.T, d *Datasource, o Order) (id string) {
	t.Helper()
	status, got := post(t, d, person("ada", "Admin"), "kill", o)
	if status != http.StatusOK {
		t.Fatalf("propose: %d %v", status, got)
	}
	id = got["waits"].(map[string]any)["order"].(map[string]any)["id"].(string)
	rig.Await(t, time.Minute, func() error {
		f := must(t, d, Query{Kind: "waiting"})[0]
		if i := slices.Index(column(f, "id"), id); i >= 0 && column(f, "ordered_by")[i] == "ada" {
			return nil
		}
		return fmt.Errorf("%v waits", column(f, "id"))
	})
	return id
}

func previews(t *testing.T, w *world, d *Datasource) {
	status, got := post(t, d, person("ada", "Admin"), "preview", Order{Target: Target{Tenant: "t1", Scope: revoke.Agent, Subject: "bad-t1"}})
	active, _ := got["active"].(map[string]any)
	if status != http.StatusOK || got["agents"] != 1.0 || got["calls"] != 4.0 || got["guards"] != 2.0 || got["held"] != 1.0 || got["stopped_by_detectors"] != 1.0 ||
		active["by"] != "loop" || got["two_to_stop"] != false || got["refused"] != nil {
		t.Errorf("an agent: %d %v", status, got)
	}
	status, got = post(t, d, person("ada", "Admin"), "preview", Order{Target: Target{Tenant: "t1", Scope: revoke.Agent, Subject: "boss-t1"}})
	if below := fmt.Sprint(got["below"]); status != http.StatusOK || below != "[bad-t1]" || got["active"] != nil || got["last_call"] != nil {
		t.Errorf("a parent: %d %v", status, got)
	}
	status, got = post(t, d, person("ada", "Admin"), "preview", Order{Target: Target{Tenant: "t1", Scope: revoke.Chain, Subject: "boss-t1"}})
	if status != http.StatusOK || got["agents"] != 1.0 || got["calls"] != 4.0 {
		t.Errorf("a chain: %d %v", status, got)
	}
	status, got = post(t, d, person("mallory", "Admin"), "preview", Order{Target: Target{Tenant: "t1", Scope: revoke.Tenant}})
	if status != http.StatusOK || got["refused"] == nil || got["calls"].(float64) < 10 {
		t.Errorf("whoever has no key: %d %v", status, got)
	}
	status, got = post(t, d, person("ada", "Admin"), "preview", Order{Target: Target{Tenant: "t1", Scope: revoke.Tenant}})
	if status != http.StatusOK || got["two_to_stop"] != true || got["two_to_release"] != false {
		t.Errorf("a tenant: %d %v", status, got)
	}
}

func TestAKeyThatOthersCanReadIsNobodys(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "operator-ada.jwk"), "{}")
	d := open(t, Settings{Keys: dir}, nil)
	if _, err := d.operatorKey("ada"); err == nil {
		t.Error("a file that is no key is one")
	}
	if _, err := d.operatorKey("../ada"); err == nil {
		t.Error("a login is taken for a path")
	}
}
