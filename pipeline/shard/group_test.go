package shard

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/models"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// town is a shard and the agents that call in it.
type town struct {
	*Shard
	plan   *detector.Plan
	offset int64
}

func newTown(t testing.TB) *town {
	t.Helper()
	set, errs := detector.Load(fstest.MapFS{"new.yaml": {Data: []byte(`id: new
title: New resources, and the pace
group_by: agent
baseline: [{feature: new(resource)}, {feature: "count(calls, 10s)"}]
slot: 10s
budget: 1 per 1000 agent-days
warmup: {calls: 100, slots: 20, peers: 3}
`)}})
	if err := errs.Err(); err != nil {
		t.Fatal(err)
	}
	return &town{Shard: New(set.Plan, Options{}), plan: set.Plan}
}

func (w *town) call(agent, action, resource string) {
	at := int64(time.Hour) + w.offset*int64(time.Second)
	w.Call(&telemetry.Call{
		ID: []byte("x"), Tenant: []byte("t"), Agent: []byte(agent), Action: []byte(action), Resource: []byte(resource), Time: at,
	}, Source{Offset: w.offset, Appended: at})
	w.offset++
}

// save adds what changed to the states.
func (w *town) save(states map[string][]byte) {
	for _, st := range w.Dirty() {
		states[st.Key] = st.Value
	}
}

// restarted is the town after a restart from what is saved.
func (w *town) restarted(t *testing.T, states map[string][]byte) *town {
	t.Helper()
	w.save(states)
	again := &town{New(w.plan, Options{}), w.plan, w.offset}
	for _, key := range slices.Sorted(maps.Keys(states)) {
		if err := again.Restore(EntityState{key, states[key]}); err != nil {
			t.Fatal(err)
		}
	}
	return again
}

// groupOf returns the group of an agent, nil where it has none.
func (w *town) groupOf(agent string) *peers {
	id, _ := w.entities.ids.Lookup([]byte("\x00t\x00" + agent))
	if e := w.entities.byID[id]; e.peers.wide != nil {
		return e.peers
	}
	return nil
}

// works are what the agents of a trade do, in the parts of its calls that they are. The trades
// have an action in common.
var works = map[string][]string{
	"support":  {"search", "search", "search", "search", "read", "comment", "comment", "comment", "close", "read"},
	"pipeline": {"describe", "select", "select", "select", "put", "put", "put", "commit", "commit"},
	"backup":   {"list", "snapshot", "snapshot", "snapshot", "put", "put", "put", "verify"},
}

// work lets an agent of a trade make a call, drawn at random.
func (w *town) work(rng *rand.Rand, trade string, n int) {
	actions := works[trade]
	w.call(fmt.Sprint(trade, n), actions[rng.IntN(len(actions))], fmt.Sprint(trade, rng.IntN(500)))
}

func TestAgentsThatMostlyDoTheSameMeetInOneGroup(t *testing.T) {
	const agents = 12
	w := newTown(t)
	rng := rand.New(rand.NewPCG(1, 2))
	for call := range groupAfter {
		for trade := range len(works) {
			for n := range agents {
				name := slices.Sorted(maps.Keys(works))[trade]
				w.work(rng, name, n)
				if g := w.groupOf(fmt.Sprint(name, n)); (g != nil) != (call == groupAfter-1) {
					t.Fatalf("after %d calls an agent has a group: %v", call+1, g != nil)
				}
			}
		}
	}
	of := map[*peers]string{}
	for trade := range works {
		met := map[*peers]int{}
		for n := range agents {
			g := w.groupOf(fmt.Sprint(trade, n))
			if was := cmp.Or(of[g], trade); was != trade {
				t.Errorf("agents of %s are in a group with those of %s", trade, was)
			}
			of[g] = trade
			met[g]++
		}
		if most := slices.Max(slices.Collect(maps.Values(met))); most < agents*3/4 {
			t.Errorf("of %d agents of %s no more than %d met in one group", agents, trade, most)
		}
		for g, n := range met {
			if got := g.rules[0].members; got != n {
				t.Errorf("a group of %d agents counts %d", n, got)
			}
		}
	}
	if got := w.peersAt(string([]byte{byte(groups)}) + "t").rules[0].members; got != agents*len(works) {
		t.Errorf("the tenant counts %d agents, want all", got)
	}
}

func TestTheRarestActionsShareTheirPlacesAndTheFrequentOnesCount(t *testing.T) {
	var often sketch
	for i := range groupAfter {
		action := uint32(1<<31 + i) // never again
		if i%3 == 0 {
			action = 77
		}
		often.add(action)
	}
	if got := often.group(); got != 77 {
		t.Errorf("a third of the calls are one action, of the others none comes twice: the group is %d", got)
	}
	if got := often.counts[slices.Index(often.actions[:], 77)]; got < groupAfter/3 {
		t.Errorf("an action of %d calls is counted %d times: space-saving never counts too few", groupAfter/3+1, got)
	}
}

