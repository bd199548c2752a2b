package guard_test

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/guard"
)

func TestComplaint01TheNextCallAndTheOneInFlightFail(t *testing.T) {
	r := newRig(t, 1)
	g := r.guard("g1")
	bystander, other, _ := g.Begin(context.Background(), call("acme", "other"))
	defer other.End()
	ctx, inflight, d := g.Begin(context.Background(), call("acme", "bot"))
	defer inflight.End()
	if d.Verdict != guard.Allow || ctx.Err() != nil {
		t.Fatalf("before the kill: %v, %v", d, ctx.Err())
	}

	acks := r.kill("acme", "bot")

	// The acknowledgement comes after the stop: no waiting here.
	if len(acks) != 1 || acks[0].Guard != "g1" || acks[0].Cancelled != 1 || acks[0].Latency <= 0 {
		t.Errorf("acks = %+v", acks)
	}
	wantVerdict(t, g, call("acme", "bot"), guard.Deny)
	var revoked *guard.Revoked
	if !errors.As(context.Cause(ctx), &revoked) || revoked.Revocation.ID != acks[0].Revocation {
		t.Errorf("cause of the call in flight = %v", context.Cause(ctx))
	}
	if bystander.Err() != nil {
		t.Errorf("another agent's call was cancelled: %v", context.Cause(bystander))
	}
	wantVerdict(t, g, call("acme", "other"), guard.Allow)
}

func TestComplaint01WithoutAnAckNothingCountsAsStopped(t *testing.T) {
	r := newRig(t, 2)
	r.guard("g1")
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	acks, err := r.client.Kill(ctx, target("acme", "bot"))
	if !errors.Is(err, revoke.ErrUnconfirmed) {
		t.Errorf("two guards expected, one there: error %v, want ErrUnconfirmed", err)
	}
	if len(acks) != 1 {
		t.Errorf("acks = %+v, want the one of g1", acks)
	}
}

func TestComplaint02LostMessagesAreCaught(t *testing.T) {
	r := newRig(t, 1)
	g := r.guard("g1", func(o *guard.Options) { o.Poll = 20 * time.Millisecond })
	r.kill("acme", "first")
	// Core NATS carries nothing more to this guard; the stream still has it.
	g.Deafen()
	acks := r.kill("acme", "bot")
	wantVerdict(t, g, call("acme", "bot"), guard.Deny)
	if len(acks) != 1 {
		t.Errorf("acks = %+v", acks)
	}
}

func TestComplaint02OrderAndRepetitionMakeNoDifference(t *testing.T) {
	r := newRig(t, 0)
	now := time.Now()
	at := func(n int) func(*revoke.Revocation) {
		return func(rev *revoke.Revocation) { rev.IssuedAt = now.Add(time.Duration(n) * time.Millisecond) }
	}
	var records []revoke.Record
	for i, rev := range []revoke.Revocation{
		target("acme", "a", at(0)), target("acme", "b", at(1), action(revoke.Throttle)),
		target("acme", "a", at(2), action(revoke.Release)), target("acme", "b", at(3), action(revoke.Restrict)),
		target("acme", "c", at(4)), target("globex", "a", at(5)), target("acme", "a", at(6), action(revoke.Restrict)),
		target("acme", "c", at(7), action(revoke.Release)),
	} {
		rev.ID, rev.Initiator = revoke.ID("d", "e", "t", 0, int64(i), 0), revoke.Admin
		rec, err := r.signer.Record(rev)
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, rec)
	}
	random := rand.New(rand.NewPCG(1, 2))
	var digest string
	for round := range 20 {
		messages := append(slices.Clone(records), records...)
		random.Shuffle(len(messages), func(i, j int) { messages[i], messages[j] = messages[j], messages[i] })
		g, err := guard.New(guard.Options{Name: "g", Conn: r.nc, Verifier: r.signer.Verifier(), All: true})
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range messages {
			g.Take(revoke.Subject(m.Revocation), m.SET)
		}
		if digest == "" {
			digest = g.Digest()
		}
		if got := g.Digest(); got != digest {
			t.Fatalf("round %d: digest %s, want %s", round, got, digest)
		}
		wantVerdict(t, g, call("acme", "a"), guard.Restrict)
		wantVerdict(t, g, call("acme", "b"), guard.Restrict)
		wantVerdict(t, g, call("acme", "c"), guard.Allow)
		wantVerdict(t, g, call("globex", "a"), guard.Deny)
	}
}

