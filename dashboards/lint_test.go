package dashboards_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/estop-project/estop/pipeline/rig"
)

// dashboard is as much of a Grafana dashboard as the tests look at.
type dashboard struct {
	UID         string  `json:"uid"`
	Title       string  `json:"title"`
	Panels      []panel `json:"panels"`
	Annotations struct {
		List []struct {
			Name       string `json:"name"`
			Datasource source `json:"datasource"`
			Target     target `json:"target"`
		} `json:"list"`
	} `json:"annotations"`
	Links []struct {
		URL         string `json:"url"`
		IncludeVars bool   `json:"includeVars"`
		KeepTime    bool   `json:"keepTime"`
	} `json:"links"`
	Templating struct {
		List []struct {
			Name       string `json:"name"`
			Query      string `json:"query"`
			Datasource source `json:"datasource"`
		} `json:"list"`
	} `json:"templating"`

	file string
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
			Unit    string `json:"unit"`
			NoValue string `json:"noValue"`
		} `json:"defaults"`
		Overrides []struct {
			Matcher struct {
				ID      string `json:"id"`
				Options string `json:"options"`
			} `json:"matcher"`
		} `json:"overrides"`
	} `json:"fieldConfig"`
	Targets []target `json:"targets"`
}

// target is a question to ClickHouse, in SQL, or to Prometheus.
type target struct {
	RefID      string `json:"refId"`
	Datasource source `json:"datasource"`
	EditorType string `json:"editorType"`
	QueryType  string `json:"queryType"`
	Format     int    `json:"format"`
	RawSQL     string `json:"rawSql"`
	Expr       string `json:"expr"`
	Legend     string `json:"legendFormat"`
}

// The formats of a query.
const (
	formatTimeSeries = 0
	formatTable      = 1
)

// dashboards reads those that Grafana is given.
func dashboards(t *testing.T) []dashboard {
	t.Helper()
	files, err := filepath.Glob("*.json")
	if err != nil || len(files) < 2 {
		t.Fatalf("dashboards: %v, %v", files, err)
	}
	var all []dashboard
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		d := dashboard{file: file}
		if err := json.Unmarshal(b, &d); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if len(d.Panels) == 0 {
			t.Fatalf("%s has no panels", file)
		}
		all = append(all, d)
	}
	return all
}

// queries returns what the dashboard asks ClickHouse, by the title of the panel or the name of the annotation.
func (d dashboard) queries() map[string]string {
	all := map[string]string{}
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			if target.RawSQL != "" {
				all[p.Title] = target.RawSQL
			}
		}
	}
	for _, a := range d.Annotations.List {
		all[a.Name] = a.Target.RawSQL
	}
	return all
}

// provisioned returns the data sources that Grafana is given, by uid.
func provisioned(t *testing.T) map[string]source {
	t.Helper()
	b, err := os.ReadFile("provisioning/datasources/estop.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Datasources []struct{ UID, Type string }
	}
	if err := yaml.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	all := map[string]source{}
	for _, d := range file.Datasources {
		all[d.UID] = source{d.Type, d.UID}
	}
	return all
}

const clickHouse, prometheusType = "grafana-clickhouse-datasource", "prometheus"

func TestEveryPanelSaysWhatItShowsAndInWhichUnit(t *testing.T) {
	sources := provisioned(t)
	for _, d := range dashboards(t) {
		if d.file != d.UID+".json" {
			t.Errorf("%s has the uid %s", d.file, d.UID)
		}
		ids, titles := map[int]bool{}, map[string]bool{}
		for _, p := range d.Panels {
			if ids[p.ID] || titles[p.Title] {
				t.Errorf("%s: two panels are called %d, %q", d.UID, p.ID, p.Title)
			}
			ids[p.ID], titles[p.Title] = true, true
			if len(p.Description) < 40 || p.FieldConfig.Defaults.Unit == "" {
				t.Errorf("%s: description %q, unit %q", p.Title, p.Description, p.FieldConfig.Defaults.Unit)
			}
			if p.FieldConfig.Defaults.NoValue == "" {
				t.Errorf("%s does not say what it means when there is nothing to show", p.Title)
			}
			if p.GridPos.W == 0 || p.GridPos.X+p.GridPos.W > 24 {
				t.Errorf("%s: does not fit on the grid: %+v", p.Title, p.GridPos)
			}
			if len(p.Targets) != 1 {
				t.Errorf("%s has %d queries", p.Title, len(p.Targets))
			}
			for _, target := range p.Targets {
				if p.Datasource != target.Datasource {
					t.Errorf("%s: asks %+v and %+v", p.Title, p.Datasource, target.Datasource)
				}
				checkTarget(t, sources, p.Title, target)
			}
		}
		for _, a := range d.Annotations.List {
			if a.Datasource != a.Target.Datasource || a.Target.Format != formatTable {
				t.Errorf("annotation %s asks %+v and %+v for format %d", a.Name, a.Datasource, a.Target.Datasource, a.Target.Format)
			}
			checkTarget(t, sources, a.Name, a.Target)
		}
		for _, v := range d.Templating.List {
			if sources[v.Datasource.UID] != v.Datasource || v.Datasource.Type != clickHouse {
				t.Errorf("variable %s asks %+v", v.Name, v.Datasource)
			}
		}
	}
}

