package fleet

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

// What seed 7 gives for every script.
const goldenScripts = "5c3c085a601dba0bd5c7207656f74463"

// An hour of a working day in all time zones of the tenants, after two weeks of history.
var staged = DefaultStart.Add(history + 15*time.Hour)

// OfEachKind returns an agent of each kind that is no newcomer.
func ofEachKind(f *Fleet) []*agent {
	var all []*agent
	for _, k := range Kinds() {
		i := slices.IndexFunc(f.agents, func(a *agent) bool { return a.role.kind == k && a.joined < f.start })
		all = append(all, f.agents[i])
	}
	return all
}

func stageOne(t testing.TB, f *Fleet, kind Kind, strength Strength, a *agent) Attack {
	t.Helper()
	attack, err := f.Attack(kind, strength, a.name, staged)
	if err != nil {
		t.Fatal(err)
	}
	return attack
}

// ToGoal returns the bad calls of the attack up to its goal.
func toGoal(t testing.TB, attack Attack) []Call {
	t.Helper()
	var calls []Call
	for c := range attack.Calls(attack.GoalAt.Add(1)) {
		if c.Attack != "" {
			calls = append(calls, c)
		}
	}
	if len(calls) != attack.ToGoal {
		t.Fatalf("%s %s: %d bad calls to the goal, said to be %d", attack.Kind, attack.Strength, len(calls), attack.ToGoal)
	}
	return calls
}

// EachAttack plays every script at every strength for an agent of each kind.
func eachAttack(t *testing.T, f *Fleet, do func(t *testing.T, a *agent, attack Attack)) {
	for _, s := range Scripts() {
		for _, strength := range s.Strengths {
			for _, a := range ofEachKind(f) {
				t.Run(fmt.Sprintf("%s/%s/%s", s.Kind, strength, a.role.kind), func(t *testing.T) {
					do(t, a, stageOne(t, f, s.Kind, strength, a))
				})
			}
		}
	}
}

func TestScriptsSayWhatTheyAre(t *testing.T) {
	kinds := map[Kind]bool{}
	for _, s := range Scripts() {
		if kinds[s.Kind] || s.Description == "" || s.Goal == "" || len(s.Strengths) != 3 || len(s.Numbers) != 3 {
			t.Errorf("%+v", s)
		}
		kinds[s.Kind] = true
	}
	if len(kinds) != 14 {
		t.Errorf("%d scripts", len(kinds))
	}
}

func TestMarksAreTrue(t *testing.T) {
	f := New(World(7))
	h := sha256.New()
	eachAttack(t, f, func(t *testing.T, a *agent, attack Attack) {
		bad, goals := 0, 0
		last := time.Time{}
		for c := range attack.Calls(attack.GoalAt.Add(time.Hour)) {
			if c.Time.Before(last) {
				t.Fatalf("a call at %v comes after one at %v", c.Time, last)
			}
			last = c.Time
			if c.Attack == "" {
				if c.Goal {
					t.Fatal("an honest call is the goal")
				}
				continue
			}
			if c.Attack != attack.Kind || c.Agent != attack.Agent || c.Tenant != attack.Tenant || c.Chain[len(c.Chain)-1] != c.Agent {
				t.Fatalf("%s of %s has a call marked %s of %s, chain %v", attack.Kind, attack.Agent, c.Attack, c.Agent, c.Chain)
			}
			if bad++; bad == 1 && (c.ID != attack.FirstBad || !c.Time.Equal(attack.Start)) {
				t.Errorf("begins with %s at %v, said to be %s at %v", c.ID, c.Time, attack.FirstBad, attack.Start)
			}
			if c.Goal {
				if goals++; c.ID != attack.Goal || !c.Time.Equal(attack.GoalAt) || bad != attack.ToGoal {
					t.Errorf("goal is bad call %d, %s at %v, said to be %d, %s at %v", bad, c.ID, c.Time, attack.ToGoal, attack.Goal, attack.GoalAt)
				}
			}
		}
		if goals != 1 {
			t.Errorf("%d goals in %d bad calls", goals, bad)
		}
		if attack.Start.Before(staged) {
			t.Errorf("begins at %v, before %v", attack.Start, staged)
		}
		hashInto(h, attack.Calls(attack.GoalAt.Add(1)))
	})
	// The number changes only when a script is meant to change.
	if got := hex.EncodeToString(h.Sum(nil)[:16]); got != goldenScripts {
		t.Errorf("digest is %s, want %s", got, goldenScripts)
	}
}