func TestATenantHasNoMoreGroupsThanItMay(t *testing.T) {
	w := newTown(t)
	for n := range mostGroups + 9 {
		for range groupAfter + 1 {
			w.call(fmt.Sprint("agent-", n), fmt.Sprint("action-", n), "doc")
		}
	}
	groups := 0
	for key := range w.peers {
		groups += int(truth(len(key) > 2))
	}
	if groups != mostGroups {
		t.Errorf("%d groups, want %d", groups, mostGroups)
	}
	if w.groupOf(fmt.Sprint("agent-", mostGroups)) != nil {
		t.Error("an agent that came too late has a group")
	}
	for range groupAfter {
		w.call("late", "action-3", "doc")
	}
	if g := w.groupOf("late"); g == nil || g != w.groupOf("agent-3") {
		t.Error("an agent does not find its group where there are as many as may be")
	}
}

// Restarts, before and after agents join, change nothing of who is where and of what groups know.
func TestARestartKeepsTheGroups(t *testing.T) {
	play := func(every int) map[string]string {
		w, states := newTown(t), map[string][]byte{}
		rng := rand.New(rand.NewPCG(3, 4))
		for i := range 3 * 4 * (groupAfter + 50) {
			w.work(rng, slices.Sorted(maps.Keys(works))[i%3], i/3%4)
			switch {
			case every > 0 && i%every == every/2:
				w.save(states)
			case every > 0 && i%every == every-1:
				w = w.restarted(t, states)
			}
		}
		knows := map[string]string{}
		w = w.restarted(t, states)
		w.call("all that was told", "is heard", "then")
		for key, p := range w.peers {
			r := p.rules[0]
			knows[key] = fmt.Sprint(r.members, r.rates, r.beyond, r.kinds[0].Draws(), r.kinds[0].Hashes(), p.groups)
		}
		for _, e := range w.entities.byID {
			knows[e.key] = fmt.Sprint(e.peers.key, e.sketch)
		}
		return knows
	}
	want := play(0)
	if len(want) < 13+1+3 {
		t.Fatalf("only %d entities and groups", len(want))
	}
	for _, every := range []int{97, 1201, 2399} {
		got := play(every)
		for key := range want {
			if got[key] != want[key] {
				t.Errorf("a restart every %d calls: %q is\n%s\nwant\n%s", every, key, got[key], want[key])
			}
		}
		if len(got) != len(want) {
			t.Errorf("a restart every %d calls: %d entities and groups, want %d", every, len(got), len(want))
		}
	}
}

// newGroup returns a group of a tenant, and the tenant, with as many members each.
func newGroup(r *rule, members int) (group, tenant *peerRule) {
	of := &peers{wide: &peers{}}
	group = of.of(r)
	group.members, group.wide.members = members, members
	return group, group.wide
}

func newKindRule() *rule {
	return &rule{Compiled: &detector.Compiled{Features: []detector.Feature{{Kind: detector.KindNew}}}}
}

// hear lets a group and its tenant hear that a member drew a kind for the first time.
func (p *peerRule) hear(h uint64) {
	t := telling{what: toldKind, value: h}
	if !p.wide.kinds[0].Seen(h) {
		t.what = toldForeign
	}
	p.learnKind(t)
	p.wide.learnKind(t)
}

func TestANewKindIsComparedWithTheGroupFirstAndThenWithTheTenant(t *testing.T) {
	evidence := func(members int) (group, tenant, nobody float64) {
		p, wide := newGroup(newKindRule(), members)
		for h := range uint64(50) {
			wide.learnKind(telling{what: toldKind, value: 1000 + h})
			for range 3 { // members each, when they joined
				p.learnKind(telling{what: toldKnown, value: h})
				wide.learnKind(telling{what: toldKind, value: h})
			}
		}
		for h := range uint64(30) {
			p.hear(1000 + h) // new to the group, not to the tenant
		}
		return p.logENew(0, 7), p.logENew(0, 1049), p.logENew(0, 5000)
	}
	group, tenant, nobody := evidence(peersLeast)
	t.Logf("known to the group %.2f, only to the tenant %.2f, to nobody %.2f", group, tenant, nobody)
	if !(group < 0 && group < tenant && tenant < nobody) {
		t.Errorf("evidence %.2f of what the group knows, %.2f of what only the tenant knows, %.2f of what nobody does: want them to rise from below 0", group, tenant, nobody)
	}
	group, tenant, nobody = evidence(peersLeast - 1)
	if group != 0 || tenant != 0 || nobody != 0 {
		t.Error("too few members are asked")
	}
}

func TestAGroupOfTooFewLeavesTheQuestionToTheTenant(t *testing.T) {
	p, wide := newGroup(newKindRule(), peersLeast)
	for h := range uint64(40) {
		p.hear(h)
	}
	p.members = peersLeast - 1
	for _, h := range []uint64{7, 5000} {
		if got, want := p.logENew(0, h), wide.logENew(0, h); got != want || got == 0 {
			t.Errorf("kind %d: %v, by the tenant alone %v", h, got, want)
		}
	}
}

