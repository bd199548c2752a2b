package plugin

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/data"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/pipeline/archive"
	"github.com/estop-project/estop/pipeline/rig"
	"github.com/estop-project/estop/pipeline/telemetry"
	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/coverage"
	"github.com/estop-project/estop/revoke/guard"
)

func TestMain(m *testing.M) { rig.Main(m) }

// world is a running estop, with keys of three operators, and two guards that trust them.
type world struct {
	*rig.Rig
	t        *testing.T
	keys     string
	verifier revoke.Verifier
	guards   []*guard.Guard
}

// newWorld starts one. It takes two operators to stop a whole tenant.
func newWorld(t *testing.T, o rig.Options) *world {
	t.Helper()
	w := &world{Rig: rig.New(t, o), t: t, keys: t.TempDir()}
	w.verifier = w.Signer.Verifier()
	w.verifier.Rules.TwoPerson = []revoke.Demand{revoke.TwoForTenant}
	for _, name := range []string{"ada", "bob", "eve"} {
		s, err := revoke.GenerateKey()
		if err != nil {
			t.Fatal(err)
		}
		s.Role, s.Name = revoke.OperatorRole, name
		for kid, key := range s.Verifier().Keys {
			w.verifier.Keys[kid] = key
		}
		if err := revoke.SaveSigner(filepath.Join(w.keys, "operator-"+name+".jwk"), s); err != nil {
			t.Fatal(err)
		}
	}
	if err := revoke.SaveVerifier(filepath.Join(w.keys, "verifier.jwks"), w.verifier); err != nil {
		t.Fatal(err)
	}
	w.Acks(func(o *pipeline.AcksOptions) { o.Verifier = w.verifier })
	for _, name := range []string{"gate-1", "gate-2"} {
		w.guards = append(w.guards, w.guard(name))
	}
	nc := w.Connect(w.NATS.DetectorURL())
	rig.Await(t, time.Minute, func() error {
		known, err := coverage.Ask(t.Context(), nc, "t1")
		if err != nil || len(known) < len(w.guards) {
			return fmt.Errorf("the register knows %d guards: %v", len(known), err)
		}
		return nil
	})
	return w
}

func (w *world) guard(name string) *guard.Guard {
	w.t.Helper()
	g, err := guard.New(guard.Options{Name: name, Conn: w.Connect(w.NATS.URL()), Verifier: w.verifier, All: true, Report: 100 * time.Millisecond})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := g.Start(context.Background()); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { g.Close() })
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := g.WaitSynced(ctx); err != nil {
		w.t.Fatal(err)
	}
	return g
}

// await waits until all guards say a verdict of an agent of tenant t1.
func (w *world) await(agent string, want guard.Verdict) {
	w.t.Helper()
	for _, g := range w.guards {
		rig.Await(w.t, time.Minute, func() error {
			if v := g.Check(&guard.Call{Tenant: "t1", Agent: agent}).Verdict; v != want {
				return fmt.Errorf("%s gets %v, not %v", agent, v, want)
			}
			return nil
		})
	}
}

// datasource opens a data source on the world, with the settings changed as wanted.
func (w *world) datasource(change func(*Settings)) *Datasource {
	w.t.Helper()
	s := Settings{
		AllTenants: true, NATS: NATS{URL: w.NATS.DetectorURL()}, Kafka: Kafka{Brokers: w.Brokers}, Keys: w.keys, Seconds: 60, Wait: 60,
	}
	secrets := map[string]string{}
	if o := w.ClickHouse(); o.Addr[0] != "" {
		s.ClickHouse = ClickHouse{Addr: o.Addr[0], User: o.Auth.Username, Database: o.Auth.Database}
		secrets[secretClickHouse] = o.Auth.Password
	}
	if change != nil {
		change(&s)
	}
	return open(w.t, s, secrets)
}

func open(t *testing.T, s Settings, secrets map[string]string) *Datasource {
	t.Helper()
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	instance, err := New(t.Context(), backend.DataSourceInstanceSettings{UID: "estop", JSONData: b, DecryptedSecureJSONData: secrets})
	if err != nil {
		t.Fatal(err)
	}
	d := instance.(*Datasource)
	t.Cleanup(d.Dispose)
	return d
}

