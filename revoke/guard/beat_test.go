package guard_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/guard"
)

// beats starts a publisher's heartbeats and returns what stops them.
func (r *rig) beats(name string, interval time.Duration) (stop func()) {
	r.t.Helper()
	return beats(r.t, r.connect(r.server.DetectorURL()), r.signer, name, interval)
}

func beats(t testing.TB, nc *nats.Conn, signer revoke.Signer, name string, interval time.Duration) (stop func()) {
	t.Helper()
	h, err := revoke.NewHeartbeat(nc, revoke.HeartbeatOptions{Name: name, Signer: signer, Interval: interval})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.Run(ctx)
	}()
	stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(stop)
	return stop
}

// slowPoll leaves to heartbeats what a poll would find.
func slowPoll(o *guard.Options) { o.Poll = time.Hour }

func heard(g *guard.Guard, n uint64) func() error {
	return func() error {
		if s := g.Stats(); s.Beats < n {
			return fmt.Errorf("%d heartbeats heard, want %d: %+v", s.Beats, n, s)
		}
		return nil
	}
}

func TestALostRevocationIsNoticedWithinOneHeartbeat(t *testing.T) {
	r := newRig(t, 0)
	r.beats("detect-1", 50*time.Millisecond)
	some := func(o *guard.Options) { o.All, o.Tenants = false, []string{"acme", "globex"} }
	for name, change := range map[string]func(*guard.Options){"all": slowPoll, "some": func(o *guard.Options) { slowPoll(o); some(o) }} {
		g := r.guard(name, change)
		eventually(t, heard(g, 2))
		g.LoseRevocations()
		before := g.Stats()
		r.kill("acme", name)
		eventually(t, becomes(g, call("acme", name), guard.Deny))
		eventually(t, heard(g, before.Beats+3))
		after := g.Stats()
		// On a busy machine a heartbeat that comes late is the first to say that something is wrong.
		if noticed := after.Mismatches + after.Missed - before.Mismatches - before.Missed; noticed == 0 || after.Resyncs != before.Resyncs || after.Diverged != 0 {
			t.Errorf("%s: %+v: want a mismatch, which a reading of what is new heals", name, after)
		}
		// What another tenant loses is none of its business.
		if name == "some" {
			r.kill("initech", "bot")
			eventually(t, heard(g, after.Beats+3))
			if s := g.Stats(); s.Mismatches != after.Mismatches {
				t.Errorf("%+v: a mismatch because of a tenant that is not served", s)
			}
		}
	}
}

func TestAGuardThatAgreesReadsNothing(t *testing.T) {
	r := newRig(t, 0)
	r.beats("detect-1", 20*time.Millisecond)
	r.kill("acme", "a")
	g := r.guard("g", func(o *guard.Options) { o.Poll, o.MaxStale = 20*time.Millisecond, time.Minute })
	for i := range 20 {
		r.kill("acme", fmt.Sprint("b", i))
		if _, err := r.client.Release(r.ctx(), "acme", revoke.Agent, fmt.Sprint("b", i), "test", 0); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, heard(g, 10))
	if s := g.Stats(); s.Mismatches+s.Resyncs+s.Diverged != 0 || s.Stale {
		t.Errorf("%+v: want no mismatch", s)
	}
}

func TestAMissedHeartbeatIsNoticedAndCounted(t *testing.T) {
	r := newRig(t, 0)
	stop := r.beats("detect-1", 30*time.Millisecond)
	g := r.guard("g", slowPoll, func(o *guard.Options) { o.MaxStale = 300 * time.Millisecond })
	eventually(t, heard(g, 2))
	g.LoseRevocations()
	stop()
	// No heartbeat tells of this one: that there is none does.
	r.kill("acme", "bot")
	eventually(t, func() error {
		if d := g.Check(call("acme", "bot")); d.Revocation == nil {
			return fmt.Errorf("decision %v %q, want the revocation", d.Verdict, d.Reason)
		}
		return nil
	})
	// A reading says what is new, but not that it is all there is.
	eventually(t, func() error {
		if s := g.Stats(); s.Missed == 0 || !s.Stale || g.Check(call("acme", "x")).Reason != guard.ReasonStale {
			return fmt.Errorf("%+v: want a silence, and stale", s)
		}
		return nil
	})
	r.beats("detect-1", 30*time.Millisecond) // the publisher is back, and counts from 0
	eventually(t, becomes(g, call("acme", "x"), guard.Allow))
	wantVerdict(t, g, call("acme", "bot"), guard.Deny)
}

