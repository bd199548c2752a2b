package dashboards_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.yaml.in/yaml/v3"

	"github.com/estop-project/estop/pipeline/rig"
)

// alert is a rule of alerts.yaml.
type alert struct {
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

func alerts(t *testing.T) []alert {
	t.Helper()
	b, err := os.ReadFile("alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Name  string  `yaml:"name"`
			Rules []alert `yaml:"rules"`
		} `yaml:"groups"`
	}
	if err := yaml.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	var all []alert
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) == 0 {
		t.Fatal("alerts.yaml has no alerts")
	}
	return all
}

var (
	metricName = regexp.MustCompile(`\b(?:estop_\w+|up)\b`)
	grouping   = regexp.MustCompile(`\bby \(([^)]*)\)`)
	selector   = regexp.MustCompile(`(estop_\w+)\{(\w+)=`)
	described  = regexp.MustCompile(`fqName: "(\w+)".*variableLabels: \{([^}]*)\}`)
	shownLabel = regexp.MustCompile(`\{\{ \$labels\.(\w+) \}\}`)
)

// metricsOf returns the metrics of registries, those too that nothing was counted in yet,
// with their labels.
func metricsOf(t *testing.T, registries ...*prometheus.Registry) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	for _, r := range registries {
		descriptions := make(chan *prometheus.Desc)
		go func() {
			defer close(descriptions)
			r.Describe(descriptions)
		}()
		for d := range descriptions {
			m := described.FindStringSubmatch(d.String())
			if m == nil {
				t.Fatalf("cannot read %s", d)
			}
			found[m[1]] = strings.FieldsFunc(m[2], func(r rune) bool { return r == ',' || r == ' ' })
		}
	}
	return found
}

func TestAlertsNameMetricsThatARunningNodeHas(t *testing.T) {
	r := rig.New(t, rig.Options{ClickHouse: true})
	metrics := metricsOf(t, r.Detect(rig.Plan(t, loop)).Metrics, r.Archive().Metrics)
	for _, a := range alerts(t) {
		var labels []string
		for _, name := range metricName.FindAllString(a.Expr, -1) {
			if name == "up" { // Prometheus makes this one
				labels = append(labels, "instance")
				continue
			}
			of, ok := metrics[strings.TrimSuffix(name, "_bucket")]
			if !ok {
				t.Errorf("%s: there is no metric %s", a.Alert, name)
			}
			labels = append(labels, of...)
			if strings.HasSuffix(name, "_bucket") {
				labels = append(labels, "le")
			}
		}
		if len(labels) == 0 && !metricName.MatchString(a.Expr) {
			t.Errorf("%s names no metric: %s", a.Alert, a.Expr)
		}
		for _, m := range selector.FindAllStringSubmatch(a.Expr, -1) {
			if !slices.Contains(metrics[m[1]], m[2]) {
				t.Errorf("%s: %s has no label %s", a.Alert, m[1], m[2])
			}
		}
		var by []string
		for _, m := range grouping.FindAllStringSubmatch(a.Expr, -1) {
			by = append(by, strings.Split(m[1], ", ")...)
		}
		for _, m := range shownLabel.FindAllStringSubmatch(a.Annotations["summary"]+a.Annotations["description"], -1) {
			if m[1] != "instance" {
				by = append(by, m[1])
			}
		}
		for _, label := range by {
			if !slices.Contains(labels, label) {
				t.Errorf("%s: its metrics have no label %s, but %v", a.Alert, label, labels)
			}
		}
	}
}

func TestEveryAlertSaysWhatItMeans(t *testing.T) {
	seen := map[string]bool{}
	for _, a := range alerts(t) {
		if seen[a.Alert] {
			t.Errorf("two alerts are called %s", a.Alert)
		}
		seen[a.Alert] = true
		if s := a.Labels["severity"]; s != "critical" && s != "warning" {
			t.Errorf("%s: severity %q", a.Alert, s)
		}
		if a.Annotations["summary"] == "" || a.Annotations["description"] == "" {
			t.Errorf("%s does not say what it means", a.Alert)
		}
	}
}