// Nothing that a guard does in its own time is needed: it reads the stream again in an hour, and hears no heartbeats.
func TestComplaint03AKillIsPushedAndNotAskedFor(t *testing.T) {
	r := newRig(t, 1)
	g := r.guard("g1", func(o *guard.Options) { o.Poll = time.Hour })
	for i := range 20 {
		agent := fmt.Sprint("bot", i)
		wantVerdict(t, g, call("acme", agent), guard.Allow)
		ctx, inflight, _ := g.Begin(context.Background(), call("acme", agent))
		r.kill("acme", agent) // returns once the guard has acknowledged: no waiting here
		wantVerdict(t, g, call("acme", agent), guard.Deny)
		if ctx.Err() == nil {
			t.Error("the call in flight goes on")
		}
		inflight.End()
	}
}

// A backlog of repetitions is none: whoever joins late reads one message, the last, and no guard keeps more.
func TestComplaint03OrdersForOneSubjectCoalesce(t *testing.T) {
	const orders = 10_000
	r := newRig(t, 1)
	early := r.guard("early")
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	issued := time.Now()
	var stored *revoke.Stored
	for i := range orders {
		rev := target("acme", "bot", action(revoke.Throttle))
		if i == orders-1 {
			rev = target("acme", "bot")
		}
		rev.ID, rev.Initiator, rev.IssuedAt = fmt.Sprint("order", i), revoke.Policy, issued.Add(time.Duration(i))
		rec, err := r.signer.Record(rev)
		if err != nil {
			t.Fatal(err)
		}
		if stored != nil && i%100 == 0 { // no more are under way than a connection holds
			if err := stored.Wait(ctx); err != nil {
				t.Fatal(err)
			}
		}
		if stored, err = r.client.Publisher().Publish(ctx, rec); err != nil {
			t.Fatal(err)
		}
	}
	if err := stored.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(r.nc)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(ctx, revoke.Stream)
	if err != nil {
		t.Fatal(err)
	}
	if n := stream.CachedInfo().State.Msgs; n != 1 {
		t.Errorf("the stream has %d messages", n)
	}
	late := r.guard("late", func(o *guard.Options) { o.Poll = time.Hour })
	wantVerdict(t, late, call("acme", "bot"), guard.Deny)
	if s := late.Stats(); s.Applied != 1 || s.Active != 1 {
		t.Errorf("the late joiner has taken %d messages and holds %d", s.Applied, s.Active)
	}
	eventually(t, becomes(early, call("acme", "bot"), guard.Deny))
	if n := early.Stats().Active; n != 1 {
		t.Errorf("the guard that heard all of them holds %d", n)
	}
}

func TestComplaint04FailModeIsTheOwnersChoice(t *testing.T) {
	payments := func(c *guard.Call) bool { return c.Resource == "payments" }
	clock := newClock()
	f := func(name string, change func(*guard.Options), paymentsWant, wikiWant guard.Verdict, reason string) {
		t.Helper()
		o := guard.Options{
			Name: "g", Conn: &nats.Conn{}, Verifier: revokeKey(t).Verifier(), All: true, Clock: clock.now,
			MaxStale: time.Minute,
		}
		change(&o)
		g, err := guard.New(o)
		if err != nil {
			t.Fatal(err)
		}
		if reason == guard.ReasonStale {
			g.MarkRead()
			clock.add(2 * time.Minute)
			g.CheckStale()
		}
		for resource, want := range map[string]guard.Verdict{"payments": paymentsWant, "wiki": wikiWant} {
			d := g.Check(&guard.Call{Tenant: "acme", Agent: "bot", Resource: resource})
			if d.Verdict != want || (want == guard.Deny && d.Reason != reason) {
				t.Errorf("%s: %s: %v %q, want %v", name, resource, d.Verdict, d.Reason, want)
			}
		}
	}
	f("not synced, open", func(*guard.Options) {}, guard.Allow, guard.Allow, "")
	f("not synced, closed", func(o *guard.Options) { o.FailClosedUntilSynced = true },
		guard.Deny, guard.Deny, guard.ReasonNotSynced)
	f("not synced, closed for payments", func(o *guard.Options) { o.FailClosedUntilSynced, o.FailClosed = true, payments },
		guard.Deny, guard.Allow, guard.ReasonNotSynced)
	f("stale, closed", func(*guard.Options) {}, guard.Deny, guard.Deny, guard.ReasonStale)
	f("stale, closed for payments", func(o *guard.Options) { o.FailClosed = payments },
		guard.Deny, guard.Allow, guard.ReasonStale)
	f("stale, open for all", func(o *guard.Options) { o.MaxStale = 0 }, guard.Allow, guard.Allow, guard.ReasonStale)
}