// The product of the answers' e-values has a mean of at most 1 where members draw alike: in a group that often
// brings kinds that are new to all, beside one that never does.
func TestWhatPeersKnowIsAnEValue(t *testing.T) {
	for _, own := range []float64{0, 0.1, 0.5, 0.9} { // of the kinds new to an agent, those that are its alone
		rng := rand.New(rand.NewPCG(5, uint64(100*own)))
		var sum, n float64
		for range 40 {
			p, wide := newGroup(newKindRule(), 20)
			calm := &peerRule{wide: wide, rule: p.rule, members: 20, beyond: make([]beyondGroup, 1)}
			known := models.NewNovelty(noveltyDiscount, noveltyStrength, peerKinds)
			calm.kinds = []*models.Novelty{&known}
			for i := range 2000 {
				calm.hear(rng.Uint64N(100))
				h := 50 + rng.Uint64N(400)
				if rng.Float64() < own {
					h = rng.Uint64() | 1<<40
				}
				if i > 20 {
					sum += math.Exp(p.logENew(0, h))
					n++
				}
				p.hear(h)
			}
		}
		t.Logf("%2.0f %% of new kinds are an agent's own: mean e-value %.3f", 100*own, sum/n)
		if sum/n > 1.02 {
			t.Errorf("%v own: the mean e-value is %.3f, want at most 1", own, sum/n)
		}
	}
}

func TestHeavyTailsOfAGroupRaiseItsOwnLevel(t *testing.T) {
	r, _ := newLeveled(1000)
	tenant := &peers{}
	calm, wild, fresh := (&peers{wide: tenant}).of(r), (&peers{wide: tenant}).of(r), (&peers{wide: tenant}).of(r)
	rng := rand.New(rand.NewPCG(8, 9))
	for i := range 4000 {
		x := rng.ExpFloat64() // as it should be
		p := calm
		if i%10 == 0 { // a tenth of the agents
			x, p = 3*x, wild
		}
		p.tails.add(x, false)
		p.wide.tails.add(x, false)
	}
	past := steady(30, 4)
	all := r.level(past, tenant.of(r))
	if got := r.level(past, fresh); got != all {
		t.Errorf("a group that saw nothing has the level %v, its tenant %v", got, all)
	}
	calmLevel, wildLevel := r.level(past, calm), r.level(past, wild)
	alone, _ := newLeveled(1000)
	own := newPeerRule(alone)
	own.tails = calm.tails
	t.Logf("level of the tenant %.2f, of a group as it should be %.2f (by itself %.2f), of one with heavy tails %.2f", all, calmLevel, r.level(past, own), wildLevel)
	if !(calmLevel < all && all < wildLevel) {
		t.Errorf("levels %v, %v, %v, want them to rise", calmLevel, all, wildLevel)
	}
	if want := r.level(past, own); calmLevel > 1.02*want {
		t.Errorf("a wild group raises the level of a calm one from %v to %v", want, calmLevel)
	}
}

func TestAGroupWithEnoughBlocksSpeaksForItsYoung(t *testing.T) {
	r, _ := newLeveled(1000)
	tenant := &peers{}
	p := (&peers{wide: tenant}).of(r)
	for i := range 1000 {
		p.wide.crests.Learn(1 + 30 + float64(i%7))
		p.wide.square.add(4)
	}
	young := &models.Crest{}
	for n := range leastPeerBlocks {
		if got, want := r.level(young, p), r.level(young, p.wide); got != want {
			t.Fatalf("with %d blocks of the group a young agent has the level %v, by the tenant %v", n, got, want)
		}
		if p.spread() != p.wide.spread() {
			t.Fatalf("%d blocks of the group are taken for enough", n)
		}
		p.crests.Learn(1 + 20 + float64(n%7))
		p.square.add(1)
	}
	for i := range 900 {
		p.crests.Learn(1 + 20 + float64(i%7))
	}
	if got, want := r.level(young, p), r.level(young, p.wide); got >= want || p.spread() != 1 {
		t.Errorf("a group whose days are lower has the level %v, its tenant %v", got, want)
	}
}

func TestAnAgentWithAGroupBeginsWithItsPace(t *testing.T) {
	r := &rule{Compiled: &detector.Compiled{Evidence: make([]detector.Evidence, 1)}}
	p := (&peers{wide: &peers{}}).of(r)
	for _, x := range []float64{3, 50, 4, 60, 5} {
		p.wide.rates[0].add(x)
	}
	for _, x := range []float64{3, 4, 5} {
		before, _, _ := p.wide.prior(0)
		if mean, _, ok := p.prior(0); !ok || mean != before {
			t.Errorf("before three of the group have warmed up the mean is %v, of the tenant %v", mean, before)
		}
		p.rates[0].add(x)
	}
	if mean, _, _ := p.prior(0); mean != 4 {
		t.Errorf("the mean is %v, want the group's 4", mean)
	}
	if p.warm() != 5 {
		t.Errorf("%d are warm, want the tenant's 5", p.warm())
	}
}
