package guard_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/guard"
)

// reports hears what guards say of themselves, on the detector's account.
func (r *rig) reports() chan revoke.Report {
	r.t.Helper()
	heard := make(chan revoke.Report, 1000)
	_, err := r.nc.Subscribe(revoke.GuardPrefix+".>", func(m *nats.Msg) {
		report, err := revoke.ParseReport(m.Data)
		if err != nil || m.Subject != revoke.GuardSubject(report.Guard) {
			r.t.Errorf("%s: %v", m.Subject, err)
		}
		heard <- report
	})
	if err == nil {
		err = r.nc.Flush()
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return heard
}

func next[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(10 * time.Second):
		t.Fatal("nothing comes")
		panic("unreachable")
	}
}

func TestAGuardSaysHelloThatItIsHereAndBye(t *testing.T) {
	r := newRig(t, 1)
	heard := r.reports()
	g := r.guard("gate-1", func(o *guard.Options) {
		o.All, o.Tenants, o.Report, o.MaxStale, o.Version = false, []string{"b", "a"}, time.Hour, time.Minute, "shop 1.2"
	})
	hello := next(t, heard)
	if hello.Kind != revoke.Hello || hello.Guard != "gate-1" || hello.Number != 0 || hello.Start == "" ||
		hello.Fails != revoke.FailsClosed || hello.Version != "shop 1.2" || hello.Every != time.Hour {
		t.Errorf("hello %+v", hello)
	}
	if diff := cmp.Diff([]string{"a", "b"}, hello.Tenants); diff != "" || hello.All || !hello.Serves("a") || hello.Serves("c") {
		t.Errorf("it serves (-want +got)\n%s", diff)
	}
	if here := next(t, heard); here.Kind != revoke.Here || !here.Synced || here.Stale || here.Start != hello.Start || here.Number != 1 {
		t.Errorf("once it is synced it says %+v", here)
	}
	r.kill("a", "bot")
	wantVerdict(t, g, call("a", "bot"), guard.Deny)
	wantVerdict(t, g, call("a", "other"), guard.Allow)
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	bye := next(t, heard)
	want := revoke.Counts{Applied: 1, Allowed: 1, Denied: 1}
	if diff := cmp.Diff(want, bye.Counts); diff != "" || bye.Kind != revoke.Bye || bye.Held != 1 {
		t.Errorf("bye %+v\n%s", bye, diff)
	}
}

func TestTwoGuardsThatKnowTheSameReportTheSameDigest(t *testing.T) {
	r := newRig(t, 2)
	heard := r.reports()
	often := func(o *guard.Options) { o.Report = 20 * time.Millisecond }
	r.guard("one", often)
	r.guard("two", often)
	r.kill("a", "bot")
	r.kill("b", "bot")
	digests := map[string]string{}
	eventually(t, func() error {
		report := next(t, heard)
		if report.Held == 2 && report.Sequence == 2 {
			digests[report.Guard] = report.Digest
		}
		if len(digests) < 2 || digests["one"] != digests["two"] {
			return fmt.Errorf("digests %v", digests)
		}
		return nil
	})
}

func TestAGuardThatIsNotToReportIsSilent(t *testing.T) {
	r := newRig(t, 1)
	heard := r.reports()
	g := r.guard("quiet", func(o *guard.Options) { o.Report = -1 })
	r.kill("a", "bot")
	wantVerdict(t, g, call("a", "bot"), guard.Deny)
	g.Close()
	r.guard("loud", func(o *guard.Options) { o.Report = time.Hour })
	if report := next(t, heard); report.Guard != "loud" {
		t.Errorf("it reports: %+v", report)
	}
}

func TestTheFirstDeniedCallIsToldOnceAndOffTheCallersPath(t *testing.T) {
	r := newRig(t, 1)
	acks := make(chan revoke.Ack, 100)
	acknowledged := map[string]bool{}
	c, err := revoke.CollectAcks(r.nc, func(a revoke.Ack) {
		// A guard may acknowledge twice what it reads from the stream first; it tells of its first denied call once.
		if a.Report() || !acknowledged[a.Revocation] {
			acks <- a
		}
		acknowledged[a.Revocation] = true
	}, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	g := r.guard("gate-1")
	r.kill("a", "bot")
	if a := next(t, acks); !a.FirstDenied.IsZero() {
		t.Errorf("no call has been denied yet: %+v", a)
	}
	wantVerdict(t, g, call("a", "innocent"), guard.Allow)
	before := time.Now()
	for range 10 {
		wantVerdict(t, g, call("a", "bot"), guard.Deny)
	}
	told := next(t, acks)
	if told.Guard != "gate-1" || told.Tenant != "a" || told.FirstDenied.Before(before.Add(-time.Millisecond)) || told.FirstDenied.After(time.Now()) {
		t.Errorf("told %+v", told)
	}
	bot := call("a", "bot")
	if n := testing.AllocsPerRun(1000, func() { g.Check(bot) }); n != 0 {
		t.Errorf("a denied call allocates %v times", n)
	}
	r.kill("a", "last")
	next(t, acks)
	wantVerdict(t, g, call("a", "last"), guard.Deny)
	if a := next(t, acks); a.Revocation == told.Revocation {
		t.Errorf("told twice: %+v", a)
	}
}

func TestNobodyWaitsWhereNobodyIsTold(t *testing.T) {
	r := newRig(t, 1)
	g := r.guard("gate-1")
	r.nc.Flush()
	g.Close() // nobody takes what is to be told any more
	const n = 3000
	for i := range n {
		rec, err := r.client.Record(target("a", fmt.Sprint("bot-", i)))
		if err != nil {
			t.Fatal(err)
		}
		g.Take(revoke.Subject(rec.Revocation), rec.SET)
		wantVerdict(t, g, call("a", fmt.Sprint("bot-", i)), guard.Deny)
	}
	if errs := g.Stats().AckErrors; errs == 0 || errs > n {
		t.Errorf("%d of %d could not be told", errs, n)
	}
}

func TestGuestsCannotHearOrForgeWhatIsForTheDetector(t *testing.T) {
	r := newRig(t, 1)
	refused := make(chan error, 10)
	guest := r.connect(r.server.URL())
	guest.SetErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err })
	for _, subject := range []string{"estop.v1.guards", "estop.v1.unconfirmed.x"} {
		if err := guest.Publish(subject, []byte("x")); err != nil {
			t.Fatal(err)
		}
		if err := next(t, refused); !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("%s: %v", subject, err)
		}
	}
}
