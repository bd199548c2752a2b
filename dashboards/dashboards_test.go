// Package dashboards_test runs every query of every panel on the real ClickHouse engine,
// over rows that a small run of the whole pipeline has made, with no more rights than the
// user grafana of deploy/clickhouse/estop.xml. Grafana's queries are tested, not Grafana.
package dashboards_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.yaml.in/yaml/v3"

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

// dashboard is as much of a Grafana dashboard as the tests look at.
type dashboard struct {
	UID        string  `json:"uid"`
	Panels     []panel `json:"panels"`
	Templating struct {
		List []struct {
			Name       string `json:"name"`
			Query      string `json:"query"`
			Datasource source `json:"datasource"`
		} `json:"list"`
	} `json:"templating"`
}

type source struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

type panel struct {
	ID          int    `json:"id"`
	Type        string `json:"type"`
	Title       string `json:"title"`
	Description string `json:"description"`
	Datasource  source `json:"datasource"`
	GridPos     struct{ H, W, X, Y int }
	FieldConfig struct {
		Defaults struct {
			Unit string `json:"unit"`
		} `json:"defaults"`
		Overrides []struct {
			Matcher struct {
				ID      string `json:"id"`
				Options string `json:"options"`
			} `json:"matcher"`
		} `json:"overrides"`
	} `json:"fieldConfig"`
	Targets []struct {
		RefID      string `json:"refId"`
		Datasource source `json:"datasource"`
		EditorType string `json:"editorType"`
		QueryType  string `json:"queryType"`
		Format     int    `json:"format"`
		RawSQL     string `json:"rawSql"`
	} `json:"targets"`
}

// The formats of a query.
const (
	formatTimeSeries = 0
	formatTable      = 1
)

func load(t *testing.T) dashboard {
	t.Helper()
	b, err := os.ReadFile("estop-overview.json")
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(b, &d); err != nil {
		t.Fatal(err)
	}
	if len(d.Panels) == 0 {
		t.Fatal("the dashboard has no panels")
	}
	return d
}

func TestEveryPanelSaysWhatItShowsAndInWhichUnit(t *testing.T) {
	var provisioned struct {
		Datasources []struct{ UID, Type string }
	}
	b, err := os.ReadFile("provisioning/datasources/estop.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(b, &provisioned); err != nil {
		t.Fatal(err)
	}
	want := source{provisioned.Datasources[0].Type, provisioned.Datasources[0].UID}
	d := load(t)
	ids, titles := map[int]bool{}, map[string]bool{}
	for _, p := range d.Panels {
		if ids[p.ID] || titles[p.Title] {
			t.Errorf("two panels are called %d, %q", p.ID, p.Title)
		}
		ids[p.ID], titles[p.Title] = true, true
		if len(p.Description) < 40 || p.FieldConfig.Defaults.Unit == "" {
			t.Errorf("%s: description %q, unit %q", p.Title, p.Description, p.FieldConfig.Defaults.Unit)
		}
		if p.GridPos.W == 0 || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("%s: does not fit on the grid: %+v", p.Title, p.GridPos)
		}
		for _, target := range p.Targets {
			if p.Datasource != want || target.Datasource != want {
				t.Errorf("%s: asks %+v, provisioned is %+v", p.Title, target.Datasource, want)
			}
			queryType := map[int]string{formatTimeSeries: "timeseries", formatTable: "table"}[target.Format]
			if target.EditorType != "sql" || target.QueryType != queryType {
				t.Errorf("%s: editor %q, query type %q, format %d", p.Title, target.EditorType, target.QueryType, target.Format)
			}
		}
	}
	for _, v := range d.Templating.List {
		if v.Datasource != want {
			t.Errorf("variable %s asks %+v", v.Name, v.Datasource)
		}
	}
}

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

func TestEveryQueryOfEveryPanelIsAnsweredWithRows(t *testing.T) {
	d := load(t)
	dir := t.TempDir()
	server := run(t, dir)
	now := time.Now()
	chosen := timeRange{now.Add(-3 * time.Hour), now.Add(time.Minute), 30 * time.Second}

	// The same data, but nobody is allowed more than Grafana's user.
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	_, o := chuser.Start(t, dir, "grafana")
	store, err := ch.Open(&o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	if _, err := ask(t, store, "INSERT INTO acks (guard) SELECT 'forged'"); err == nil {
		t.Error("Grafana's user can write")
	}

	for _, v := range d.Templating.List {
		f, err := ask(t, store, v.Query)
		if err != nil || !slices.Equal(f.column("tenant"), tenants) {
			t.Errorf("variable %s: %v, %v", v.Name, f.rows, err)
		}
	}
	frames := map[string]frame{}
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			query, err := expand(target.RawSQL, chosen, tenants)
			if err != nil {
				t.Errorf("%s: %v", p.Title, err)
				continue
			}
			f, err := ask(t, store, query)
			if err != nil {
				t.Errorf("%s: %v\n%s", p.Title, err, query)
				continue
			}
			if len(f.rows) == 0 {
				t.Errorf("%s: no rows", p.Title)
			}
			if target.Format == formatTimeSeries {
				checkTimeSeries(t, p, f)
			}
			for _, override := range p.FieldConfig.Overrides {
				if !slices.Contains(f.columns, override.Matcher.Options) {
					t.Errorf("%s: there is no column %q to override", p.Title, override.Matcher.Options)
				}
			}
			frames[p.Title] = f
		}
	}
	checkValues(t, frames)
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
	r.SendRecords(&kgo.Record{Topic: pipeline.TopicDetections, Value: fmt.Appendf(nil,
		`{"id":"canary","ts":%q,"detector":"loop","canary":true,"mode":"canary","tenant":"t1","agent":"tried"}`, now.Format(time.RFC3339Nano))})
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