func TestComplaint14ThePublisherThatDiesIsNotMissedWhereThereAreTwo(t *testing.T) {
	r := newRig(t, 0)
	stop := r.beats("detect-1", 30*time.Millisecond)
	r.beats("detect-2", 30*time.Millisecond)
	g := r.guard("g", slowPoll, func(o *guard.Options) { o.MaxStale = 10 * time.Second })
	eventually(t, heard(g, 10))
	stop()
	before := g.Stats()
	eventually(t, heard(g, before.Beats+20))
	if s := g.Stats(); s.Missed > before.Missed+10 || s.Stale || s.Mismatches != 0 || len(s.Refused) != 0 {
		t.Errorf("before %+v, after %+v", before, s)
	}
}

// sampleBeat is a heartbeat of an empty stream.
func emptyBeat(number uint64, at time.Time) revoke.Beat {
	all, _ := mustView(revoke.NewLedger(), at).All()
	return revoke.Beat{
		Publisher: "detect-1", Start: "one", Number: number, IssuedAt: at, Interval: time.Second,
		Stream: time.Unix(1_700_000_000, 0), All: all,
	}
}

func mustView(l *revoke.Ledger, at time.Time) revoke.View {
	v, ok := l.At(at.Unix())
	if !ok {
		panic("forgotten")
	}
	return v
}

