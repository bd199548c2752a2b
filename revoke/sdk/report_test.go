package sdk_test

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/pipeline/rig"
	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/coverage"
)

func TestPythonReportsToTheRegister(t *testing.T) {
	bin := python(t)
	testReports(t, func(url, keys, name string) *exec.Cmd { return command(bin, "python/tests/live.py", url, keys, name) })
}

func TestTypeScriptReportsToTheRegister(t *testing.T) {
	dir := typescript(t)
	testReports(t, func(url, keys, name string) *exec.Cmd {
		return command("node", filepath.Join(dir, "dist", "test", "live.js"), url, keys, name)
	})
}

// testReports has the real acks role hear a guard in another language: what 'estop coverage' shows.
func testReports(t *testing.T, start func(url, keys, name string) *exec.Cmd) {
	r := rig.New(t, rig.Options{})
	r.Acks()
	nc := r.Connect(r.NATS.DetectorURL())
	keys := filepath.Join(t.TempDir(), "keys.jwks")
	if err := revoke.SaveVerifier(keys, r.Signer.Verifier()); err != nil {
		t.Fatal(err)
	}
	s := serve(t, start(r.NATS.URL(), keys, "other-language"))
	s.says("ready")
	becomes := func(want string, ok func(coverage.Guard) bool) {
		t.Helper()
		rig.Await(t, time.Minute, func() error {
			g, err := asked(t, nc)
			if err != nil || !ok(g) {
				return fmt.Errorf("it is not %s: %+v %v", want, g, err)
			}
			return nil
		})
	}
	becomes("enforcing", func(g coverage.Guard) bool {
		return g.State == coverage.Enforcing && g.Version == "live 1" && g.MaxStale == 3*time.Second && g.Fails == revoke.FailsClosed
	})
	s.order("begin bot")
	s.says("began bot allow")
	becomes("one call in flight", func(g coverage.Guard) bool { return g.InFlight == 1 && g.Counts.Allowed == 1 })

	client := newClient(t, t.Context(), nc, r.Signer, 1)
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	acks, err := client.Kill(ctx, revoke.Revocation{
		Tenant: "acme", Scope: revoke.Agent, Subject: "bot", Action: revoke.Revoke, Until: time.Now().Add(time.Hour), Reason: "test",
	})
	if err != nil {
		t.Fatal(err)
	}
	s.says("cut bot test")
	s.order("check bot")
	s.says("checked bot deny")
	becomes("counting", func(g coverage.Guard) bool {
		return g.InFlight == 0 && g.Counts.Applied == 1 && g.Counts.Cancelled == 1 && g.Counts.Denied == 1 && g.Held == 1 && g.Took > 0
	})
	rig.Await(t, time.Minute, func() error {
		for _, a := range rig.Read[revoke.Ack](t, r, pipeline.TopicAcks) {
			if a.Revocation == acks[0].Revocation && a.Guard == "other-language" && !a.FirstDenied.IsZero() {
				return nil
			}
		}
		return fmt.Errorf("the first denied call is not told")
	})
	s.close()
	becomes("forgotten", func(g coverage.Guard) bool { return g.Guard == "" || g.State == coverage.Closed })
}

// asked is what the register knows of the guard; nothing, if it knows none.
func asked(t *testing.T, nc *nats.Conn) (coverage.Guard, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	all, err := coverage.Ask(ctx, nc, "acme")
	if err != nil || len(all) == 0 {
		return coverage.Guard{}, err
	}
	return all[0], nil
}