func TestAttacksLeaveHonestCallsAlone(t *testing.T) {
	f := New(World(7))
	from, to := staged.Add(-time.Hour), staged.Add(2*time.Hour)
	honest := map[string]string{} // id: agent
	for c := range f.Calls(from, to) {
		honest[c.ID] = c.Agent
	}
	for _, s := range Scripts() {
		attack := stageOne(t, f, s.Kind, Middle, ofEachKind(f)[1])
		bad, other := map[string]bool{}, map[string]bool{}
		for c := range attack.Calls(to) {
			if c.Attack != "" {
				bad[c.ID] = true
			} else {
				other[c.ID] = true
			}
		}
		kept, lost := 0, 0
		for c := range f.Calls(from, to, attack) {
			switch _, known := honest[c.ID]; {
			case c.Attack != "":
				if !bad[c.ID] || known {
					t.Fatalf("%s: %s is marked bad wrongly", s.Kind, c.ID)
				}
				delete(bad, c.ID)
			case known:
				kept++
			case !other[c.ID]:
				t.Fatalf("%s: where does %s of %s come from?", s.Kind, c.ID, c.Agent)
			}
		}
		lost = len(honest) - kept
		if len(bad) > 0 {
			t.Errorf("%s: %d bad calls were not woven in", s.Kind, len(bad))
		}
		if !attack.Replaces && lost > 0 {
			t.Errorf("%s: %d honest calls are gone", s.Kind, lost)
		}
		if lost > len(honest)/20 {
			t.Errorf("%s: %d of %d honest calls are gone", s.Kind, lost, len(honest))
		}
	}
}

// Used returns the resources that the agent used in the two weeks before the attacks, and its
// actions, identities, roots and parents.
type used struct{ resources, actions, identities, chains map[string]bool }

func usage(f *Fleet) map[string]*used {
	all := map[string]*used{}
	for c := range f.Calls(DefaultStart, staged) {
		u := all[c.Agent]
		if u == nil {
			u = &used{map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}}
			all[c.Agent] = u
		}
		u.resources[c.Resource], u.actions[c.Action], u.identities[c.Identity] = true, true, true
		u.chains[strings.Join(c.Chain, " ")] = true
	}
	return all
}

func TestAttacksDoWhatTheySay(t *testing.T) {
	f := New(World(7))
	all := usage(f)
	share := func(calls []Call, is func(c Call) bool) float64 {
		n := 0.0
		for _, c := range calls {
			if is(c) {
				n++
			}
		}
		return n / float64(len(calls))
	}
	eachAttack(t, f, func(t *testing.T, a *agent, attack Attack) {
		u, calls := all[a.name], toGoal(t, attack)
		knownResource := share(calls, func(c Call) bool { return u.resources[c.Resource] })
		knownAction := share(calls, func(c Call) bool { return u.actions[c.Action] })
		own := share(calls, func(c Call) bool { return slices.Contains(a.identities, c.Identity) })
		usualChain := share(calls, func(c Call) bool { return u.chains[strings.Join(c.Chain, " ")] })
		exactly := func(what string, got, want float64) {
			t.Helper()
			if got != want {
				t.Errorf("%s: %.2f, want %g", what, got, want)
			}
		}
		low := attack.Strength == Low
		switch attack.Kind {
		case SlowExfiltration, SlowCrawl:
			exactly("known resources", knownResource, 0)
			exactly("own identities", own, 1)
			if knownAction < 0.9 { // work that is rare or that a new version brought is among it
				t.Errorf("%.0f %% of the actions are known", 100*knownAction)
			}
		case Exfiltration:
			exactly("own identities", own, 1)
		case LateralMovement:
			exactly("known resources", knownResource, 0)
			foreign := share(calls, func(c Call) bool { return !strings.Contains(c.Resource, "/"+a.team.name+"/") })
			exactly("resources of other teams", foreign, 1)
			exactly("own identities, if low", own, map[bool]float64{true: 1}[low])
		case ConfusedDeputy:
			exactly("usual chains", usualChain, 0)
			exactly("own identities", own, 1)
			exactly("known actions", knownAction, 1)
			root := f.byName[calls[0].Chain[0]]
			if (root == nil) != (attack.Strength == High) || root != nil && a.serves(root) {
				t.Errorf("the root is %s", calls[0].Chain[0])
			}
		case ChainHijack:
			exactly("usual chains", usualChain, 0)
			if n := len(calls[0].Chain); (n == 8) != (attack.Strength == High) {
				t.Errorf("chain %v", calls[0].Chain)
			}
		case StolenCredential:
			exactly("the victim's identities", own, 1)
			if attack.Victim != a.name || attack.Agent == a.name {
				t.Errorf("%s steals from %s", attack.Agent, attack.Victim)
			}
			if thief := f.byName[attack.Agent]; (thief != nil) != low || low && thief.team == a.team {
				t.Errorf("the thief is %s", attack.Agent)
			}
		case PromptInjection:
			exactly("known resources", knownResource, 0)
			exactly("sessions", share(calls, func(c Call) bool { return c.Session == calls[0].Session }), 1)
			before := 0
			for c := range attack.Calls(attack.Start) {
				if c.Session == calls[0].Session {
					before++
				}
			}
			if before < 3 && a.role.kind != SubAgent && a.role.kind != Orchestrator {
				t.Errorf("%d honest calls came before in the session", before)
			}
			if last := calls[len(calls)-1].Resource; !strings.HasPrefix(last, "mail://outside/") {
				t.Errorf("the goal is %s", last)
			}
		case PrivilegeCreep:
			identities, actions := map[string]bool{}, map[string]bool{}
			for _, c := range calls {
				if !u.identities[c.Identity] {
					identities[c.Identity] = true
				}
				if !u.actions[c.Action] {
					actions[c.Action] = true
				}
			}
			if len(identities) != 4 || len(actions) != 4 {
				t.Errorf("%d new identities and %d new actions in eight steps", len(identities), len(actions))
			}
			if both := share(calls, func(c Call) bool { return !u.identities[c.Identity] && !u.actions[c.Action] }); both > 0 {
				t.Errorf("%.0f %% of the calls have both", 100*both)
			}
		case Loop, LoopCycle, LoopFuzzy:
			kinds := map[string]bool{}
			for i, c := range calls {
				kinds[c.Action+c.Resource] = true
				if period := 3; attack.Kind == LoopCycle && i >= period && c.Action+c.Resource != calls[i-period].Action+calls[i-period].Resource {
					t.Fatalf("call %d breaks the cycle", i)
				}
			}
			if n := len(kinds); n != map[Kind]int{Loop: 1, LoopCycle: 3, LoopFuzzy: loopGoal}[attack.Kind] && !(attack.Kind == LoopCycle && n == 2) {
				t.Errorf("%d different calls", n)
			}
			exactly("known actions", knownAction, 1)
		case MassDeletion:
			if knownResource < 0.5 {
				t.Errorf("%.0f %% of the resources are known", 100*knownResource)
			}
			exactly("deletions", share(calls, func(c Call) bool {
				return strings.HasSuffix(c.Action, ".delete") || strings.HasSuffix(c.Action, ".drop")
			}), 1)
		}
	})
}

