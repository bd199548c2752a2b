package graph

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/estop-project/estop/models"
	"github.com/estop-project/estop/pipeline/telemetry"
)

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

const interval = 5 * time.Minute

// at is a time so many intervals after noon.
func at(intervals float64) int64 {
	return noon.Add(time.Duration(intervals * float64(interval))).UnixNano()
}

// call makes a call of "agent identity action resource"; - is an empty field. The chain is
// root first.
func call(tenant, text string, chain ...string) *telemetry.Call {
	fields := [4][]byte{}
	for i, f := range strings.Fields(text) {
		if f != "-" {
			fields[i] = []byte(f)
		}
	}
	c := &telemetry.Call{Tenant: []byte(tenant), Agent: fields[0], Identity: fields[1], Action: fields[2], Resource: fields[3]}
	for _, m := range chain {
		c.Chain = append(c.Chain, []byte(m))
	}
	return c
}

func atOnce(compute func()) { compute() }

func newTest(opt Options) *Recorder {
	if opt.Run == nil {
		opt.Run = atOnce
	}
	return New(opt)
}

// settle moves the time on until everything recorded can be asked.
func settle(r *Recorder, after float64) *Snapshot {
	r.Call(call("t", "-"), at(after+1))
	r.Call(call("t", "-"), at(after+2))
	return r.Current()
}

func TestASnapshotIsTakenAtOneMultipleAndAskedFromTheNext(t *testing.T) {
	r := newTest(Options{})
	r.Call(call("t", "a1 i1 read r1"), at(0.5))
	r.Call(call("t", "a2 i1 read r1"), at(0.9))
	known := func() bool { _, ok := r.Current().GroupOf([]byte("t"), []byte("a1")); return ok }
	for _, step := range []struct {
		at    float64
		known bool
		taken float64
	}{{0.95, false, -1}, {1.1, false, -1}, {1.9, false, -1}, {0.2, false, -1}, {2, true, 1}, {2.5, true, 1}, {7.7, true, 2}} {
		r.Call(call("t", "a3 i3 write r3"), at(step.at))
		if known() != step.known {
			t.Errorf("at %v known: %v", step.at, known())
		}
		taken := r.Current().Size().Taken
		if want := time.Unix(0, at(step.taken)).UTC(); step.taken > 0 && !taken.Equal(want) || step.taken < 0 && !taken.IsZero() {
			t.Errorf("at %v the snapshot of %v is asked", step.at, taken)
		}
	}
	if r.Stats.Snapshots != 3 {
		t.Errorf("%d snapshots", r.Stats.Snapshots)
	}
}

// fleet is a stream of calls of agents in teams, some of them delegated, over a day.
type fleet struct {
	rng    *rand.Rand
	tenant string
	agents int
}

func newFleet(seed uint64, tenant string, agents int) *fleet {
	return &fleet{rand.New(rand.NewPCG(seed, 1)), tenant, agents}
}

func (f *fleet) next() *telemetry.Call {
	a := f.rng.IntN(f.agents)
	team := a % max(1, f.agents/10)
	text := fmt.Sprintf("agent-%d team-%d action-%d resource-%d-%d", a, team, f.rng.IntN(4)+a%3*4, team, f.rng.IntN(20))
	if a%7 == 0 {
		parent := fmt.Sprintf("agent-%d", team)
		return call(f.tenant, text, parent, fmt.Sprintf("agent-%d", a))
	}
	return call(f.tenant, text)
}

// answers is everything that a snapshot says of the agents and resources of a fleet.
func answers(s *Snapshot, tenant string, agents int) (all []any) {
	for a := range agents {
		name := []byte(fmt.Sprintf("agent-%d", a))
		g, ok := s.GroupOf([]byte(tenant), name)
		x, _ := s.Explain([]byte(tenant), name)
		e, _ := s.Excess([]byte(tenant), []byte(fmt.Sprintf("agent-%d", a/10)), name)
		c, _ := s.Criticality(models.ResourceNode, []byte(tenant), []byte(fmt.Sprintf("resource-%d-%d", a%5, a/5)))
		all = append(all, g, ok, x, e, c)
	}
	return append(all, s.Size())
}

