// Package dashboards_test runs every query of every panel on the real ClickHouse engine,
// over rows that a small run of the whole pipeline has made, with no more rights than the
// user grafana of deploy/clickhouse/estop.xml. Grafana's queries are tested, not Grafana.
package dashboards_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/twmb/franz-go/pkg/kgo"

	chuser "github.com/estop-project/estop/deploy/clickhouse"
	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/pipeline/archive"
	engine "github.com/estop-project/estop/pipeline/embedded/clickhouse"
	"github.com/estop-project/estop/pipeline/rig"
	"github.com/estop-project/estop/pipeline/telemetry"
	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/guard"
)

func TestMain(m *testing.M) { rig.Main(m) }

// frame is the answer to a query.
type frame struct {
	columns []string
	types   []string
	rows    [][]any
}

func ask(t *testing.T, store driver.Conn, query string) (frame, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	rows, err := store.Query(ctx, query)
	if err != nil {
		return frame{}, err
	}
	defer rows.Close()
	f := frame{columns: rows.Columns()}
	for _, c := range rows.ColumnTypes() {
		f.types = append(f.types, c.DatabaseTypeName())
	}
	for rows.Next() {
		row := make([]any, len(f.columns))
		for i, c := range rows.ColumnTypes() {
			row[i] = newValue(c)
		}
		if err := rows.Scan(row...); err != nil {
			return f, err
		}
		f.rows = append(f.rows, row)
	}
	return f, rows.Err()
}

// column returns the values of a column as texts.
func (f frame) column(name string) []string {
	i := slices.Index(f.columns, name)
	var all []string
	for _, row := range f.rows {
		all = append(all, text(row[i]))
	}
	return all
}

// answers runs every query of the dashboards, and returns the frames by dashboard and title of the panel. An annotation
// is answered under its name.
func answers(t *testing.T, store driver.Conn, chosen timeRange, choice map[string][]string) map[string]map[string]frame {
	t.Helper()
	all := map[string]map[string]frame{}
	for _, d := range dashboards(t) {
		all[d.UID] = map[string]frame{}
		for title, sql := range d.queries() {
			query, err := expand(sql, chosen, choice)
			if err != nil {
				t.Errorf("%s: %s: %v", d.UID, title, err)
				continue
			}
			f, err := ask(t, store, query)
			if err != nil {
				t.Errorf("%s: %s: %v\n%s", d.UID, title, err, query)
				continue
			}
			all[d.UID][title] = f
		}
	}
	return all
}

func TestEveryQueryOfEveryPanelIsAnsweredWithRows(t *testing.T) {
	dir := t.TempDir()
	server := run(t, dir)
	now := time.Now()
	chosen := timeRange{now.Add(-3 * time.Hour), now.Add(time.Minute), 30 * time.Second}

	// The same data, but nobody is allowed more than Grafana's user.
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	store := asGrafana(t, dir)
	if _, err := ask(t, store, "INSERT INTO acks (guard) SELECT 'forged'"); err == nil {
		t.Error("Grafana's user can write")
	}

	choice := map[string][]string{"tenant": tenants, "detector": {"loop", "steady"}, "canary": {"loop"}, "version": {"tried"}}
	for _, d := range dashboards(t) {
		for _, v := range d.Templating.List {
			query, err := expand(v.Query, chosen, choice)
			if err != nil {
				t.Errorf("variable %s: %v", v.Name, err)
				continue
			}
			f, err := ask(t, store, query)
			if err != nil || len(f.columns) != 1 || !slices.Equal(f.column(f.columns[0]), choice[v.Name]) {
				t.Errorf("variable %s: %v, %v", v.Name, f.rows, err)
			}
		}
	}
	frames := answers(t, store, chosen, choice)
	for _, d := range dashboards(t) {
		for _, p := range d.Panels {
			f, asked := frames[d.UID][p.Title]
			if !asked {
				continue
			}
			if len(f.rows) == 0 {
				t.Errorf("%s: no rows", p.Title)
			}
			if p.Targets[0].Format == formatTimeSeries {
				checkTimeSeries(t, p, f)
			}
			for _, override := range p.FieldConfig.Overrides {
				if !slices.Contains(f.columns, override.Matcher.Options) {
					t.Errorf("%s: there is no column %q to override", p.Title, override.Matcher.Options)
				}
			}
		}
	}
	if marks := frames["estop-detectors"]["New versions"]; !slices.Equal(marks.columns, []string{"time", "text", "tags"}) || len(marks.rows) == 0 {
		t.Errorf("new versions are marked with %v: %v", marks.columns, marks.rows)
	}
	checkValues(t, frames["estop-overview"])
}