func checkTarget(t *testing.T, sources map[string]source, title string, target target) {
	t.Helper()
	if sources[target.Datasource.UID] != target.Datasource {
		t.Errorf("%s: asks %+v, provisioned are %+v", title, target.Datasource, sources)
	}
	if target.Datasource.Type == prometheusType {
		if target.Expr == "" || target.RawSQL != "" {
			t.Errorf("%s: asks Prometheus for %q, and for %q", title, target.Expr, target.RawSQL)
		}
		return
	}
	queryType := map[int]string{formatTimeSeries: "timeseries", formatTable: "table"}[target.Format]
	if target.EditorType != "sql" || target.QueryType != queryType || target.RawSQL == "" {
		t.Errorf("%s: editor %q, query type %q, format %d, query %q", title, target.EditorType, target.QueryType, target.Format, target.RawSQL)
	}
}

// overlap reports whether two panels lie on each other.
func overlap(a, b panel) bool {
	p, q := a.GridPos, b.GridPos
	return p.X < q.X+q.W && q.X < p.X+p.W && p.Y < q.Y+q.H && q.Y < p.Y+p.H
}

func TestNoPanelLiesOnAnother(t *testing.T) {
	for _, d := range dashboards(t) {
		for i, a := range d.Panels {
			for _, b := range d.Panels[:i] {
				if overlap(a, b) {
					t.Errorf("%s: %q lies on %q", d.UID, a.Title, b.Title)
				}
			}
		}
	}
}

var variable = regexp.MustCompile(`\$\{(\w+)(?::\w+)?\}`)

func TestEveryVariableIsUsedAndThere(t *testing.T) {
	for _, d := range dashboards(t) {
		var asked []string
		for _, sql := range d.queries() {
			asked = append(asked, sql)
		}
		for _, p := range d.Panels {
			asked = append(asked, p.Targets[0].Expr)
		}
		there := map[string]bool{}
		for i, v := range d.Templating.List {
			for _, m := range variable.FindAllStringSubmatch(v.Query, -1) {
				if !there[m[1]] {
					t.Errorf("%s: variable %s asks for %s, which does not stand before it", d.UID, v.Name, m[1])
				}
			}
			there[d.Templating.List[i].Name] = true
		}
		used := map[string]bool{}
		for _, m := range variable.FindAllStringSubmatch(strings.Join(asked, "\n"), -1) {
			used[m[1]] = true
			if !there[m[1]] {
				t.Errorf("%s: there is no variable %s", d.UID, m[1])
			}
		}
		for name := range there {
			if !used[name] {
				t.Errorf("%s: variable %s is not used", d.UID, name)
			}
		}
	}
}

func TestDashboardsLinkToEachOther(t *testing.T) {
	all := dashboards(t)
	for _, d := range all {
		linked := map[string]bool{}
		for _, l := range d.Links {
			linked[l.URL] = l.IncludeVars && l.KeepTime
		}
		for _, other := range all {
			if other.UID != d.UID && !linked["/d/"+other.UID] {
				t.Errorf("%s has no link to %s that keeps time and variables", d.UID, other.UID)
			}
		}
	}
}

func TestPanelsOfPrometheusNameMetricsThatARunningNodeHas(t *testing.T) {
	r := rig.New(t, rig.Options{})
	metrics := metricsOf(t, r.Detect(rig.Plan(t, loop)).Metrics)
	asked := 0
	for _, d := range dashboards(t) {
		for _, p := range d.Panels {
			if p.Datasource.Type == prometheusType {
				asked++
				labels := checkMetrics(t, p.Title, p.Targets[0].Expr, metrics)
				for _, m := range shownLegend.FindAllStringSubmatch(p.Targets[0].Legend, -1) {
					if !slices.Contains(labels, m[1]) {
						t.Errorf("%s: its metrics have no label %s to show", p.Title, m[1])
					}
				}
			}
		}
	}
	if asked == 0 {
		t.Error("no panel asks Prometheus")
	}
}

var shownLegend = regexp.MustCompile(`\{\{(\w+)\}\}`)

func TestGrafanaIsGivenEveryDashboard(t *testing.T) {
	b, err := os.ReadFile("../deploy/compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range dashboards(t) {
		if mount := "../dashboards/" + d.file + ":/var/lib/grafana/dashboards/" + d.file + ":ro"; !strings.Contains(string(b), mount) {
			t.Errorf("deploy/compose.yaml does not mount %s", d.file)
		}
	}
}
