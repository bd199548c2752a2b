package guard

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/estop-project/estop/revoke"
)

// pair is a guard that verifies what it reads when it reads it, and one that lets it wait.
type pair struct {
	eager, lazy *Guard
	now         time.Time
	sequence    uint64
	calls       []pairCall
}

// pairCall is a call in flight at both.
type pairCall struct {
	call              *Call
	atEager, atLazy   context.Context
	eagerOne, lazyOne *InFlight
}

func newPair(t interface{ Fatal(...any) }, v revoke.Verifier) *pair {
	p := &pair{now: time.Unix(1_800_000_000, 0)}
	clock := func() time.Time { return p.now }
	p.eager, p.lazy = testGuard(t, clock), testGuard(t, clock)
	p.eager.verifier.Store(&v)
	p.lazy.verifier.Store(&v)
	return p
}

// read is a message of the stream.
func (p *pair) read(subject, token string) {
	p.sequence++
	m := revoke.StreamMessage{Subject: subject, Sequence: p.sequence, Token: []byte(token)}
	p.eager.receive(m.Subject, m.Token, m.Sequence)
	if !p.lazy.postpone(m, nil) {
		p.lazy.receive(m.Subject, m.Token, m.Sequence)
	}
}

func (p *pair) hear(subject, token string) {
	for _, g := range []*Guard{p.eager, p.lazy} {
		g.receive(subject, []byte(token), overCore)
	}
}

func (p *pair) begin(t *rapid.T, c *Call) {
	one := pairCall{call: c}
	var eager, lazy Decision
	one.atEager, one.eagerOne, eager = p.eager.Begin(context.Background(), c)
	one.atLazy, one.lazyOne, lazy = p.lazy.Begin(context.Background(), c)
	sameDecision(t, c, eager, lazy)
	p.calls = append(p.calls, one)
}

func (p *pair) sameInFlight(t *rapid.T) {
	for _, c := range p.calls {
		if eager, lazy := context.Cause(c.atEager), context.Cause(c.atLazy); fmt.Sprint(eager) != fmt.Sprint(lazy) {
			t.Fatalf("%+v: %v at the guard that verifies at once, %v at the one that waits", *c.call, eager, lazy)
		}
	}
}

func sameDecision(t *rapid.T, c *Call, eager, lazy Decision) {
	if eager.Verdict != lazy.Verdict || !cmp.Equal(eager.Revocation, lazy.Revocation) {
		t.Fatalf("Check(%+v) = %v %+v at the guard that verifies at once, %v %+v at the one that waits",
			*c, eager.Verdict, eager.Revocation, lazy.Verdict, lazy.Revocation)
	}
}

// drawToken returns a message: genuine, of a stranger, or filed under another target.
func (p *pair) drawToken(t *rapid.T, n int, name *rapid.Generator[string], mine, stranger revoke.Signer) (string, string) {
	r := revoke.Revocation{
		ID: fmt.Sprint(n), Tenant: name.Draw(t, "tenant"), Subject: name.Draw(t, "subject"), Reason: "test", Initiator: revoke.Admin,
		Scope:    rapid.SampledFrom([]revoke.Scope{revoke.Tenant, revoke.Agent, revoke.Chain, revoke.Identity, revoke.Session}).Draw(t, "scope"),
		Action:   rapid.SampledFrom([]revoke.Action{revoke.Throttle, revoke.Restrict, revoke.Revoke, revoke.Revoke, revoke.Release}).Draw(t, "action"),
		IssuedAt: p.now.Add(time.Duration(rapid.IntRange(-5, 5).Draw(t, "seconds")) * time.Second),
	}
	if r.Scope == revoke.Tenant {
		r.Subject = r.Tenant
	}
	if r.Action == revoke.Release && rapid.Bool().Draw(t, "names") {
		r.Releases = fmt.Sprint(n - 1)
	}
	r.Until = r.IssuedAt.Add(time.Duration(rapid.IntRange(1, 20).Draw(t, "lasts")) * time.Second)
	subject, signer := revoke.Subject(r), mine
	switch rapid.IntRange(0, 5).Draw(t, "forged") {
	case 0:
		signer = stranger
	case 1:
		other := r
		other.Scope, other.Subject = revoke.Agent, name.Draw(t, "filed under")
		subject = revoke.Subject(other)
	}
	token, err := signer.Sign(r)
	if err != nil {
		t.Fatal(err)
	}
	return subject, token
}

// Whatever comes in whatever order, nobody can tell a guard that lets messages wait from one that does not.
func TestWhatWaitsToBeVerifiedAnswersAsIfItWere(t *testing.T) {
	mine, stranger := signerFor(t), signerFor(t)
	stranger.KID = mine.KID
	// The last one is carried as a hash only.
	name := rapid.SampledFrom([]string{"a", "b", "with spaces", strings.Repeat("x", 100)})
	rapid.Check(t, func(t *rapid.T) {
		p := newPair(t, mine.Verifier())
		n := 0
		var past [][2]string
		draw := func(t *rapid.T) (string, string) {
			if len(past) > 0 && rapid.IntRange(0, 3).Draw(t, "again") == 0 {
				one := rapid.SampledFrom(past).Draw(t, "which")
				return one[0], one[1]
			}
			n++
			subject, token := p.drawToken(t, n, name, mine, stranger)
			past = append(past, [2]string{subject, token})
			return subject, token
		}
		t.Repeat(map[string]func(*rapid.T){
			"read":  func(t *rapid.T) { p.read(draw(t)) },
			"reads": func(t *rapid.T) { p.read(draw(t)); p.read(draw(t)) },
			"hear":  func(t *rapid.T) { p.hear(draw(t)) },
			"call": func(t *rapid.T) {
				c := drawCall(t, name, p.now)
				sameDecision(t, c, p.eager.Check(c), p.lazy.Check(c))
			},
			"begin": func(t *rapid.T) { p.begin(t, drawCall(t, name, p.now)) },
			"end": func(t *rapid.T) {
				if len(p.calls) > 0 {
					p.calls[0].eagerOne.End()
					p.calls[0].lazyOne.End()
					p.calls = p.calls[1:]
				}
			},
			"time": func(t *rapid.T) {
				p.now = p.now.Add(time.Duration(rapid.IntRange(1, 10).Draw(t, "seconds")) * time.Second)
			},
			"verify all": func(t *rapid.T) { p.verified(t) },
			"":           p.sameInFlight,
		})
		p.verified(t)
	})
}