func TestAnswersDoNotDependOnHowFastASnapshotIsComputed(t *testing.T) {
	slow := func(compute func()) {
		go func() {
			time.Sleep(20 * time.Millisecond)
			compute()
		}()
	}
	now, later := newTest(Options{}), newTest(Options{Run: slow, Wait: true})
	f := newFleet(1, "t", 60)
	for i := range 6000 {
		c, at := f.next(), at(float64(i)/600)
		if now.Call(c, at) != later.Call(c, at) {
			t.Fatal("calls are told differently")
		}
		if g, _ := now.Current().GroupOf(c.Tenant, c.Agent); now.Call(c, at).Group != g || later.Call(c, at).Group != g {
			t.Fatalf("call %d is not of group %d", i, g)
		}
		if i%250 == 0 {
			if diff := cmp.Diff(answers(now.Current(), "t", 60), answers(later.Current(), "t", 60)); diff != "" {
				t.Fatalf("call %d: %s", i, diff)
			}
		}
	}
	if s := now.Current().Size(); s.Groups < 4 || s.Agents != 60 {
		t.Errorf("the stream shows little: %+v", s)
	}
}

func TestTenantsNeverMix(t *testing.T) {
	alone, among := newTest(Options{}), newTest(Options{})
	f, g := newFleet(1, "t", 40), newFleet(2, "other", 70)
	for i := range 3000 {
		c := f.next()
		alone.Call(c, at(float64(i)/1000))
		among.Call(g.next(), at(float64(i)/1000))
		among.Call(c, at(float64(i)/1000))
	}
	a, b := settle(alone, 3), settle(among, 3)
	members := map[uint32]uint32{}
	for n := range 40 {
		name := []byte(fmt.Sprintf("agent-%d", n))
		x, _ := a.Explain([]byte("t"), name)
		y, _ := b.Explain([]byte("t"), name)
		if g, ok := members[y.Group]; ok && g != x.Group {
			t.Errorf("%s is in another group beside another tenant", name)
		}
		members[y.Group] = x.Group
		x.Group, y.Group = 0, 0
		if diff := cmp.Diff(x, y); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if g, ok := b.GroupOf([]byte("other"), name); ok && members[g] != 0 {
			t.Errorf("group %d is in two tenants", g)
		}
	}
	if _, ok := b.Explain([]byte("t"), []byte("agent-60")); ok {
		t.Error("an agent of another tenant is known")
	}
}

func TestAnswersComeFromTheCalls(t *testing.T) {
	r := newTest(Options{})
	for _, c := range []*telemetry.Call{
		call("t", "boss - list -"),
		call("t", "boss boss-id read index"),
		call("t", "worker shared read doc", "boss", "worker"),
		call("t", "worker shared read index", "boss", "worker"),
		call("t", "stranger shared write vault"),
		call("t", "stranger own write safe"),
		call("t", "peer shared read doc"),
	} {
		r.Call(c, at(0.5))
	}
	s := settle(r, 0)
	tenant := []byte("t")
	b, ok := s.BlastRadius(tenant, []byte("boss"))
	want := BlastRadius{Agents: 1, Identities: 2, Resources: 3, Share: 0.75, Complete: true}
	nearest := slices.Sorted(slices.Values(b.Nearest))
	b.Nearest = nil
	if diff := cmp.Diff(want, b); !ok || diff != "" || !slices.Equal(nearest, []string{"doc", "index", "vault"}) {
		t.Errorf("blast radius %v, nearest %v", diff, nearest)
	}
	c, ok := s.Criticality(models.IdentityNode, tenant, []byte("shared"))
	if !ok || c.Agents != 3 || c.Betweenness < 0.3 || math.Abs(c.Below-2.0/3) > 1e-6 {
		t.Errorf("criticality of the shared identity: %+v", c)
	}
	if c, ok := s.Criticality(models.ResourceNode, tenant, []byte("doc")); !ok || c.Agents != 2 || c.Identities != 1 || c.PageRank == 0 {
		t.Errorf("criticality of a resource: %+v", c)
	}
	x, ok := s.Excess(tenant, []byte("boss"), []byte("worker"))
	if !ok || x != (models.Excess{Resources: 1, Identities: 1, Share: 0.5, Parent: 1}) {
		t.Errorf("excess %+v", x)
	}
	e, ok := s.Explain(tenant, []byte("worker"))
	if !ok || e.Parents != 1 || e.Children != 0 || e.Sharing != 3 || e.Peers[0].Agent != "peer" || e.GroupSize < 2 || !e.Peers[0].Group {
		t.Errorf("explanation %+v", e)
	}
	for _, name := range []string{"", "nobody", "doc"} {
		if _, ok := s.Explain(tenant, []byte(name)); ok {
			t.Errorf("agent %q is known", name)
		}
	}
}

