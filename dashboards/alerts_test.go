package dashboards_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.yaml.in/yaml/v3"

	estop "github.com/estop-project/estop/pipeline/node"
	"github.com/estop-project/estop/pipeline/notify"
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
	selector   = regexp.MustCompile(`(estop_\w+)\{([^}]*(?:\$\{[^}]*\}[^}]*)*)\}`)
	selected   = regexp.MustCompile(`(\w+)(?:=~|!~|!=|=)"`)
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
	node := prometheus.NewRegistry()
	estop.Metrics(node)
	if _, err := notify.New(notify.Options{File: &notify.File{}, Registerer: node}); err != nil {
		t.Fatal(err)
	}
	metrics := metricsOf(t, r.Detect(rig.Plan(t, loop)).Metrics, r.Archive().Metrics, r.Acks().Metrics, node)
	for _, a := range alerts(t) {
		labels := checkMetrics(t, a.Alert, a.Expr, metrics)
		for _, m := range shownLabel.FindAllStringSubmatch(a.Annotations["summary"]+a.Annotations["description"], -1) {
			if !slices.Contains(labels, m[1]) {
				t.Errorf("%s: its metrics have no label %s to show, but %v", a.Alert, m[1], labels)
			}
		}
	}
}

// checkMetrics looks every metric of an expression up, and every label that it chooses or groups by, and returns the
// labels of its metrics.
func checkMetrics(t *testing.T, name, expr string, metrics map[string][]string) []string {
	t.Helper()
	labels := []string{"instance"} // Prometheus adds it to what it scrapes
	if !metricName.MatchString(expr) {
		t.Errorf("%s names no metric: %s", name, expr)
	}
	for _, metric := range metricName.FindAllString(expr, -1) {
		if metric == "up" { // Prometheus makes this one
			continue
		}
		of, ok := metrics[strings.TrimSuffix(metric, "_bucket")]
		if !ok {
			t.Errorf("%s: there is no metric %s", name, metric)
		}
		labels = append(labels, of...)
		if strings.HasSuffix(metric, "_bucket") {
			labels = append(labels, "le")
		}
	}
	for _, m := range selector.FindAllStringSubmatch(expr, -1) {
		for _, label := range selected.FindAllStringSubmatch(m[2], -1) {
			if !slices.Contains(metrics[m[1]], label[1]) {
				t.Errorf("%s: %s has no label %s", name, m[1], label[1])
			}
		}
	}
	for _, m := range grouping.FindAllStringSubmatch(expr, -1) {
		for _, label := range strings.Split(m[1], ", ") {
			if !slices.Contains(labels, label) {
				t.Errorf("%s: its metrics have no label %s, but %v", name, label, labels)
			}
		}
	}
	return labels
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