// ask answers one query about the last three hours.
func ask(t *testing.T, d *Datasource, q Query) backend.DataResponse {
	t.Helper()
	b, err := json.Marshal(q)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	r, err := d.QueryData(t.Context(), &backend.QueryDataRequest{Queries: []backend.DataQuery{{
		RefID: "A", JSON: b, Interval: 30 * time.Second, TimeRange: backend.TimeRange{From: now.Add(-3 * time.Hour), To: now.Add(time.Minute)},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return r.Responses["A"]
}

// must is ask where nothing may go wrong.
func must(t *testing.T, d *Datasource, q Query) data.Frames {
	t.Helper()
	r := ask(t, d, q)
	if r.Error != nil {
		t.Fatalf("%s %s: %v", q.Kind, q.Format, r.Error)
	}
	return r.Frames
}

// column returns the values of a column as texts.
func column(f *data.Frame, name string) []string {
	field, _ := f.FieldByName(name)
	if field == nil {
		return nil
	}
	var all []string
	for i := range field.Len() {
		v, _ := field.ConcreteAt(i)
		all = append(all, fmt.Sprint(v))
	}
	return all
}

// post calls a resource as the plugin's own pages do.
func post(t *testing.T, d *Datasource, user *backend.User, path string, body any) (int, map[string]any) {
	t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	return send(t, d, user, &backend.CallResourceRequest{
		Method: "POST", Path: path, URL: path, Body: b, Headers: map[string][]string{"Content-Type": {"application/json"}, actHeader: {"1"}},
	})
}

func send(t *testing.T, d *Datasource, user *backend.User, req *backend.CallResourceRequest) (int, map[string]any) {
	t.Helper()
	req.PluginContext = backend.PluginContext{User: user}
	status, got := 0, map[string]any{}
	err := d.CallResource(t.Context(), req, backend.CallResourceResponseSenderFunc(func(r *backend.CallResourceResponse) error {
		status = r.Status
		return json.Unmarshal(r.Body, &got)
	}))
	if err != nil {
		t.Fatal(err)
	}
	return status, got
}

func person(login, role string) *backend.User { return &backend.User{Login: login, Role: role} }

const loop = `id: loop
title: More calls than an agent of this test ever makes
severity: high
mode: enforce
group_by: agent
when: count(calls, 10s) > 3
response: {action: revoke, scope: agent, for: 15m}
`

const watched = `id: baseline
title: A baseline that writes samples
mode: observe
group_by: agent
baseline: [{feature: "count(calls, 10s)"}]
budget: 1 per 1000 agent-days
warmup: {calls: 1, slots: 1}
`

// fill lets agents of two tenants call until two of them are stopped and the archive has all of it.
func (w *world) fill(extra ...*telemetry.Call) {
	w.t.Helper()
	w.Archive()
	w.Detect(rig.Plan(w.t, loop, watched))
	now := time.Now()
	for i := range 6 {
		c := call("t1", "slow", fmt.Sprint("slow-", i), now.Add(time.Duration(i-12)*10*time.Minute))
		c.Outcome = []telemetry.Outcome{telemetry.OutcomeOK, telemetry.OutcomeDenied, telemetry.OutcomeError}[i%3]
		w.Send(c)
	}
	w.Send(extra...)
	for _, tenant := range []string{"t1", "zwei"} {
		agent := "bad-" + tenant
		for n := range 4 {
			c := call(tenant, agent, fmt.Sprint(agent, n), now.Add(time.Duration(n)*time.Millisecond))
			c.Chain = [][]byte{[]byte("boss-" + tenant), []byte(agent)}
			w.Send(c)
		}
		for _, g := range w.guards {
			rig.Await(w.t, time.Minute, func() error {
				if v := g.Check(&guard.Call{Tenant: tenant, Agent: agent}).Verdict; v != guard.Deny {
					return fmt.Errorf("%s gets %v", agent, v)
				}
				return nil
			})
		}
	}
	w.Judged()
	w.held()
	w.SendRecords(&kgo.Record{Topic: pipeline.TopicDetections, Value: fmt.Appendf(nil, `{"id":%q,"ts":%q,"detector":"baseline","version":"b1","mode":"alert",
		"tenant":"t1","entity_by":"agent","entity":"slow","agent":"slow","call_id":"slow-5","reason":"evidence","log_evidence":7.5,"log_level":6.9,"budget":"1 per 1000 agent-days",
		"features":[{"feature":"count(calls, 10s)","observed":9,"known":true,"expected":1,"low":0,"high":4,"log_p":-7.5,"log_evidence":7.5}]}`,
		byEvidence, now.Add(-70*time.Minute).Format(time.RFC3339Nano))})
	rig.Await(w.t, time.Minute, func() error {
		if n := len(rig.Read[revoke.Ack](w.t, w.Rig, pipeline.TopicAcks)); n < 4 {
			return fmt.Errorf("%d acknowledgements", n)
		}
		return nil
	})
	w.archived()
}

// byEvidence is the id of a detection by evidence, of which the run has samples.
const byEvidence = "by-evidence"

// held lets a stop wait for a person.
func (w *world) held() {
	now := time.Now()
	w.SendRecords(pipeline.DecisionRecord(revoke.Decision{
		Verdict: revoke.Held, At: now, Why: "held back by the interlock",
		Order: revoke.Revocation{
			ID: "held-1", Tenant: "t1", Scope: revoke.Agent, Subject: "held-agent", Action: revoke.Revoke, IssuedAt: now, Until: now.Add(time.Hour),
			Detector: "loop", Initiator: revoke.Policy, Reason: "count(calls, 10s) > 3",
		},
	}))
}

// archived waits until ClickHouse has what Kafka has.
func (w *world) archived() {
	w.t.Helper()
	rig.Await(w.t, 2*time.Minute, func() error { return w.Lag(archive.DefaultGroup, archive.Topics()...) })
}

func call(tenant, agent, id string, at time.Time) *telemetry.Call {
	c := rig.Call(id, agent, "doc-1", at)
	c.Tenant = []byte(tenant)
	return c
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
