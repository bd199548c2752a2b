package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/pipeline/node"
	"github.com/estop-project/estop/pipeline/node/nodetest"
	"github.com/estop-project/estop/pipeline/rig"
	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/guard"
)

// upNode starts a node of its own, with settings from the environment.
func upNode(t *testing.T, dir string, settings ...string) node.Config {
	t.Helper()
	cmd := exec.Command("estop", "up", "--dir", dir, "--http.addr", "127.0.0.1:0")
	cmd.Env = append(nodetest.Environ(), settings...)
	return nodetest.Start(t, cmd, dir)
}

// newGuard starts a guard of all tenants of a node.
func newGuard(t *testing.T, c node.Config, name string) *guard.Guard {
	t.Helper()
	keys, err := revoke.LoadVerifier(c.VerifierPath())
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(c.NATS.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	g, err := guard.New(guard.Options{Name: name, Conn: nc, Verifier: keys, All: true})
	if err == nil {
		err = g.Start(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := g.WaitSynced(ctx); err != nil {
		t.Fatal(err)
	}
	return g
}

// metric returns a metric without labels as the node serves it, 0 before it does.
func metric(t *testing.T, c node.Config, name string) float64 {
	t.Helper()
	resp, err := http.Get("http://" + c.HTTP.Addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindSubmatch(b)
	if m == nil {
		return 0 // the role that counts it has not begun
	}
	n, err := strconv.ParseFloat(string(m[1]), 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// decisionsOf reads the decisions with a verdict.
func decisionsOf(t *testing.T, c node.Config, verdict revoke.Verdict) []revoke.Decision {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.Kafka.Brokers...), kgo.ConsumeTopics(pipeline.TopicDecisions))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var all []revoke.Decision
	for len(all) == 0 {
		fetches := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("no decision %q", verdict)
		}
		for r := range fetches.RecordsAll() {
			var d revoke.Decision
			if err := json.Unmarshal(r.Value, &d); err != nil {
				t.Fatal(err)
			}
			if d.Verdict == verdict {
				all = append(all, d)
			}
		}
	}
	return all
}

// The schedule begins with a call, goes through Kafka, the detect role and a guard, and says so in metrics and in the log
// of decisions.
func TestDrillsOnAScheduleGoTheWholeWay(t *testing.T) {
	c := upNode(t, t.TempDir(), "ESTOP_REVOKE_DRILL=1s")
	newGuard(t, c, "gate-1")
	rig.Await(t, time.Minute, func() error {
		if held, share := metric(t, c, "estop_drill_held_total"), metric(t, c, "estop_drill_coverage"); held == 0 || share != 1 {
			return fmt.Errorf("%v drills are held, the last one's coverage is %v", held, share)
		}
		return nil
	})
	if n := metric(t, c, "estop_drill_interval_seconds"); n != 1 {
		t.Errorf("the interval is %v s", n)
	}
	for _, name := range []string{"estop_detect_drills_total", "estop_drill_seconds_count", "estop_drill_detect_seconds_count"} {
		if metric(t, c, name) == 0 {
			t.Errorf("%s is 0", name)
		}
	}
	if at := time.Unix(int64(metric(t, c, "estop_drill_last_timestamp_seconds")), 0); time.Since(at) > time.Minute {
		t.Errorf("the last drill was at %v", at)
	}
	for _, d := range decisionsOf(t, c, revoke.Drilled) {
		if d.By == "" || d.Why == "" || !revoke.IsDrill(d.Order) {
			t.Errorf("a drill is written down as %+v", d)
		}
	}
}