func TestMassDeletionKnowsWhatItDeletes(t *testing.T) {
	f := New(World(7))
	all := usage(f)
	known, n := map[AgentKind]float64{}, map[AgentKind]float64{}
	for _, a := range f.agents {
		if a.joined > f.start || all[a.name] == nil {
			continue
		}
		assets := a.assets(staged.UnixNano(), 60)
		for _, name := range assets[:len(assets)/2] {
			n[a.role.kind]++
			if all[a.name].resources[name] {
				known[a.role.kind]++
			}
		}
	}
	for _, k := range Kinds() {
		between(t, string(k)+", share it has used", known[k]/n[k], 0.9, 1)
	}
}

func TestAttacksAreAsFastAsTheySay(t *testing.T) {
	f := New(World(7))
	gaps := map[Kind][3]time.Duration{
		Exfiltration:     {200 * time.Millisecond, 50 * time.Millisecond, 10 * time.Millisecond},
		SlowExfiltration: {30 * time.Minute, 5 * time.Minute, 30 * time.Second},
		LateralMovement:  {10 * time.Minute, time.Minute, 2 * time.Second},
		ConfusedDeputy:   {2 * time.Minute, 20 * time.Second, 500 * time.Millisecond},
		ChainHijack:      {2 * time.Minute, 20 * time.Second, time.Second},
		Loop:             loopGapsArray, LoopCycle: loopGapsArray, LoopFuzzy: loopGapsArray,
		MassDeletion: {time.Minute, time.Second, 50 * time.Millisecond},
	}
	sums := map[string][2]float64{}
	eachAttack(t, f, func(t *testing.T, a *agent, attack Attack) {
		key := string(attack.Kind) + " " + string(attack.Strength)
		s := sums[key]
		sums[key] = [2]float64{s[0] + attack.GoalAt.Sub(attack.Start).Seconds(), s[1] + float64(attack.ToGoal-1)}
	})
	for kind, want := range gaps {
		for i, strength := range []Strength{Low, Middle, High} {
			s := sums[string(kind)+" "+string(strength)]
			between(t, fmt.Sprintf("%s %s, gaps", kind, strength), s[0]/s[1]/want[i].Seconds(), 0.8, 1.25)
		}
	}
	creep := map[Strength]float64{Low: 12, Middle: 6, High: 2}
	for strength, hours := range creep {
		s := sums[string(PrivilegeCreep)+" "+string(strength)]
		between(t, string(strength)+" creep, hours a step", s[0]/3600/7/6/hours, 0.85, 1.15)
	}
}

