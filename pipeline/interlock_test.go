package pipeline_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/pipeline/embedded/freeport"
	natsd "github.com/estop-project/estop/pipeline/embedded/nats"
	"github.com/estop-project/estop/pipeline/rig"
	"github.com/estop-project/estop/pipeline/telemetry"
	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/guard"
)

func withInterlock(t *testing.T, opt revoke.InterlockOptions) func(*pipeline.Options) {
	t.Helper()
	return func(o *pipeline.Options) {
		o.Census = pipeline.NewCensus()
		opt.Window, opt.Known = 10*time.Minute, o.Census.Known
		var err error
		if o.Interlock, err = revoke.NewInterlock(opt); err != nil {
			t.Fatal(err)
		}
	}
}

// stopped counts the agents that a guard denies once it is stable.
func stopped(g *guard.Guard, agents []string) int {
	n := 0
	for _, a := range agents {
		if g.Check(guardCall(a)).Verdict == guard.Deny {
			n++
		}
	}
	return n
}

func mob(n int, at time.Time) (agents []string, calls []*telemetry.Call) {
	for i := range n {
		agents = append(agents, fmt.Sprintf("bot-%d", i))
		calls = append(calls, loopCalls(agents[i], at)...)
	}
	return agents, calls
}

// A detector that has gone mad finds every agent. The interlock lets it stop so many; the rest stay alerts,
// and each waits for a person.
func TestAMadDetectorStopsAtMostTheInterlocksNumberAndAlertsOfTheRest(t *testing.T) {
	r := rig.New(t, rig.Options{})
	g := r.Guard("gate-1")
	role := r.Detect(rig.Plan(t, loop("mad", "enforce")), withInterlock(t, revoke.InterlockOptions{Targets: 5}))
	agents, calls := mob(40, time.Now().Add(-time.Minute))
	r.Send(calls...)
	r.Judged()
	if n := role.Metric("estop_detect_revocations_held_back_total"); n != 35 {
		t.Errorf("the metric says that %v were held back, want 35", n)
	}
	role.Stop()
	if n := len(r.Detections()); n != 40 {
		t.Errorf("%d detections, want 40", n)
	}
	if n := len(r.Revocations()); n != 5 {
		t.Errorf("%d revocations, want 5", n)
	}
	waits := map[string]bool{}
	for _, d := range rig.Read[revoke.Decision](t, r, pipeline.TopicDecisions) {
		if d.Verdict != revoke.Held || d.Order.Until.Sub(d.Order.IssuedAt) <= 0 || d.Order.Detection == "" {
			t.Errorf("a decision %+v", d)
		}
		waits[d.Order.Subject] = true
	}
	if len(waits) != 35 {
		t.Errorf("%d agents wait for a person, want 35", len(waits))
	}
	rig.Await(t, time.Minute, func() error {
		if n := stopped(g, agents); n != 5 {
			return fmt.Errorf("the guard denies %d agents", n)
		}
		return nil
	})
	for _, a := range agents {
		if denied := g.Check(guardCall(a)).Verdict == guard.Deny; denied == waits[a] {
			t.Errorf("%s: denied %v, waits %v", a, denied, waits[a])
		}
	}
}

