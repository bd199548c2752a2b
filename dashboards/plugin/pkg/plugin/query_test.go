package plugin

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/data"

	"github.com/estop-project/estop/pipeline/rig"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// attacks are what somebody may write into a field in the hope that it is taken for SQL.
var attacks = []string{
	`'`, `''`, `\`, `\'`, `\\'`, `"`, "`", `')`, `'] OR 1=1 --`, `') OR ('1'='1`, `' OR 1=1 --`, `' UNION ALL SELECT * FROM revocations --`,
	`'; DROP TABLE calls; --`, `'; INSERT INTO acks (guard) VALUES ('forged'); --`, `{tenants:Array(String)}`, `{x:Identifier}`, `/*conditions*/`,
	`*/ OR 1=1 /*`, `$1`, `?`, `@tenants`, `%27 OR 1=1`, `' || currentUser() || '`, `' AND sleepEachRow(3) AND '`, "tab\there", "line\nbreak", `\N`, `NULL`,
	`['a','b']`, `a','b`, `a\',\'b`, `🙂'`, `"] OR true OR ["`, `0x27`, `\x27 OR 1=1`,
}

func TestQueries(t *testing.T) {
	w := newWorld(t, rig.Options{ClickHouse: true})
	var extra []*telemetry.Call
	for i, text := range attacks {
		c := call("t1", fmt.Sprint("literal-", i), fmt.Sprint("literal-", i), time.Now().Add(-time.Duration(i)*time.Minute))
		c.Resource, c.Action = []byte(text), []byte("act "+text)
		extra = append(extra, c)
	}
	w.fill(extra...)
	all := w.datasource(nil)
	t.Run("every kind answers with rows", func(t *testing.T) { everyKind(t, all) })
	t.Run("what people write is a value and never SQL", func(t *testing.T) { injection(t, w, all) })
	t.Run("no query widens the tenants", func(t *testing.T) { tenantScope(t, w) })
	t.Run("answers are bounded and say so", func(t *testing.T) { bounds(t, all) })
	t.Run("a wrong query says what could be meant", func(t *testing.T) { wrongQueries(t, all) })
	t.Run("the access graph", func(t *testing.T) { accessGraph(t, w, all) })
	t.Run("the explanation", func(t *testing.T) { explanation(t, w, all) })
	t.Run("the preview", func(t *testing.T) { previews(t, w, all) })
	t.Run("the queue", func(t *testing.T) { queue(t, w, all) })
	t.Run("health", func(t *testing.T) { healthy(t, all) })
	t.Run("asked as Grafana asks", func(t *testing.T) { overGRPC(t, all) })
}

// detectionID is that of the detection of an agent.
func detectionID(t *testing.T, d *Datasource, agent string) string {
	t.Helper()
	ids := column(must(t, d, Query{Kind: "detections", Filters: map[string][]string{"agent": {agent}, "detector": {"loop"}}})[0], "id")
	if len(ids) == 0 {
		t.Fatalf("nothing was detected of %s", agent)
	}
	return ids[0]
}

func everyKind(t *testing.T, d *Datasource) {
	for _, name := range kindNames() {
		q := Query{Kind: name}
		switch name {
		case "access":
			q.Tenants, q.Agent = []string{"t1"}, "bad-t1"
		case "explanation":
			q.ID = byEvidence
		}
		formats := []string{formatTable}
		if kinds[name].series != "" {
			formats = append(formats, formatSeries)
		}
		for _, q.Format = range formats {
			began := time.Now()
			frames := must(t, d, q)
			t.Logf("%s %s took %v", name, q.Format, time.Since(began))
			if len(frames) == 0 {
				t.Errorf("%s %s: no frames", name, q.Format)
			}
			for _, f := range frames {
				if f.Rows() == 0 {
					t.Errorf("%s %s: frame %q is empty", name, q.Format, f.Name)
				}
				if _, err := f.MarshalArrow(); err != nil {
					t.Errorf("%s %s: Grafana cannot read it: %v", name, q.Format, err)
				}
				if q.Format == formatSeries && f.TimeSeriesSchema().Type != data.TimeSeriesTypeWide {
					t.Errorf("%s is drawn from no time series: %v", name, f.TimeSeriesSchema().Type)
				}
			}
		}
	}
	if got := column(must(t, d, Query{Kind: "stopped_now"})[0], "subject"); !slices.Contains(got, "bad-t1") || !slices.Contains(got, "bad-zwei") || len(got) != 2 {
		t.Errorf("stopped now: %v", got)
	}
	if got := column(must(t, d, Query{Kind: "tenants"})[0], "value"); !slices.Equal(got, []string{"t1", "zwei"}) {
		t.Errorf("tenants: %v", got)
	}
	coverage := must(t, d, Query{Kind: "coverage"})[0]
	if known, confirmed := column(coverage, "known"), column(coverage, "confirmed"); !slices.Equal(known, confirmed) || !slices.Contains(known, "2") {
		t.Errorf("coverage: %v of %v", confirmed, known)
	}
}

// injection asks with every attack in every field. Where it is the value of a row that row comes, and nothing else.
func injection(t *testing.T, w *world, d *Datasource) {
	counts := func() (n [3]uint64) {
		for i, table := range []string{"calls", "revocations", "acks"} {
			n[i] = w.Number("SELECT count() FROM " + table)
		}
		return n
	}
	before := counts()
	for i, text := range attacks {
		for field, q := range map[string]Query{
			"resource": {Kind: "calls", Filters: map[string][]string{"resource": {text}}},
			"action":   {Kind: "calls", Filters: map[string][]string{"action": {"act " + text}}},
			"several":  {Kind: "calls", Filters: map[string][]string{"resource": {"nothing", text}, "agent": {fmt.Sprint("literal-", i)}}},
		} {
			f := must(t, d, q)[0]
			if got := column(f, "resource"); !slices.Equal(got, []string{text}) {
				t.Errorf("%q as %s: the resources are %q", text, field, got)
			}
		}
		for _, q := range []Query{{Kind: "access", Tenants: []string{"t1"}, Agent: text}, {Kind: "access", Tenants: []string{text}, Agent: "bad-t1"}} {
			if n := must(t, d, q)[1].Rows(); n != 0 {
				t.Errorf("%q in %+v: %d edges", text, q, n)
			}
		}
		for _, q := range []Query{
			{Kind: text}, {Kind: "calls", Format: text}, {Kind: "calls", Filters: map[string][]string{text: {"x"}}}, {Kind: "explanation", ID: text},
			{Kind: "calls", Filters: map[string][]string{"resource) OR (agent": {"x"}}},
		} {
			if r := ask(t, d, q); r.Error == nil || r.Status != backend.StatusBadRequest {
				t.Errorf("%q in %+v: status %d, %v", text, q, r.Status, r.Error)
			}
		}
	}
	// No value of any other column is an attack, so all of them together find nothing.
	for name, k := range kinds {
		if name != "guards" { // one that serves all tenants serves these too
			for _, f := range must(t, d, Query{Kind: name, Tenants: attacks}) {
				if f.Rows() != 0 {
					t.Errorf("%s of no tenant: %d rows", name, f.Rows())
				}
			}
		}
		for filter := range k.filters {
			f := must(t, d, Query{Kind: name, Filters: map[string][]string{filter: attacks}})[0]
			if n := f.Rows(); n != 0 && (name != "calls" || filter != "resource") {
				t.Errorf("%s, filter %s: %d rows", name, filter, n)
			}
		}
	}
	if after := counts(); after != before {
		t.Errorf("the tables had %v rows and have %v", before, after)
	}
}

func tenantScope(t *testing.T, w *world) {
	d := w.datasource(func(s *Settings) { s.AllTenants, s.Tenants = false, []string{"t1"} })
	all := w.datasource(nil)
	for _, name := range kindNames() {
		for _, q := range []Query{{Kind: name}, {Kind: name, Tenants: []string{"t1"}}} {
			q.Agent, q.ID = "bad-t1", detectionID(t, d, "bad-t1")
			for _, f := range must(t, d, q) {
				for _, field := range f.Fields {
					for _, text := range column(f, field.Name) {
						if strings.Contains(text, "zwei") {
							t.Errorf("%s: %s is %q", name, field.Name, text)
						}
					}
				}
			}
		}
		for _, others := range [][]string{{"zwei"}, {"t1", "zwei"}, {""}, {"~"}} {
			if r := ask(t, d, Query{Kind: name, Tenants: others, Agent: "bad-zwei"}); r.Status != backend.StatusForbidden {
				t.Errorf("%s of %q: status %d, %v", name, others, r.Status, r.Error)
			}
		}
	}
	if r := ask(t, d, Query{Kind: "explanation", ID: detectionID(t, all, "bad-zwei")}); r.Error == nil {
		t.Error("a detection of another tenant is explained")
	}
	if f := must(t, d, Query{Kind: "access", Agent: "bad-zwei"})[1]; f.Rows() != 0 {
		t.Error("the surroundings of another tenant's agent are drawn")
	}
	nothing := w.datasource(func(s *Settings) { s.AllTenants = false })
	if r := ask(t, nothing, Query{Kind: "calls"}); r.Status != backend.StatusForbidden {
		t.Errorf("settings without tenants show something: status %d", r.Status)
	}
}

func bounds(t *testing.T, d *Datasource) {
	f := must(t, d, Query{Kind: "calls", Limit: 2})[0]
	if f.Rows() != 2 || f.Meta == nil || len(f.Meta.Notices) != 1 {
		t.Errorf("%d rows, notices %v", f.Rows(), f.Meta)
	}
	now := time.Now()
	a, err := d.parse(backend.DataQuery{JSON: json.RawMessage(`{"kind":"calls","format":"timeseries","limit":99999999}`), Interval: time.Millisecond,
		TimeRange: backend.TimeRange{From: now.Add(-365 * 24 * time.Hour), To: now}})
	if err != nil || a.limit != d.settings.Rows || a.to.Sub(a.from)/a.step > maxSteps+1 {
		t.Errorf("a year in milliseconds: %d rows in steps of %v, %v", a.limit, a.step, err)
	}
	graph := must(t, d, Query{Kind: "access", Tenants: []string{"t1"}, Agent: "bad-t1", Limit: 2})
	if graph[1].Rows() != 2 || graph[1].Meta.Notices == nil {
		t.Errorf("%d edges are drawn of 2", graph[1].Rows())
	}
}

func wrongQueries(t *testing.T, d *Datasource) {
	many := make([]string, maxValues+1)
	for _, c := range []struct {
		q    Query
		want string
	}{
		{Query{}, "is none of access, agents, calls"},
		{Query{Kind: "detection"}, `did you mean "detections"`},
		{Query{Kind: "calls", Format: "logs"}, "neither table nor timeseries"},
		{Query{Kind: "stopped_now", Format: formatSeries}, "no time series"},
		{Query{Kind: "calls", Filters: map[string][]string{"agnet": {"x"}}}, `did you mean "agent"`},
		{Query{Kind: "calls", Filters: map[string][]string{"agent": many}}, "more than"},
		{Query{Kind: "calls", Filters: map[string][]string{"agent": {strings.Repeat("x", maxValue+1)}}}, "bytes"},
		{Query{Kind: "access", Tenants: []string{"t1"}}, "name both"},
		{Query{Kind: "explanation"}, "name the id"},
		{Query{Kind: "explanation", ID: "nothing"}, "no detection has the id"},
	} {
		r := ask(t, d, c.q)
		if r.Status != backend.StatusBadRequest || r.Error == nil || !strings.Contains(strings.ToLower(r.Error.Error()), strings.ToLower(c.want)) {
			t.Errorf("%+v: status %d, %v; want %q", c.q.Kind, r.Status, r.Error, c.want)
		}
	}
}

func healthy(t *testing.T, d *Datasource) {
	r, err := d.CheckHealth(t.Context(), nil)
	if err != nil || r.Status != backend.HealthStatusOk || strings.Contains(r.Message, "Not set up") {
		t.Errorf("%v, %v", r, err)
	}
}