var loopGapsArray = [3]time.Duration(loopGaps)

func TestEventfulRampGrowsByTheStatedRate(t *testing.T) {
	f := New(Options{Seed: 12, Kinds: []AgentKind{SupportBot, CodingAgent, DataPipeline, BackupJob}, Rate: 500, Agents: 32, Tenants: 1})
	perWeek := func(calls iter.Seq[Call]) (weeks [3]float64) {
		seen := map[string]bool{}
		for c := range calls {
			if !seen[c.Session] { // their lengths differ much
				seen[c.Session] = true
				weeks[int(c.Time.Sub(staged)/(7*day))]++
			}
		}
		return weeks
	}
	to := staged.Add(3 * 7 * day)
	for _, a := range []*agent{f.agents[0], f.agents[8], f.agents[16], f.agents[24]} {
		attack, err := f.Attack(RampUp, Middle, a.name, staged)
		if err != nil {
			t.Fatal(err)
		}
		// Beside its own honest work on the same days, which differ.
		ramp := perWeek(attack.Calls(to))
		honest := perWeek(func(yield func(Call) bool) {
			for s := f.own(a, staged.UnixNano(), to.UnixNano()); s.next() && yield(s.call); {
			}
		})
		growth := func(hours float64) float64 { return math.Pow(1.01, hours) }
		mean := (growth(168) - 1) / (168 * math.Log(1.01))
		for i, want := range []float64{mean, mean * growth(168), growth(336)} {
			between(t, a.name+", over honest, over what is stated", ramp[i]/honest[i]/want, 0.75, 1.3)
		}
		between(t, a.name+", hours to the goal", attack.GoalAt.Sub(staged).Hours(), 139, 170)
	}
}

func TestAttackRefusesWhatItCannotDo(t *testing.T) {
	f := New(Options{Seed: 1, Kinds: Kinds()})
	name := f.Agents()[0].Name
	for what, err := range map[string]error{
		"kind":     second(f.Attack("rain", Low, name, staged)),
		"strength": second(f.Attack(Loop, "huge", name, staged)),
		"agent":    second(f.Attack(Loop, Low, "nobody", staged)),
	} {
		if err == nil {
			t.Errorf("an unknown %s was accepted", what)
		}
	}
	// Where there is one team, nobody else's things can be touched.
	small := New(Options{Seed: 1, Tenants: 1, Agents: 8, Kinds: Kinds()})
	for _, kind := range []Kind{LateralMovement, StolenCredential, ConfusedDeputy, ChainHijack, PrivilegeCreep} {
		if _, err := small.Attack(kind, Low, small.Agents()[0].Name, staged); err == nil {
			t.Errorf("%s was made in a tenant of one team", kind)
		}
	}
}

func TestAttacksWorkInThePlainFleet(t *testing.T) {
	f := shaped(7)
	for _, s := range Scripts() {
		for _, strength := range s.Strengths {
			attack, err := f.Attack(s.Kind, strength, f.Agents()[21].Name, staged)
			if err != nil {
				t.Fatal(err)
			}
			if attack.ToGoal == 0 {
				t.Errorf("%s %s has no goal", s.Kind, strength)
			}
			toGoal(t, attack)
		}
	}
}

func FuzzAttack(f *testing.F) {
	f.Add(uint64(1), uint8(0), uint8(0), uint16(3), int64(0))
	f.Fuzz(func(t *testing.T, seed uint64, script, level uint8, agent uint16, minutes int64) {
		fl := New(Options{Seed: seed, Agents: 80, Tenants: 2, Kinds: Kinds(), Newcomers: 0.2, Outages: 5, Deployments: 2, DayShape: seed%2 == 0})
		s := Scripts()[int(script)%14]
		a := fl.agents[int(agent)%len(fl.agents)]
		at := DefaultStart.Add(time.Duration(minutes%(60*24*40)) * time.Minute)
		attack, err := fl.Attack(s.Kind, s.Strengths[level%3], a.name, at)
		if err != nil {
			return
		}
		if attack.Start.Before(at) || attack.ToGoal == 0 || attack.Goal == "" {
			t.Errorf("%+v", attack)
		}
		toGoal(t, attack)
	})
}