// What NATS does not take stops nobody, and leaves the room for the next one.
func TestAPublicationThatFailsDoesNotUseUpTheInterlock(t *testing.T) {
	dir := t.TempDir()
	start := func(port int) *natsd.Server {
		t.Helper()
		s, err := natsd.Start(natsd.Options{Dir: dir, Password: "0123456789abcdef", Port: port})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Stop)
		return s
	}
	port, err := freeport.Find()
	if err != nil {
		t.Fatal(err)
	}
	server := start(port)
	// Without a buffer for what is published while the server is away, that fails at once.
	nc, err := nats.Connect(server.DetectorURL(), nats.ReconnectBufSize(-1), nats.ReconnectWait(10*time.Millisecond), nats.MaxReconnects(-1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	interlock, err := revoke.NewInterlock(revoke.InterlockOptions{Window: time.Hour, Targets: 1})
	if err != nil {
		t.Fatal(err)
	}
	signer, err := revoke.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	publisher, err := revoke.NewPublisher(t.Context(), nc, revoke.PublisherOptions{Verifier: signer.Verifier(), Interlock: interlock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(publisher.Close)
	publish := func(agent string) (*revoke.Stored, error) {
		now := time.Now()
		rec, err := signer.Record(revoke.Revocation{
			ID: agent, Tenant: "t1", Scope: revoke.Agent, Subject: agent, Action: revoke.Revoke, IssuedAt: now, Until: now.Add(time.Hour),
			Detector: "loop", Detection: agent, Reason: "test", Initiator: revoke.Policy,
		})
		if err != nil {
			t.Fatal(err)
		}
		return publisher.Publish(t.Context(), rec)
	}
	server.Stop()
	rig.Await(t, time.Minute, func() error {
		if nc.IsConnected() {
			return errors.New("NATS is still connected")
		}
		return nil
	})
	for _, agent := range []string{"lost", "lost-too"} {
		if _, err := publish(agent); err == nil || errors.Is(err, revoke.ErrHeldBack) {
			t.Fatalf("%s: NATS is away, and the publication gives %v", agent, err)
		}
	}
	if n := interlock.Stopped(time.Now()); n != 0 {
		t.Errorf("%d are counted that nobody heard of", n)
	}
	start(port)
	rig.Await(t, time.Minute, func() error {
		if !nc.IsConnected() {
			return errors.New("NATS is not connected")
		}
		return nil
	})
	stored, err := publish("found")
	if err != nil {
		t.Fatal(err)
	}
	if err := stored.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := publish("past the number"); !errors.Is(err, revoke.ErrHeldBack) {
		t.Errorf("the second one gives %v", err)
	}
}

func TestTwoProcessesShareOneInterlock(t *testing.T) {
	r := rig.New(t, rig.Options{})
	first := r.Detect(rig.Plan(t, loop("mad", "enforce")), withInterlock(t, revoke.InterlockOptions{Targets: 5}))
	_, calls := mob(3, time.Now().Add(-time.Minute))
	r.Send(calls...)
	r.Judged()
	first.Stop()
	options := withInterlock(t, revoke.InterlockOptions{Targets: 5})
	second := r.Detect(rig.Plan(t, loop("mad", "enforce")), options)
	var more []*telemetry.Call
	for i := range 10 {
		more = append(more, loopCalls(fmt.Sprintf("later-%d", i), time.Now().Add(-time.Minute))...)
	}
	r.Send(more...)
	r.Judged()
	second.Stop()
	if n := len(r.Revocations()); n != 5 {
		t.Errorf("%d revocations of both, want 5", n)
	}
}

func TestATenantLosesAtMostItsShareOfKnownAgents(t *testing.T) {
	r := rig.New(t, rig.Options{})
	var quiet []*telemetry.Call
	for i := range 50 {
		quiet = append(quiet, rig.Call(fmt.Sprint("q", i), fmt.Sprintf("quiet-%d", i), "doc", time.Now().Add(-2*time.Minute)))
	}
	options := withInterlock(t, revoke.InterlockOptions{TenantPercent: 10, TenantLeast: 1})
	var census *pipeline.Census
	role := r.Detect(rig.Plan(t, loop("mad", "enforce")), options, func(o *pipeline.Options) { census = o.Census })
	r.Send(quiet...)
	r.Judged()
	rig.Await(t, time.Minute, func() error {
		if n := census.Known("t1"); n != 50 {
			return fmt.Errorf("%d agents are known", n)
		}
		return nil
	})
	_, calls := mob(10, time.Now().Add(-time.Minute))
	r.Send(calls...)
	r.Judged()
	role.Stop()
	if n := len(r.Revocations()); n < 5 || n > 6 { // a tenth of 50 known, or of 60
		t.Errorf("%d revocations, want 5 or 6", n)
	}
	if n := census.Known("t1"); n != 0 {
		t.Errorf("a process that has ended knows %d agents", n)
	}
}

func TestAProtectedAgentIsNeverStoppedByADetector(t *testing.T) {
	r := rig.New(t, rig.Options{})
	role := r.Detect(rig.Plan(t,
		loop("by-agent", "enforce"),
		strings.Replace(loop("by-session", "enforce"), "scope: agent", "scope: session", 1),
	), withInterlock(t, revoke.InterlockOptions{Protected: []string{"t1/payroll"}}))
	r.Send(loopCalls("payroll", time.Now().Add(-time.Minute))...)
	r.Judged()
	role.Stop()
	if n := len(r.Detections()); n != 2 {
		t.Errorf("%d detections, want 2", n)
	}
	if n := len(r.Revocations()); n != 0 {
		t.Errorf("%d revocations, want none", n)
	}
	if n := len(rig.Read[revoke.Decision](t, r, pipeline.TopicDecisions)); n != 2 {
		t.Errorf("%d decisions, want 2", n)
	}
}

func TestARecordThatIsNoRevocationIsPassedOver(t *testing.T) {
	r := rig.New(t, rig.Options{})
	good, err := r.Signer.Record(revoke.Revocation{
		ID: "1", Tenant: "t1", Scope: revoke.Agent, Subject: "bot", Action: revoke.Revoke, IssuedAt: time.Now(), Until: time.Now().Add(time.Hour),
		Reason: "test", Initiator: "policy",
	})
	if err != nil {
		t.Fatal(err)
	}
	r.SendRecords(&kgo.Record{Topic: pipeline.TopicRevocations, Value: []byte("{x")}, pipeline.RevocationRecord(good))
	var subjects []string
	broken := 0
	err = pipeline.EachRevocation(t.Context(), r.Seeds(), time.Now().Add(-time.Minute), func(rev revoke.Revocation, err error) {
		if err != nil {
			broken++
			return
		}
		subjects = append(subjects, rev.Subject)
	})
	if err != nil || broken != 1 || len(subjects) != 1 || subjects[0] != "bot" {
		t.Errorf("%v, %d broken, %q", err, broken, subjects)
	}
}