func TestACallTellsOfItsDelegation(t *testing.T) {
	r := newTest(Options{})
	for _, c := range []struct {
		call *telemetry.Call
		want Place
	}{
		{call("t", "boss b read r1"), Place{}},
		{call("t", "kid1 b read r1", "boss", "kid1"), Place{ChainShape: models.ChainShape{Depth: 2}, Sharing: 1}},
		{call("t", "kid2 k read r2", "boss", "kid2"), Place{ChainShape: models.ChainShape{Depth: 2}, FanOut: 1, ResourceBeyond: true, IdentityBeyond: true}},
		{call("t", "kid2 k read r2", "boss"), Place{ChainShape: models.ChainShape{Depth: 1}, FanOut: 2, Sharing: 1, ResourceBeyond: true, IdentityBeyond: true}},
		{call("t", "grand k read r1", "boss", "kid1", "boss", "kid1", "grand"), Place{ChainShape: models.ChainShape{Depth: 5, Repeated: 2}, Sharing: 1, IdentityBeyond: true}},
		{call("t", "boss k read r9"), Place{Sharing: 2}},
		{call("other", "kid2 k read r2", "boss", "kid2"), Place{ChainShape: models.ChainShape{Depth: 2}}},
		{call("t", "", "boss", "kid1"), Place{ChainShape: models.ChainShape{Depth: 2}}},
	} {
		if diff := cmp.Diff(c.want, r.Call(c.call, at(0))); diff != "" {
			t.Errorf("%s %s: %s", c.call.Agent, c.call.Chain, diff)
		}
	}
	if got := r.Call(call("t", "x", "kid1", "x"), at(0)).FanOut; got != 2 { // boss, which the cycle says, and grand
		t.Errorf("kid1 has %d children", got)
	}
}

func TestADeniedCallShowsNoAccess(t *testing.T) {
	r := newTest(Options{})
	r.Call(call("t", "a1 i1 read r1"), at(0))
	denied := call("t", "a2 i1 read secret", "a1", "a2")
	denied.Outcome = telemetry.OutcomeDenied
	want := Place{ChainShape: models.ChainShape{Depth: 2}, Sharing: 1}
	if got := r.Call(denied, at(0)); got != want { // secret is no known resource, so nobody used it
		t.Errorf("%+v, want %+v", got, want)
	}
	denied.Resource = []byte("r1")
	if got := r.Call(denied, at(0)); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if size := settle(r, 0).Size(); size.Agents != 1 || size.Edges != 4 || r.Stats.Denied != 2 {
		t.Errorf("%+v, %+v", size, r.Stats)
	}
}

func TestWhatDoesNotFitIsDroppedAndCounted(t *testing.T) {
	r := newTest(Options{MaxNodes: 30, MaxOut: 6})
	for i := range 10 {
		r.Call(call("t", fmt.Sprintf("a i read r%d", i)), at(0))
	}
	r.flush()
	// a: i, read and r0 … r3; i: r0 … r5
	if r.Stats.DroppedOut != 6+4 || r.edges.Len() != 12 {
		t.Errorf("%+v, %d edges", r.Stats, r.edges.Len())
	}
	for i := range 40 {
		r.Call(call("t", fmt.Sprintf("b%d - - -", i)), at(0))
	}
	if r.Stats.DroppedNodes == 0 || r.ids.Len() != 30 {
		t.Errorf("%+v, %d nodes", r.Stats, r.ids.Len())
	}
	r = newTest(Options{MaxEdges: 5})
	for i := range 10 {
		r.Call(call("t", fmt.Sprintf("a - - r%d", i)), at(0))
	}
	if r.Stats.DroppedEdges != 5 || r.edges.Len() != 5 {
		t.Errorf("%+v, %d edges", r.Stats, r.edges.Len())
	}
	// What is there goes on counting.
	r.Call(call("t", "a - - r1"), at(0))
	if r.Stats.DroppedEdges != 5 {
		t.Errorf("%+v", r.Stats)
	}
}

