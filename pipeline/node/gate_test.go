package node

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/pipeline/gate/emit"
	"github.com/estop-project/estop/pipeline/gate/gatetest"
	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/guard"
)

// startGate stands a gate to the rig's NATS; nobody answers for Kafka.
func startGate(t *testing.T, r *gatetest.Rig, o GateOptions) *Gate {
	t.Helper()
	verifier := filepath.Join(t.TempDir(), "verifier.jwks")
	if err := revoke.SaveVerifier(verifier, r.Verifier()); err != nil {
		t.Fatal(err)
	}
	c, err := Load("", []string{
		"ESTOP_NATS_URL=" + r.URL(), "ESTOP_KAFKA_BROKERS=127.0.0.1:1", "ESTOP_KEYS_VERIFIER=" + verifier, "ESTOP_HTTP_ADDR=127.0.0.1:0",
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	o.Name, o.Tenants = "g", []string{gatetest.Tenant}
	g, err := StartGate(t.Context(), c, o, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	return g
}

// readiness asks as a load balancer does.
func readiness(t *testing.T, g *Gate) int {
	t.Helper()
	res, err := http.Get("http://" + g.MetricsAddr() + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode
}

func TestAGateIsReadyWhileTheSwitchIsWithinReachAndItGoesOn(t *testing.T) {
	r := gatetest.New(t)
	r.Down()
	g := startGate(t, r, GateOptions{MaxStale: time.Minute})
	call := &guard.Call{Tenant: gatetest.Tenant, Agent: "bot"}
	if d := g.Guard.Check(call); readiness(t, g) != http.StatusServiceUnavailable || d.Verdict != guard.Deny {
		t.Errorf("ready is %d and the verdict %v without NATS", readiness(t, g), d.Verdict)
	}
	r.Up()
	gatetest.Eventually(t, func() error {
		if status := readiness(t, g); status != http.StatusOK {
			return fmt.Errorf("ready is %d", status)
		}
		return nil
	})
	if d := g.Guard.Check(call); d.Verdict != guard.Allow {
		t.Errorf("the verdict is %v", d.Verdict)
	}
	g.Drain()
	if status := readiness(t, g); status != http.StatusServiceUnavailable {
		t.Errorf("ready is %d while the gate drains", status)
	}
	if d := g.Guard.Check(call); d.Verdict != guard.Allow {
		t.Errorf("the verdict is %v while the gate drains", d.Verdict)
	}
}

func TestAClassOfCallsFailsOnItsOwn(t *testing.T) {
	payments := func(c *guard.Call) bool { return c.Resource == "/payments" }
	f := func(o GateOptions, resource string, closed bool) {
		t.Helper()
		if got := o.failClosed(&guard.Call{Resource: resource}); got != closed {
			t.Errorf("%+v on %q: fails closed is %v", o, resource, got)
		}
	}
	f(GateOptions{}, "/x", true)
	f(GateOptions{FailOpen: true}, "/x", false)
	f(GateOptions{FailClosed: payments}, "/x", false)
	f(GateOptions{FailOpen: true, FailClosed: payments}, "/payments", true)

	r := gatetest.New(t)
	r.Down()
	g := startGate(t, r, GateOptions{FailClosed: payments})
	for resource, want := range map[string]guard.Verdict{"/payments": guard.Deny, "/x": guard.Allow} {
		if d := g.Guard.Check(&guard.Call{Tenant: gatetest.Tenant, Agent: "bot", Resource: resource}); d.Verdict != want {
			t.Errorf("%q: %v, want %v", resource, d.Verdict, want)
		}
	}
}

func TestThePageOfGatesHasEveryMetric(t *testing.T) {
	page, err := os.ReadFile("../../docs/gates.md")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range regexp.MustCompile("(?m)^\\| `(estop_[a-z_]+)` \\|").FindAllStringSubmatch(string(page), -1) {
		got = append(got, m[1])
	}
	registry := &describing{Registry: prometheus.NewRegistry()}
	registry.MustRegister(guardMetrics{})
	if _, err := emit.New(emit.Options{Kafka: []kgo.Opt{kgo.SeedBrokers("127.0.0.1:1")}, Registerer: registry}); err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	slices.Sort(registry.names)
	if diff := cmp.Diff(registry.names, got); diff != "" {
		t.Error(diff)
	}
}

func TestThePageOfGatesHasEverySetting(t *testing.T) {
	page, err := os.ReadFile("../../docs/gates.md")
	if err != nil {
		t.Fatal(err)
	}
	c := Default()
	for _, f := range fields(&c) {
		if strings.HasPrefix(f.key, "gate.") && !strings.Contains(string(page), "`"+f.key+"`") {
			t.Errorf("it lacks %s", f.key)
		}
	}
	known := newLoader(&c).fields
	for _, m := range regexp.MustCompile("`(gate\\.[a-z_]+)`").FindAllStringSubmatch(string(page), -1) {
		if _, ok := known[m[1]]; !ok {
			t.Errorf("%s is no setting", m[1])
		}
	}
}

// describing is a registry that keeps the names of what is registered.
type describing struct {
	*prometheus.Registry
	names []string
}

func (d *describing) MustRegister(all ...prometheus.Collector) {
	for _, c := range all {
		descs := make(chan *prometheus.Desc, 32)
		c.Describe(descs)
		close(descs)
		for desc := range descs {
			_, name, _ := strings.Cut(desc.String(), `fqName: "`)
			name, _, _ = strings.Cut(name, `"`)
			d.names = append(d.names, name)
		}
	}
}