func TestANewInstallationAnswersEveryQueryAndSaysWhatToDo(t *testing.T) {
	dir := t.TempDir()
	server, o := chuser.Start(t, dir, "estop")
	if err := archive.Migrate(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	// Grafana has nothing to choose from: no values of the variables with several, and an empty one of the others.
	nothing := map[string][]string{"tenant": nil, "detector": nil, "canary": {""}, "version": {""}}
	frames := answers(t, asGrafana(t, dir), timeRange{now.Add(-time.Hour), now, 30 * time.Second}, nothing)
	for _, d := range dashboards(t) {
		for _, p := range d.Panels {
			f, asked := frames[d.UID][p.Title]
			if asked && len(f.rows) > 0 && p.Type != "stat" {
				t.Errorf("%s: %s shows rows of nothing: %v", d.UID, p.Title, f.rows)
			}
		}
	}
}

// asGrafana opens the data in dir with the rights of Grafana's user.
func asGrafana(t *testing.T, dir string) driver.Conn {
	t.Helper()
	_, o := chuser.Start(t, dir, "grafana")
	store, err := ch.Open(&o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return store
}

// checkTimeSeries holds what Grafana needs to draw lines: times that rise, at most one
// name of a series, and numbers.
func checkTimeSeries(t *testing.T, p panel, f frame) {
	t.Helper()
	names := 0
	for i, kind := range f.types {
		switch {
		case i == 0:
			if f.columns[0] != "time" || !strings.HasPrefix(kind, "DateTime") {
				t.Errorf("%s: the first column is %s of type %s, not a time", p.Title, f.columns[0], kind)
			}
		case strings.Contains(kind, "String"):
			names++
		case !strings.Contains(kind, "Int") && !strings.Contains(kind, "Float"):
			t.Errorf("%s: column %s of type %s cannot be drawn", p.Title, f.columns[i], kind)
		}
	}
	if names > 1 {
		t.Errorf("%s: %d columns name the series", p.Title, names)
	}
	if times := f.column("time"); !slices.IsSorted(times) {
		t.Errorf("%s: the times do not rise", p.Title)
	}
}

// checkValues holds what the run below did to what the panels say.
func checkValues(t *testing.T, frames map[string]frame) {
	t.Helper()
	for _, c := range []struct {
		panel, column string
		want          []string
	}{
		{"Stopped now", "stopped", []string{"2"}},
		{"Who is stopped now", "subject", []string{"bad-t2", "bad-t1"}},
		{"Who is stopped now", "acknowledged", []string{"2", "2"}},
		{"Who is stopped now", "stopped_by", []string{"loop", "loop"}},
		{"Lowest coverage", "coverage", []string{"1"}},
		{"Dead letters", "dead_letters", []string{"1"}},
		{"Dead letters by reason", "dead_letters", []string{"1"}},
	} {
		f, ok := frames[c.panel]
		if !ok {
			t.Errorf("there is no panel %q", c.panel)
			continue
		}
		if got := f.column(c.column); !slices.Equal(got, c.want) {
			t.Errorf("%s: %s is %v, want %v", c.panel, c.column, got, c.want)
		}
	}
	if all := frames["Detections: observed and expected"].column("agent"); slices.Contains(all, "tried") {
		t.Errorf("a canary's detection is shown: %v", all)
	} else if n := frames["Detections"].column("detections"); !slices.Equal(n, []string{fmt.Sprint(len(all))}) {
		t.Errorf("%v detections are counted, %d shown", n, len(all))
	}
	if by := frames["Detections by detector"].column("series"); slices.Contains(by, "loop (canary)") {
		t.Errorf("a canary's detection is drawn: %v", by)
	}
	for _, c := range []struct {
		panel, column string
		some          []string
	}{
		{"Calls by tenant and outcome", "series", []string{"t1 ok", "t1 denied", "t2 ok"}},
		{"Detections: observed and expected", "agent", []string{"bad-t1", "bad-t2", "freed"}},
		{"New access edges", "series", []string{"resource", "identity", "action"}},
		{"Coverage of revocations", "subject", []string{"bad-t1", "bad-t2", "freed"}},
	} {
		got := frames[c.panel].column(c.column)
		for _, s := range c.some {
			if !slices.Contains(got, s) {
				t.Errorf("%s: %s is %v, without %q", c.panel, c.column, got, s)
			}
		}
	}
}

var tenants = []string{"t1", "t2"}

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

// run lets honest and bad agents of two tenants call, two guards enforce and acknowledge,
// one stopped agent be released, and one record be no call, until ClickHouse has all of it.
// The archive writes to dir with the rights of its user. It has ended when run returns.
func run(t *testing.T, dir string) *engine.Server {
	t.Helper()
	server, store := chuser.Start(t, dir, "estop")
	r := rig.New(t, rig.Options{})
	archived := startArchive(t, r, store)
	r.Acks()
	r.Detect(rig.Plan(t, loop, watched))
	guards := []*guard.Guard{r.Guard("gate-1"), r.Guard("gate-2")}

	now := time.Now()
	// Slots that have passed are sampled, and a minute of the calls' own time lies between samples.
	for i := range 6 {
		c := call("t1", "slow", fmt.Sprint("slow-", i), now.Add(time.Duration(i-12)*10*time.Minute))
		c.Outcome = []telemetry.Outcome{telemetry.OutcomeOK, telemetry.OutcomeDenied, telemetry.OutcomeError}[i%3]
		r.Send(c)
	}
	r.SendRecords(&kgo.Record{Topic: pipeline.TopicCalls, Key: []byte("t1/broken"), Value: []byte("{broken")})
	for i, bad := range []struct{ tenant, agent string }{{"t1", "freed"}, {"t1", "bad-t1"}, {"t2", "bad-t2"}} {
		for n := range 4 {
			r.Send(call(bad.tenant, bad.agent, fmt.Sprint(bad.agent, n), now.Add(time.Duration(i*100+n)*time.Millisecond)))
		}
		for _, g := range guards {
			rig.Await(t, time.Minute, func() error {
				if v := g.Check(&guard.Call{Tenant: bad.tenant, Agent: bad.agent}).Verdict; v != guard.Deny {
					return fmt.Errorf("%s gets %v", bad.agent, v)
				}
				return nil
			})
		}
	}
	release(t, r, "t1", "freed")
	r.Judged()
	for _, value := range []string{
		`{"id":"canary","ts":%q,"detector":"loop","version":"tried","canary":true,"mode":"canary","tenant":"t1","agent":"tried"}`,
		`{"id":"steady","ts":%q,"detector":"steady","version":"s1","mode":"alert","tenant":"t1","entity_by":"agent","agent":"slow","reason":"evidence","budget":"1 per 1000 agent-days"}`,
	} {
		r.SendRecords(&kgo.Record{Topic: pipeline.TopicDetections, Value: fmt.Appendf(nil, value, now.Format(time.RFC3339Nano))})
	}
	r.SendRecords(&kgo.Record{Topic: pipeline.TopicChanges, Value: fmt.Appendf(nil,
		`{"id":"1","number":1,"ts":%q,"detector":"steady","kind":"added","version_now":"s1","mode_now":"alert","by":"somebody"}`, now.Format(time.RFC3339Nano))})
	rig.Await(t, time.Minute, func() error {
		if n := len(rig.Read[revoke.Ack](t, r, pipeline.TopicAcks)); n < 8 {
			return fmt.Errorf("%d acknowledgements", n)
		}
		return nil
	})
	rig.Await(t, 2*time.Minute, func() error { return r.Lag(archive.DefaultGroup, archive.Topics()...) })
	archived()
	return server
}

// startArchive starts the archive role. What it returns ends it in good order.
func startArchive(t *testing.T, r *rig.Rig, store ch.Options) (stop func()) {
	t.Helper()
	a, err := archive.New(archive.Options{
		Kafka: r.Seeds(), ClickHouse: store, MaxWait: 200 * time.Millisecond, Logger: r.Journal.Logger(),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the archive ended with %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func call(tenant, agent, id string, at time.Time) *telemetry.Call {
	c := rig.Call(id, agent, "doc-1", at)
	c.Tenant = []byte(tenant)
	return c
}

// release ends an agent's revocation, and writes the release down, as 'estop release' does.
func release(t *testing.T, r *rig.Rig, tenant, agent string) {
	t.Helper()
	client, err := revoke.NewClient(t.Context(), r.Connect(r.NATS.DetectorURL()), revoke.ClientOptions{Signer: r.Signer, By: "somebody", Expect: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	record, err := client.ReleaseRecord(t.Context(), tenant, revoke.Agent, agent, "a test", 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Send(t.Context(), record); err != nil {
		t.Fatal(err)
	}
	r.SendRecords(pipeline.RevocationRecord(record))
}