func TestAnEdgeThatIsNotUsedIsForgottenAfterTenDays(t *testing.T) {
	r := newTest(Options{})
	day := func(d float64) int64 { return noon.Add(time.Duration(d * 24 * float64(time.Hour))).UnixNano() }
	r.Call(call("t", "a i read r"), day(0))
	for d := range 13 {
		r.Call(call("t", "a i read daily"), day(float64(d)))
		if has := r.edges.Has(1, 3); has != (d < 10) {
			t.Errorf("day %d: the edge to r is there: %v", d, has)
		}
	}
	if got := r.tally[1]; got != (tally{out: 3, resources: 1, identities: 1}) {
		t.Errorf("the agent has %+v", got)
	}
}

func TestForgottenNodesMakeRoomAndAnswersStay(t *testing.T) {
	r := newTest(Options{MaxNodes: 400, HalfLife: 2 * interval})
	f := newFleet(1, "t", 40)
	for i := range 40_000 {
		when := float64(i) / 400
		r.Call(f.next(), at(when))
		if i%40 == 0 { // 10 new resources an interval, each used once
			r.Call(call("t", fmt.Sprintf("agent-1 team-1 read once-%d", i)), at(when))
		}
	}
	if r.Stats.DroppedNodes != 0 || r.ids.Len() > 400 || r.Stats.Calls < 41_000 {
		t.Errorf("%+v, %d nodes", r.Stats, r.ids.Len())
	}
	s := r.Current()
	for a := range 40 {
		name := []byte(fmt.Sprintf("agent-%d", a))
		e, ok := s.Explain([]byte("t"), name)
		mate, _ := s.GroupOf([]byte("t"), []byte(fmt.Sprintf("agent-%d", (a+4)%40)))
		if !ok || e.Group == 0 || e.Group != mate || e.Blast.Resources < 20 {
			t.Errorf("%s: %+v", name, e)
		}
		for _, p := range e.Peers {
			if p.Group && !strings.HasPrefix(p.Agent, "agent-") {
				t.Errorf("%s has the peer %q", name, p.Agent)
			}
		}
	}
}

// Without the memory every call goes to the edges by itself.
func TestTheMemoryOfCallsChangesNothing(t *testing.T) {
	opt := Options{MaxNodes: 110, MaxEdges: 500, MaxOut: 20, HalfLife: interval}
	with, without := newTest(opt), newTest(opt)
	f := newFleet(1, "t", 40)
	for i := range 6000 {
		c, at := f.next(), at(float64(i)/1500)
		a, b := with.Call(c, at), without.Call(c, at)
		without.forget()
		if a != b {
			t.Fatalf("call %d: %+v, want %+v", i, a, b)
		}
	}
	with.forget()
	edges := func(r *Recorder) []byte { b, _ := r.edges.AppendBinary(nil); return b }
	if !bytes.Equal(edges(with), edges(without)) || !bytes.Equal(with.names, without.names) || with.Stats != without.Stats {
		t.Errorf("%+v, want %+v", with.Stats, without.Stats)
	}
	if s := with.Stats; s.DroppedNodes == 0 || s.DroppedEdges+s.DroppedOut == 0 {
		t.Errorf("nothing was dropped: %+v", s)
	}
}

func TestACallAllocatesNothingOnceItsEdgesAreKnown(t *testing.T) {
	r := newTest(Options{})
	f := newFleet(1, "t", 20)
	calls := make([]*telemetry.Call, 500)
	for i := range calls {
		calls[i] = f.next()
		r.Call(calls[i], at(0))
	}
	s := settle(r, 0)
	i := 0
	if n := testing.AllocsPerRun(1000, func() {
		r.Call(calls[i%len(calls)], at(2))
		s.GroupOf(calls[i%len(calls)].Tenant, calls[i%len(calls)].Agent)
		i++
	}); n != 0 {
		t.Errorf("%v allocations a call", n)
	}
}