func TestComplaint05AnUnknownKindIsNeverLetThrough(t *testing.T) {
	r := newRig(t, 0)
	g := r.guard("g1")
	for _, rev := range []revoke.Revocation{
		target("acme", "swarm-7", scope("swarm")),
		target("acme", "bot", action("freeze")),
	} {
		rev.ID, rev.IssuedAt, rev.Initiator = rev.Subject, time.Now(), revoke.Admin
		token, err := guard.SignAnything(r.signer, rev)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.nc.Publish(revoke.Subject(rev), []byte(token)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, becomes(g, call("acme", "bot"), guard.Deny))
	for _, c := range []guard.Call{
		{Tenant: "acme", Agent: "swarm-7"},
		{Tenant: "acme", Agent: "x", Identity: "swarm-7"},
		{Tenant: "acme", Agent: "x", Session: "swarm-7"},
		{Tenant: "acme", Agent: "x", Chain: []string{"swarm-7", "x"}},
	} {
		wantVerdict(t, g, &c, guard.Deny)
	}
	wantVerdict(t, g, call("acme", "x"), guard.Allow)
	wantVerdict(t, g, call("globex", "swarm-7"), guard.Allow)
	if s := g.Stats(); s.Unknown < 2 || len(s.Refused) != 0 {
		t.Errorf("stats %+v: unknown kinds are counted, not refused", s)
	}
}

// A stop without an end, or one that has ended before it begins, is refused wherever it comes in: where a person or
// a detector orders it, and where a guard reads what is signed all the same.
func TestComplaint08AStopWithoutAProperEndIsRefused(t *testing.T) {
	r := newRig(t, 1)
	g := r.guard("g1")
	now := time.Now()
	for name, until := range map[string]time.Time{
		"none": {}, "zero long": now, "negative": now.Add(-time.Hour), "too long": now.Add(revoke.MaxDuration + time.Second),
		"for ever": time.Date(2261, 1, 1, 0, 0, 0, 0, time.UTC),
	} {
		rev := target("acme", "bot", func(r *revoke.Revocation) { r.IssuedAt, r.Until = now, until })
		if _, err := r.client.Kill(r.ctx(), rev); !errors.Is(err, revoke.ErrInvalid) {
			t.Errorf("%s: a person may: %v", name, err)
		}
		rev.ID, rev.Initiator = name, revoke.Policy
		if _, err := r.signer.Record(rev); !errors.Is(err, revoke.ErrInvalid) {
			t.Errorf("%s: a detector may: %v", name, err)
		}
		refused := g.Stats().Refused
		g.Take(revoke.Subject(rev), signedWithEnd(t, r.signer, rev))
		if now := g.Stats().Refused; sum(now) != sum(refused)+1 {
			t.Errorf("%s: a guard takes it: %v", name, now)
		}
		wantVerdict(t, g, call("acme", "bot"), guard.Allow)
	}
	good := target("acme", "bot", func(r *revoke.Revocation) { r.ID, r.Initiator, r.IssuedAt = "good", revoke.Policy, now })
	g.Take(revoke.Subject(good), signedWithEnd(t, r.signer, good)) // the forging itself is not what is refused
	wantVerdict(t, g, call("acme", "bot"), guard.Deny)
}

// signedWithEnd signs a revocation with any end, or none, as a program would that checks nothing.
func signedWithEnd(t *testing.T, s revoke.Signer, r revoke.Revocation) string {
	t.Helper()
	proper := r
	proper.Until = r.IssuedAt.Add(time.Hour)
	token, err := s.Sign(proper)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(token, ".")
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	old, end := fmt.Sprintf(`"until":%d`, proper.Until.UnixNano()), fmt.Sprintf(`"until":%d`, r.Until.UnixNano())
	if r.Until.IsZero() {
		old, end = ","+old, ""
	}
	edited := strings.Replace(string(payload), old, end, 1)
	if edited == string(payload) && !r.Until.Equal(proper.Until) {
		t.Fatalf("no end in %s", payload)
	}
	signed := parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(edited))
	return signed + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(s.Key, []byte(signed)))
}

func sum(counts map[string]uint64) (n uint64) {
	for _, c := range counts {
		n += c
	}
	return n
}

func TestComplaint08TheKeyOfAStopIsTheWholeTarget(t *testing.T) {
	r := newRig(t, 1)
	g := r.guard("g1")
	r.kill("acme", "bot")
	wantVerdict(t, g, call("acme", "bot"), guard.Deny)
	wantVerdict(t, g, call("globex", "bot"), guard.Allow)
	wantVerdict(t, g, &guard.Call{Tenant: "acme", Agent: "x", Identity: "bot", Session: "bot"}, guard.Allow)
	// A second offender of the same name in another place does not replace the first.
	r.kill("globex", "bot")
	r.kill("acme", "bot", scope(revoke.Identity))
	wantVerdict(t, g, call("acme", "bot"), guard.Deny)
	wantVerdict(t, g, call("globex", "bot"), guard.Deny)
	wantVerdict(t, g, &guard.Call{Tenant: "acme", Agent: "x", Identity: "bot"}, guard.Deny)
	wantVerdict(t, g, &guard.Call{Tenant: "acme", Agent: "x", Session: "bot"}, guard.Allow)
	// Nor does a release of one end another.
	if _, err := r.client.Release(r.ctx(), "acme", revoke.Identity, "bot", "test", 0); err != nil {
		t.Fatal(err)
	}
	wantVerdict(t, g, call("acme", "bot"), guard.Deny)
	wantVerdict(t, g, &guard.Call{Tenant: "acme", Agent: "x", Identity: "bot"}, guard.Allow)
}

