package risk_test

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	natsd "github.com/estop-project/estop/pipeline/embedded/nats"
	"github.com/estop-project/estop/pipeline/gate/gatetest"
	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/gate/risk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const password = "0123456789abcdef"

// rig is a NATS server, a detector that publishes risks, and the clock of the followers.
type rig struct {
	t         *testing.T
	server    *natsd.Server
	signer    revoke.Signer
	detector  *nats.Conn
	publisher *revoke.RiskPublisher
	clock     *gatetest.Clock
}

func newRig(t *testing.T) *rig {
	t.Helper()
	s, err := natsd.Start(natsd.Options{Dir: filepath.Join(t.TempDir(), "nats"), Password: password})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	r := &rig{t: t, server: s, clock: gatetest.NewClock()}
	if r.signer, err = revoke.GenerateKey(); err != nil {
		t.Fatal(err)
	}
	r.detector = r.connect(s.DetectorURL())
	if r.publisher, err = revoke.NewRiskPublisher(t.Context(), r.detector, revoke.RiskPublisherOptions{Signer: r.signer}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.publisher.Close)
	return r
}

func (r *rig) connect(url string) *nats.Conn {
	r.t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(nc.Close)
	return nc
}

func (r *rig) follower(change ...func(*risk.Options)) *risk.Follower {
	r.t.Helper()
	o := risk.Options{Conn: r.connect(r.server.URL()), Verifier: r.signer.Verifier(), Poll: 20 * time.Millisecond, Clock: r.clock.Now}
	for _, f := range change {
		f(&o)
	}
	f, err := risk.New(o)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := f.Start(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(f.Close)
	return f
}

// is makes a risk of the bot that holds for an hour.
func (r *rig) is(source string, level revoke.Level, score int, change ...func(*revoke.Risk)) revoke.Risk {
	now := r.clock.Now()
	k := revoke.Risk{Tenant: "acme", Agent: "bot", Source: source, Level: level, Score: score, IssuedAt: now, Until: now.Add(time.Hour)}
	for _, f := range change {
		f(&k)
	}
	r.clock.Add(time.Millisecond)
	return k
}

func (r *rig) publish(risks ...revoke.Risk) {
	r.t.Helper()
	if unstored, err := r.publisher.Publish(r.t.Context(), risks); err != nil || len(unstored) > 0 {
		r.t.Fatal(unstored, err)
	}
}

func (r *rig) eventually(f *risk.Follower, want risk.Risk) {
	r.t.Helper()
	gatetest.Eventually(r.t, func() error {
		if got := f.Of("acme", "bot"); got != want {
			return fmt.Errorf("the risk is %v, want %v", got, want)
		}
		return nil
	})
}

var (
	evidence = revoke.SourceEvidence
	burst    = revoke.SourceOf("burst")
)

func TestTheRiskIsTheHighestThatHolds(t *testing.T) {
	r := newRig(t)
	f := r.follower()
	if got := f.Of("acme", "bot"); got != risk.Unknown {
		t.Errorf("of an agent that nobody has heard of: %v", got)
	}
	r.publish(r.is(evidence, revoke.RiskLow, 2))
	r.eventually(f, risk.Risk{Level: revoke.RiskLow, Score: 2})
	r.publish(r.is(burst, revoke.RiskHigh, 100, func(k *revoke.Risk) { k.Until = k.IssuedAt.Add(time.Minute) }))
	r.eventually(f, risk.Risk{Level: revoke.RiskHigh, Score: 100})
	r.publish(r.is(evidence, revoke.RiskMedium, 60))
	r.clock.Add(time.Minute) // the detection has had its time
	r.eventually(f, risk.Risk{Level: revoke.RiskMedium, Score: 60})
	if got := f.Of("globex", "bot"); got != risk.Unknown {
		t.Errorf("of another tenant's: %v", got)
	}
	r.clock.Add(time.Hour)
	r.eventually(f, risk.Unknown)
}

func TestWhoJoinsLateKnows(t *testing.T) {
	r := newRig(t)
	r.publish(r.is(evidence, revoke.RiskLow, 1), r.is(burst, revoke.RiskHigh, 100))
	r.publish(r.is(evidence, revoke.RiskMedium, 70))
	r.eventually(r.follower(), risk.Risk{Level: revoke.RiskHigh, Score: 100})
	r.eventually(r.follower(func(o *risk.Options) { o.Tenants = []string{"acme"} }), risk.Risk{Level: revoke.RiskHigh, Score: 100})
	f := r.follower(func(o *risk.Options) { o.Tenants = []string{"globex"} })
	r.publish(r.is(evidence, revoke.RiskLow, 1, func(k *revoke.Risk) { k.Tenant = "globex" }))
	gatetest.Eventually(t, func() error {
		if s := f.Stats(); s.Applied != 1 || s.Agents != 1 {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
}

func TestForgedAndOldRisksChangeNothing(t *testing.T) {
	r := newRig(t)
	f := r.follower()
	old := r.is(evidence, revoke.RiskLow, 1)
	r.publish(old)
	r.publish(r.is(evidence, revoke.RiskHigh, 95))
	r.eventually(f, risk.Risk{Level: revoke.RiskHigh, Score: 95})
	again, err := r.signer.SignRisk(old)
	if err != nil {
		t.Fatal(err)
	}
	other, err := revoke.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	forged, err := other.SignRisk(r.is(evidence, revoke.RiskLow, 0))
	if err != nil {
		t.Fatal(err)
	}
	// Not even the detector's account makes a guest believe what is not signed, or old.
	for _, token := range []string{again, forged, "x"} {
		if err := r.detector.Publish(revoke.RiskSubject(old), []byte(token)); err != nil {
			t.Fatal(err)
		}
	}
	gatetest.Eventually(t, func() error {
		if s := f.Stats(); s.Refused < 2 {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	if got := f.Of("acme", "bot"); got.Level != revoke.RiskHigh {
		t.Errorf("the risk is %v", got)
	}
}

func TestWithoutNewsRisksAreUnknownAndNotLow(t *testing.T) {
	r := newRig(t)
	f := r.follower(func(o *risk.Options) { o.MaxStale = 30 * time.Second })
	r.publish(r.is(evidence, revoke.RiskLow, 1))
	low := risk.Risk{Level: revoke.RiskLow, Score: 1}
	r.eventually(f, low)
	beat := func(number uint64) {
		t.Helper()
		token, err := r.signer.SignBeat(revoke.Beat{Publisher: "d", Start: "s", Number: number, IssuedAt: r.clock.Now(), Interval: time.Second, Stream: r.clock.Now()})
		if err == nil {
			err = r.detector.Publish(revoke.BeatSubject, []byte(token))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	beat(0)
	time.Sleep(50 * time.Millisecond)
	r.clock.Add(31 * time.Second) // the stream can be read, but no detector lives
	r.eventually(f, risk.Unknown)
	if !f.Stats().Stale {
		t.Error("it does not say that it is stale")
	}
	beat(1)
	r.eventually(f, low)
	r.server.Stop()
	r.clock.Add(31 * time.Second)
	r.eventually(f, risk.Unknown)
}

func TestWhatIsKnownIsBounded(t *testing.T) {
	r := newRig(t)
	f := r.follower(func(o *risk.Options) { o.MaxAgents = 1 })
	r.publish(r.is(evidence, revoke.RiskLow, 1))
	r.eventually(f, risk.Risk{Level: revoke.RiskLow, Score: 1})
	r.publish(r.is(evidence, revoke.RiskLow, 1, func(k *revoke.Risk) { k.Agent = "second" }), r.is("x0", revoke.RiskHigh, 99))
	for i := range 100 {
		r.publish(r.is(fmt.Sprint("y", i), revoke.RiskLow, 1))
	}
	gatetest.Eventually(t, func() error {
		if s := f.Stats(); s.Agents != 1 || s.Dropped < 30 {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	if got := f.Of("acme", "second"); got != risk.Unknown {
		t.Errorf("of an agent too many: %v", got)
	}
	if got := f.Of("acme", "bot"); got.Level != revoke.RiskHigh {
		t.Errorf("low ones pushed a high one out: %v", got)
	}
}

func BenchmarkOf(b *testing.B) {
	f, err := risk.New(risk.Options{Conn: &nats.Conn{}, Verifier: verifier(b)})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			f.Of("acme", "bot")
		}
	})
}

func verifier(b *testing.B) revoke.Verifier {
	s, err := revoke.GenerateKey()
	if err != nil {
		b.Fatal(err)
	}
	return s.Verifier()
}
