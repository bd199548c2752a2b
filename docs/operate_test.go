package docs_test

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/detector/catalog"
	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/pipeline/archive"
	"github.com/estop-project/estop/pipeline/audit"
	"github.com/estop-project/estop/pipeline/changes"
	"github.com/estop-project/estop/pipeline/node"
	"github.com/estop-project/estop/pipeline/notify"
	"github.com/estop-project/estop/revoke"
)

func operate(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("operate.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestThePageHasEverySettingAndItsDefault(t *testing.T) {
	got := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z.0-9_]+)` \\| (?:`(.*)`)? ?\\| .*\\|$").FindAllStringSubmatch(section(t, "## Configure", "## Keys"), -1) {
		got[m[1]] = m[2]
	}
	want := map[string]string{}
	for _, s := range node.Default().Settings() {
		if strings.HasPrefix(s.Key, "gate.") {
			continue // gates.md has those
		}
		switch v := s.Value.(type) {
		case string:
			want[s.Key] = v
		default:
			b, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			want[s.Key] = strings.TrimSuffix(string(b), "[]")
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func section(t *testing.T, from, to string) string {
	t.Helper()
	_, rest, ok := strings.Cut(operate(t), from)
	text, _, ends := strings.Cut(rest, to)
	if !ok || !ends {
		t.Fatalf("no section %s before %s", from, to)
	}
	return text
}

// names is a registry that keeps the names of what is registered.
type names struct {
	*prometheus.Registry
	all []string
}

var fqName = regexp.MustCompile(`fqName: "([^"]+)"`)

func (n *names) Register(c prometheus.Collector) error {
	descs := make(chan *prometheus.Desc, 16)
	c.Describe(descs)
	close(descs)
	for d := range descs {
		n.all = append(n.all, fqName.FindStringSubmatch(d.String())[1])
	}
	return n.Registry.Register(c)
}

func (n *names) MustRegister(cs ...prometheus.Collector) {
	for _, c := range cs {
		if err := n.Register(c); err != nil {
			panic(err)
		}
	}
}

func TestThePageHasEveryMetric(t *testing.T) {
	n := &names{Registry: prometheus.NewRegistry()}
	// None connects before it runs.
	kafka := []kgo.Opt{kgo.SeedBrokers("127.0.0.1:1")}
	set, errs := detector.Load(catalog.FS)
	if errs.Err() != nil {
		t.Fatal(errs.Err())
	}
	signer, err := revoke.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pipeline.NewDetect(pipeline.Options{Kafka: kafka, Plan: set.Plan, Signer: &signer, Registerer: n}); err != nil {
		t.Fatal(err)
	}
	if _, err := archive.New(archive.Options{Kafka: kafka, ClickHouse: *node.Default().ClickHouseOptions(), Registerer: n}); err != nil {
		t.Fatal(err)
	}
	audit.Metrics(n)
	changes.New(changes.Options{Kafka: kafka, Registerer: n})
	node.HeartbeatMetrics(n, &revoke.Heartbeat{})
	node.Metrics(n)
	pipeline.AcksMetrics(n)
	if _, err := notify.New(notify.Options{File: &notify.File{}, Registerer: n}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range regexp.MustCompile("(?m)^\\| `(estop_[a-z_]+)` \\|").FindAllStringSubmatch(section(t, "## Watch", "## Files"), -1) {
		got = append(got, m[1])
	}
	slices.Sort(got)
	slices.Sort(n.all)
	if diff := cmp.Diff(n.all, got); diff != "" {
		t.Error(diff)
	}
}

func TestThePageHasEveryRole(t *testing.T) {
	roles := section(t, "## Roles", "## Configure")
	for _, r := range node.Roles() {
		if !strings.Contains(roles, fmt.Sprintf("| `%s` |", r)) {
			t.Errorf("no role %s", r)
		}
	}
}