func TestHeartbeatsThatAreOldRepeatedOrForeignAreRefusedAndCounted(t *testing.T) {
	clock := newClock()
	r := newRig(t, 0)
	g := r.guard("g", func(o *guard.Options) { o.Clock = clock.now })
	sign := func(s revoke.Signer, b revoke.Beat) string {
		token, err := s.SignBeat(b)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	now := clock.now()
	first := sign(r.signer, emptyBeat(5, now))
	g.HearBeat(first)
	g.HearBeat(first)                                                         // replayed
	g.HearBeat(sign(r.signer, emptyBeat(4, now)))                             // older
	g.HearBeat(sign(r.signer, emptyBeat(6, now.Add(-3*time.Minute))))         // too old
	g.HearBeat(sign(r.signer, emptyBeat(7, now.Add(3*time.Minute))))          // of the future
	g.HearBeat(sign(revokeKey(t), emptyBeat(8, now)))                         // of a stranger
	g.HearBeat(sign(r.signer, emptyBeat(9, now)) + "A")                       // changed
	g.HearBeat(string([]byte(revokeToken(t, r.signer, target("acme", "a"))))) // a revocation
	s := g.Stats()
	for reason, want := range map[string]uint64{"replayed": 2, "expired": 1, "not_yet_valid": 1, "unknown_key": 1, "signature": 1, "type": 1} {
		if s.Refused[reason] != want {
			t.Errorf("refused %v: want %d of %s", s.Refused, want, reason)
		}
	}
	if s.Beats != 1 {
		t.Errorf("%d heartbeats believed, want 1", s.Beats)
	}
	wantVerdict(t, g, call("acme", "a"), guard.Allow)
}

func revokeToken(t *testing.T, s revoke.Signer, r revoke.Revocation) string {
	t.Helper()
	r.ID, r.IssuedAt, r.Initiator = "x", time.Now(), revoke.Admin
	token, err := s.Sign(r)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// A heartbeat that was held up on its way tells of the time when it was issued.
func TestADelayedHeartbeatDoesNotMakeKnowledgeYounger(t *testing.T) {
	clock := newClock()
	r := newRig(t, 0)
	g := r.guard("g", func(o *guard.Options) { o.Clock, o.MaxStale = clock.now, 10*time.Second })
	hear := func(number uint64, at time.Time) {
		token, err := r.signer.SignBeat(emptyBeat(number, at))
		if err != nil {
			t.Fatal(err)
		}
		g.HearBeat(token)
	}
	// The publisher's clock is a minute ahead: how far is known from the quickest heartbeat.
	skew := time.Minute
	hear(1, clock.now().Add(skew))
	if age := g.Stats().Age; age != 0 {
		t.Fatalf("age %v after a heartbeat, want 0", age)
	}
	issued := clock.now().Add(time.Second)
	clock.add(9 * time.Second)
	hear(2, issued.Add(skew))
	if age := g.Stats().Age; age != 8*time.Second {
		t.Errorf("age %v after a heartbeat that was 8 s on its way", age)
	}
	clock.add(3 * time.Second)
	g.CheckStale()
	if d := g.Check(call("acme", "a")); d.Reason != guard.ReasonStale {
		t.Errorf("%v %q: want stale after 11 s", d.Verdict, d.Reason)
	}
}

// The heartbeat was made before the revocation came, and arrives after it.
func TestAGuardThatIsAheadOfAHeartbeatIsNoMismatch(t *testing.T) {
	r := newRig(t, 0)
	g := r.guard("g", slowPoll)
	stream := r.streamCreated()
	for i := range 5 {
		b := emptyBeat(uint64(i), time.Now())
		b.Stream = stream
		r.kill("acme", fmt.Sprint("bot", i))
		eventually(t, becomes(g, call("acme", fmt.Sprint("bot", i)), guard.Deny))
		token, err := r.signer.SignBeat(b)
		if err != nil {
			t.Fatal(err)
		}
		g.HearBeat(token)
		time.Sleep(10 * time.Millisecond)
	}
	r.beats("detect-2", 30*time.Millisecond)
	eventually(t, heard(g, 10))
	if s := g.Stats(); s.Mismatches+s.Diverged != 0 {
		t.Errorf("%+v: want no mismatch", s)
	}
}

func (r *rig) streamCreated() time.Time {
	r.t.Helper()
	s, err := r.stream()
	if err != nil {
		r.t.Fatal(err)
	}
	return s.CachedInfo().Created
}

func (r *rig) stream() (jetstream.Stream, error) {
	js, err := jetstream.New(r.nc)
	if err != nil {
		return nil, err
	}
	return js.Stream(r.ctx(), revoke.Stream)
}

// Whoever holds the server can leave a revocation out. A guard that joins then is told by the
// publisher that something is missing.
func TestAServerThatHidesARevocationIsFoundOut(t *testing.T) {
	r := newRig(t, 0)
	r.beats("detect-1", 30*time.Millisecond)
	old := r.guard("old", func(o *guard.Options) { o.MaxStale = 500 * time.Millisecond })
	r.kill("acme", "bot")
	r.kill("acme", "other")
	eventually(t, heard(old, 3))
	stream, err := r.stream()
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(r.ctx(), jetstream.WithPurgeSubject("estop.v1.revoke.acme.agent.bot")); err != nil {
		t.Fatal(err)
	}
	late := r.guard("late", func(o *guard.Options) { o.MaxStale = 300 * time.Millisecond })
	eventually(t, func() error {
		if s := late.Stats(); s.Diverged == 0 || !s.Stale {
			return fmt.Errorf("%+v: want diverged and stale", s)
		}
		return nil
	})
	if d := late.Check(call("acme", "x")); d.Reason != guard.ReasonStale {
		t.Errorf("%v %q: the guard that lacks a revocation must fail closed", d.Verdict, d.Reason)
	}
	wantVerdict(t, old, call("acme", "bot"), guard.Deny)
	eventually(t, becomes(old, call("acme", "x"), guard.Allow))
}

func TestAnotherStreamIsReadFromItsStart(t *testing.T) {
	r := newRig(t, 0)
	r.beats("detect-1", 30*time.Millisecond)
	g := r.guard("g", slowPoll, func(o *guard.Options) { o.MaxStale = 5 * time.Second })
	for i := range 10 {
		r.kill("acme", fmt.Sprint("bot", i))
	}
	eventually(t, heard(g, 3))
	if err := r.deleteStream(); err != nil {
		t.Fatal(err)
	}
	g.LoseRevocations()
	var c *revoke.Client
	eventually(t, func() (err error) { // the server may still be removing the files of the stream before
		c, err = revoke.NewClient(r.ctx(), r.nc, revoke.ClientOptions{Signer: r.signer})
		return err
	})
	defer c.Close()
	if _, err := c.Kill(r.ctx(), target("acme", "new")); err != nil {
		t.Fatal(err)
	}
	eventually(t, becomes(g, call("acme", "new"), guard.Deny))
	wantVerdict(t, g, call("acme", "bot3"), guard.Deny) // what is in force stays so
	eventually(t, agrees(g))
}

// agrees waits until the guard has what the last heartbeat told of.
func agrees(g *guard.Guard) func() error {
	return func() error {
		if s := g.Stats(); s.Diverged != 0 || s.Stale || s.Age > 500*time.Millisecond {
			return fmt.Errorf("%+v: want the guard to agree with the heartbeats", s)
		}
		return nil
	}
}

func TestWithoutHeartbeatsReadingsCountUnlessTheyAreRequired(t *testing.T) {
	r := newRig(t, 0)
	stale := func(o *guard.Options) { o.MaxStale, o.Poll = 300*time.Millisecond, 20*time.Millisecond }
	auto, ignoring := r.guard("auto", stale), r.guard("ignoring", stale, func(o *guard.Options) { o.Beats = guard.BeatsIgnored })
	required := r.guard("required", stale, func(o *guard.Options) { o.Beats = guard.BeatsRequired })
	eventually(t, func() error {
		if d := required.Check(call("acme", "a")); d.Reason != guard.ReasonStale {
			return fmt.Errorf("%v %q, want stale", d.Verdict, d.Reason)
		}
		return nil
	})
	for _, g := range []*guard.Guard{auto, ignoring} {
		eventually(t, agrees(g))
	}
	stop := r.beats("detect-1", 20*time.Millisecond)
	eventually(t, heard(auto, 3))
	eventually(t, becomes(required, call("acme", "a"), guard.Allow))
	stop()
	eventually(t, func() error {
		if !auto.Stats().Stale || ignoring.Stats().Stale {
			return errors.New("want the guard that heard heartbeats to be stale, not the one that ignores them")
		}
		return nil
	})
}

func TestComplaint04EachClassOfResourcesHasItsOwnLimit(t *testing.T) {
	clock := newClock()
	r := newRig(t, 0)
	g := r.guard("g", func(o *guard.Options) {
		o.Clock, o.MaxStale = clock.now, time.Minute
		o.FailClosed = func(c *guard.Call) bool { return c.Resource != "wiki" }
		o.StaleLimit = func(c *guard.Call) time.Duration {
			if c.Resource == "orders" {
				return time.Hour
			}
			return 0
		}
		o.Beats = guard.BeatsRequired
	})
	want := func(payments, orders guard.Verdict) {
		t.Helper()
		g.CheckStale()
		for resource, want := range map[string]guard.Verdict{"payments": payments, "orders": orders, "wiki": guard.Allow} {
			wantVerdict(t, g, &guard.Call{Tenant: "acme", Agent: "a", Resource: resource}, want)
		}
	}
	want(guard.Allow, guard.Allow)
	clock.add(2 * time.Minute)
	want(guard.Deny, guard.Allow)
	clock.add(time.Hour)
	want(guard.Deny, guard.Deny)
}

func TestClocksMayBeApartByWhatTokensMay(t *testing.T) {
	r := newRig(t, 0)
	r.beats("detect-1", 30*time.Millisecond)
	for _, skew := range []time.Duration{-90 * time.Second, 90 * time.Second} {
		g := r.guard(fmt.Sprint("g", skew), func(o *guard.Options) {
			o.Clock = func() time.Time { return time.Now().Add(skew) }
			o.MaxStale = 5 * time.Second
		})
		// One that ends before this guard's clock, and after the publisher's.
		r.kill("acme", "brief", func(rev *revoke.Revocation) { rev.Until = time.Now().Add(time.Minute) })
		r.kill("acme", "bot")
		eventually(t, becomes(g, call("acme", "bot"), guard.Deny))
		eventually(t, heard(g, 5))
		eventually(t, agrees(g))
	}
}

// A guard may be there before the detector, and before there is a stream. The first heartbeats then tell of an empty
// one, as the guard thinks it to be, and yet it has read nothing.
func TestAGuardThatIsThereBeforeTheStreamSyncsOnceThereIsOne(t *testing.T) {
	r := newRig(t, 0)
	js, err := jetstream.New(r.nc)
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(r.ctx(), revoke.Stream); err != nil {
		t.Fatal(err)
	}
	g, err := guard.New(guard.Options{
		Name: "early", Conn: r.connect(r.server.URL()), Verifier: r.signer.Verifier(), All: true, Poll: time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Start(r.ctx()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	eventually(t, func() error { // the pauses between its readings have grown
		if s := g.Stats(); s.ReadErrors < 6 {
			return fmt.Errorf("%d readings failed", s.ReadErrors)
		}
		return nil
	})
	publisher, err := revoke.NewPublisher(r.ctx(), r.nc, revoke.PublisherOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(publisher.Close)
	r.beats("detect-1", 20*time.Millisecond)
	eventually(t, heard(g, 3))
	if err := g.WaitSynced(r.ctx()); err != nil {
		t.Error(err)
	}
}

// Any replica of the stream answers a direct get, and one that comes back from a pause has not all of it.
func TestAHeartbeatKnowsTheEndOfTheStreamThoughAReplicaDoesNot(t *testing.T) {
	r := newRig(t, 0)
	// A server without permissions: the replica is one that the test plays.
	server := openServer(t)
	detector := r.connect(server.ClientURL())
	client, err := revoke.NewClient(r.ctx(), detector, revoke.ClientOptions{Signer: r.signer, By: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	kill := func(name string) {
		t.Helper()
		if _, err := client.Kill(r.ctx(), target("acme", name)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3 {
		kill(fmt.Sprint("bot", i))
	}
	js, err := jetstream.New(detector)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(r.ctx(), revoke.Stream)
	if err != nil {
		t.Fatal(err)
	}
	config := stream.CachedInfo().Config
	config.AllowDirect = false // this replica is the only one to answer
	if _, err := js.UpdateStream(r.ctx(), config); err != nil {
		t.Fatal(err)
	}
	nothing := &nats.Msg{Header: nats.Header{"Status": {"404"}}}
	if _, err := detector.Subscribe("$JS.API.DIRECT.GET."+revoke.Stream, func(m *nats.Msg) { _ = m.RespondMsg(nothing) }); err != nil {
		t.Fatal(err)
	}
	heard, err := detector.SubscribeSync(revoke.BeatSubject)
	if err != nil {
		t.Fatal(err)
	}
	if err := detector.FlushWithContext(r.ctx()); err != nil {
		t.Fatal(err)
	}
	beats(t, detector, r.signer, "detect-1", 30*time.Millisecond)
	count := func(last uint64) func() error {
		return func() error {
			m, err := heard.NextMsgWithContext(r.ctx())
			if err != nil {
				t.Fatal(err)
			}
			b, err := r.signer.Verifier().VerifyBeat(m.Data, time.Now())
			if err != nil || b.Count != last || b.Sequence < last {
				return fmt.Errorf("heartbeat of %d messages up to %d, %v: want %d", b.Count, b.Sequence, err, last)
			}
			return nil
		}
	}
	eventually(t, count(3))
	kill("bot3")
	eventually(t, count(4))
	// The last one is taken out: what is at the end of the stream is no message any more.
	if err := stream.DeleteMsg(r.ctx(), 4); err != nil {
		t.Fatal(err)
	}
	beats(t, detector, r.signer, "detect-2", 30*time.Millisecond)
	eventually(t, count(3))
}

// openServer is a server with JetStream that lets everybody do everything.
func openServer(t *testing.T) *server.Server {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true, JetStream: true, StoreDir: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("the server does not start")
	}
	return s
}