func TestComplaint12AReleaseShieldsFromAnInstantRepetition(t *testing.T) {
	r := newRig(t, 1)
	g := r.guard("g1")
	automatic := func(id string) error {
		rev := target("acme", "bot")
		rev.ID, rev.Initiator, rev.IssuedAt = id, revoke.Policy, time.Now()
		rec, err := r.signer.Record(rev)
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.client.Send(r.ctx(), rec)
		return err
	}
	if err := automatic("first"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.client.Release(r.ctx(), "acme", revoke.Agent, "bot", "false alarm", time.Hour); err != nil {
		t.Fatal(err)
	}
	wantVerdict(t, g, call("acme", "bot"), guard.Allow)
	for _, id := range []string{"first", "second"} {
		if err := automatic(id); !errors.Is(err, revoke.ErrShielded) {
			t.Errorf("%s: %v, want ErrShielded", id, err)
		}
	}
	wantVerdict(t, g, call("acme", "bot"), guard.Allow)
	// A person is not held back.
	r.kill("acme", "bot")
	wantVerdict(t, g, call("acme", "bot"), guard.Deny)
}

func TestComplaint13EmptyNeverMeansAll(t *testing.T) {
	r := newRig(t, 1)
	g := r.guard("g1")
	for _, c := range []guard.Call{{}, {Tenant: "acme"}, {Agent: "bot"}, {Identity: "i", Session: "s"}} {
		d := g.Check(&c)
		if d.Verdict != guard.Deny || d.Reason != guard.ReasonUnidentified {
			t.Errorf("%+v: %v %q, want deny as unidentified", c, d.Verdict, d.Reason)
		}
		ctx, inflight, _ := g.Begin(context.Background(), &c)
		if ctx.Err() == nil {
			t.Errorf("%+v: an unidentified call begins", c)
		}
		inflight.End()
	}
	for _, s := range []revoke.Scope{revoke.Agent, revoke.Identity, revoke.Session, revoke.Chain} {
		if _, err := r.client.Kill(r.ctx(), target("acme", "", scope(s))); !errors.Is(err, revoke.ErrInvalid) {
			t.Errorf("a kill of scope %s without subject: %v", s, err)
		}
	}
	// A call without session is not stopped by anybody's session, nor one without chain by a chain.
	r.kill("acme", "s1", scope(revoke.Session))
	wantVerdict(t, g, call("acme", "bot"), guard.Allow)

	base := guard.Options{Name: "g", Conn: r.nc, Verifier: r.signer.Verifier()}
	for name, change := range map[string]func(*guard.Options){
		"no tenants":       func(*guard.Options) {},
		"an empty tenant":  func(o *guard.Options) { o.Tenants = []string{"acme", ""} },
		"all and some":     func(o *guard.Options) { o.Tenants, o.All = []string{"acme"}, true },
		"no keys":          func(o *guard.Options) { o.All, o.Verifier.Keys = true, nil },
		"no issuer":        func(o *guard.Options) { o.All, o.Verifier.Issuer = true, "" },
		"no name":          func(o *guard.Options) { o.All, o.Name = true, "" },
		"no connection":    func(o *guard.Options) { o.All, o.Conn = true, nil },
		"negative timeout": func(o *guard.Options) { o.All, o.MaxStale = true, -1 },
	} {
		o := base
		change(&o)
		if _, err := guard.New(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestComplaint14TwoOfEverything(t *testing.T) {
	r := newRig(t, 2)
	a, b := r.guard("g1"), r.guard("g2")
	second, err := revoke.NewClient(r.ctx(), r.connect(r.server.DetectorURL()), revoke.ClientOptions{Signer: r.signer, Expect: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	var wg sync.WaitGroup
	for i := range 20 {
		c := []*revoke.Client{r.client, second}[i%2]
		wg.Go(func() {
			if acks, err := c.Kill(r.ctx(), target("acme", fmt.Sprint("bot", i))); err != nil || len(acks) != 2 {
				t.Error(acks, err)
			}
		})
	}
	wg.Wait()
	for i := range 20 {
		wantVerdict(t, a, call("acme", fmt.Sprint("bot", i)), guard.Deny)
		wantVerdict(t, b, call("acme", fmt.Sprint("bot", i)), guard.Deny)
	}
	if a.Digest() != b.Digest() {
		t.Errorf("digests %s and %s", a.Digest(), b.Digest())
	}
}