// verified compares what both have when nothing waits.
func (p *pair) verified(t *rapid.T) {
	if err := p.lazy.verifyAll(context.Background()); err != nil {
		t.Fatal(err)
	}
	eager, lazy := p.eager.Stats(), p.lazy.Stats()
	if lazy.Unverified != 0 || p.lazy.unverified.table.Load() != nil || p.lazy.unverified.bytes.Load() != 0 {
		t.Fatalf("%d wait still, %d bytes", lazy.Unverified, p.lazy.unverified.bytes.Load())
	}
	eager.Age, lazy.Age = 0, 0
	if diff := cmp.Diff(eager, lazy); diff != "" {
		t.Fatal(diff)
	}
	if p.eager.Digest() != p.lazy.Digest() {
		t.Fatal("the digests differ")
	}
	if diff := cmp.Diff(p.eager.ledgerDigest(), p.lazy.ledgerDigest()); diff != "" {
		t.Fatal(diff)
	}
}

func (g *Guard) ledgerDigest() string {
	digest, n, sequence := g.pulse.holds(g.clock().Unix())
	return fmt.Sprintf("%x %d %d", digest, n, sequence)
}

func signerFor(t *testing.T) revoke.Signer {
	t.Helper()
	s, err := revoke.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestACheckThatMeetsNothingThatWaitsAllocatesNothing(t *testing.T) {
	g := testGuard(t, time.Now)
	for i := range 2000 {
		r := agentRevocation(i, time.Now(), time.Hour)
		if !g.postpone(revoke.StreamMessage{Subject: revoke.Subject(r), Sequence: uint64(i + 1), Token: []byte("forged")}, nil) {
			t.Fatal("it does not wait")
		}
	}
	c := &Call{Tenant: "acme", Agent: "innocent", Identity: "role", Session: "run", Chain: []string{"root", "middle"}}
	if n := testing.AllocsPerRun(1000, func() { g.Check(c) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if n := g.unverified.left.Load(); n != 2000 {
		t.Errorf("%d of 2000 wait still", n)
	}
	if d := g.Check(&Call{Tenant: "acme", Agent: "agent-7"}); d.Verdict != Allow {
		t.Error("a forgery stops an agent")
	}
	if n := g.unverified.left.Load(); n != 1999 {
		t.Errorf("%d wait after the call that met one, want 1999", n)
	}
}

func TestCallsMeetWhatIsReadMeanwhile(t *testing.T) {
	signer := signerFor(t)
	g := testGuard(t, time.Now)
	v := signer.Verifier()
	g.verifier.Store(&v)
	const n = 500
	messages := make([]revoke.StreamMessage, n)
	for i := range messages {
		r := agentRevocation(i, time.Now(), time.Hour)
		r.Reason, r.Initiator = "test", revoke.Admin
		token, err := signer.Sign(r)
		if err != nil {
			t.Fatal(err)
		}
		messages[i] = revoke.StreamMessage{Subject: revoke.Subject(r), Sequence: uint64(i + 1), Token: []byte(token)}
	}
	contexts := make(chan context.Context, n)
	go func() {
		defer close(contexts)
		for i := range n {
			ctx, _, _ := g.Begin(context.Background(), &Call{Tenant: "acme", Agent: fmt.Sprint("agent-", i)})
			contexts <- ctx
		}
	}()
	for _, m := range messages {
		if !g.postpone(m, nil) {
			t.Fatal("it does not wait")
		}
	}
	for ctx := range contexts {
		if ctx.Err() == nil {
			t.Fatal("a call runs on beside a revocation that was read")
		}
	}
	if err := g.verifyAll(context.Background()); err != nil {
		t.Fatal(err)
	}
	if s := g.Stats(); s.Active != n || s.Unverified != 0 {
		t.Errorf("%+v", s)
	}
}

func TestWhatIsPastTheBoundDoesNotWait(t *testing.T) {
	g := testGuard(t, time.Now)
	g.unverified.bytes.Store(maxUnverified)
	if g.postpone(revoke.StreamMessage{Subject: "estop.v1.revoke.acme.agent.a", Token: []byte("forged")}, nil) {
		t.Error("it waits")
	}
}

func TestForgeriesWithoutATokenMeetTheBoundToo(t *testing.T) {
	g := testGuard(t, time.Now)
	m := revoke.StreamMessage{Subject: "estop.v1.revoke.acme.agent.a"}
	if !g.postpone(m, nil) {
		t.Fatal("it does not wait")
	}
	if n, least := g.unverified.bytes.Load(), int64(unsafe.Sizeof(waiting{}))+int64(len(m.Subject)); n < least {
		t.Errorf("%d bytes are counted, and it takes %d", n, least)
	}
}
