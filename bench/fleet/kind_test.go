package fleet

import (
	"iter"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/estop-project/estop/pipeline/telemetry"
)

// What seed 7 gives in three days of an eventful fleet of 100.
const goldenWorld = "c8f26d5f873ac745c7c0d331c1ae783a"

// Kinded is the eventful fleet without hours and events.
func kinded(seed uint64) *Fleet {
	return New(Options{Seed: seed, Kinds: Kinds(), Tenants: 3, Agents: 3 * 5 * teamSize})
}

func during(f *Fleet, days int) iter.Seq[Call] {
	return f.Calls(DefaultStart, DefaultStart.AddDate(0, 0, days))
}

func between(t *testing.T, what string, got, low, high float64) {
	t.Helper()
	t.Logf("%-32s %.4g", what, got)
	if !(got >= low && got <= high) {
		t.Errorf("%s is %.4g, want %g to %g", what, got, low, high)
	}
}

func TestEventfulFleetIsAFunctionOfItsSeed(t *testing.T) {
	opts := World(7)
	opts.Agents = 100
	f := New(opts)
	var digests [3]string
	var wait sync.WaitGroup
	for i, f := range []*Fleet{f, f, New(opts)} { // two streams of one fleet at once
		wait.Go(func() { digests[i] = digest(during(f, 3)) })
	}
	wait.Wait()
	if digests[0] != digests[1] || digests[0] != digests[2] {
		t.Errorf("one seed gave %v", digests)
	}
	// The number changes only when the fleet is meant to change.
	if digests[0] != goldenWorld {
		t.Errorf("digest is %s, want %s", digests[0], goldenWorld)
	}
	opts.Seed = 8
	if other := digest(during(New(opts), 3)); other == digests[0] {
		t.Error("seeds 7 and 8 gave the same")
	}
}

func TestEventfulCallsComeInOrderOfTime(t *testing.T) {
	f := New(World(3))
	from, to := DefaultStart.AddDate(0, 0, 3), DefaultStart.AddDate(0, 0, 6)
	last, ids := from, map[string]bool{}
	for c := range f.Calls(from, to) {
		if c.Time.Before(last) || !c.Time.Before(to) || ids[c.ID] {
			t.Fatalf("call %s at %v after one at %v, bounds %v to %v", c.ID, c.Time, last, from, to)
		}
		if c.Attack != "" || c.Goal {
			t.Fatalf("honest call %s is marked %q", c.ID, c.Attack)
		}
		last, ids[c.ID] = c.Time, true
	}
	if len(ids) < 50_000 {
		t.Errorf("only %d calls", len(ids))
	}
}

// How long a stream is asked for must not change what comes first.
func TestCallsDoNotDependOnWhereTheyEnd(t *testing.T) {
	f := New(World(5))
	attack, err := f.Attack(PromptInjection, High, f.Agents()[0].Name, DefaultStart.Add(9*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	next, stop := iter.Pull(f.Calls(DefaultStart, DefaultStart.Add(2*day), attack))
	defer stop()
	for c := range f.Calls(DefaultStart, DefaultStart.Add(day), attack) {
		if longer, _ := next(); longer.ID != c.ID || longer.Resource != c.Resource || !longer.Time.Equal(c.Time) {
			t.Fatalf("%s at %v is %s at %v in a longer stream", c.ID, c.Time, longer.ID, longer.Time)
		}
	}
}

func TestTenantsHaveTeamsOfEveryKind(t *testing.T) {
	kinds := map[string]map[AgentKind]int{}
	for _, a := range kinded(1).Agents() {
		if kinds[a.Tenant] == nil {
			kinds[a.Tenant] = map[AgentKind]int{}
		}
		kinds[a.Tenant][a.Kind]++
		if a.Kind == Orchestrator && len(a.Delegates) != teamSize-1 {
			t.Errorf("%s delegates to %v", a.Name, a.Delegates)
		}
	}
	for tenant, n := range kinds {
		for _, k := range Kinds() {
			if n[k] == 0 {
				t.Errorf("%s has no %s", tenant, k)
			}
		}
	}
	for _, a := range New(Options{Kinds: []AgentKind{BackupJob}}).Agents() {
		if a.Kind != BackupJob {
			t.Errorf("%s is a %s in a fleet of backups", a.Name, a.Kind)
		}
	}
	for _, a := range New(Options{}).Agents() {
		if a.Kind == "" {
			t.Errorf("%s of the plain fleet has no kind", a.Name)
		}
	}
}

// The mean number of calls in a session is what the role says, so that Rate means the same
// for all kinds; and calls that an agent begins in a day are Rate times its load.
func TestRateOfEachKindIsAsStated(t *testing.T) {
	const days = 28
	f := New(Options{Seed: 17, Kinds: Kinds()})
	calls, sessions := map[AgentKind]float64{}, map[AgentKind]map[string]bool{}
	for c := range during(f, days) {
		if len(c.Chain) > 1 {
			continue
		}
		r := f.byName[c.Agent].role
		if calls[r.kind]++; sessions[r.kind] == nil {
			sessions[r.kind] = map[string]bool{}
		}
		sessions[r.kind][c.Session] = true
	}
	agents := map[AgentKind]float64{}
	for _, a := range f.agents {
		agents[a.role.kind]++
	}
	for kind, n := range calls {
		r := kindFamilies[kind].lead
		perSession := n / float64(len(sessions[kind]))
		between(t, string(kind)+", calls a session", perSession/float64(r.session), 0.9, 1.1)
		if r.every == 0 { // one working day in forty is a holiday
			between(t, string(kind)+", of its rate", n/days/agents[kind]/(DefaultRate*r.load), 0.85, 1.1)
		}
	}
	if calls[SubAgent] > 0 {
		t.Errorf("sub-agents made %v calls by themselves", calls[SubAgent])
	}
}

func TestAllSharesOfEachKindAreAsStated(t *testing.T) {
	f := kinded(5)
	type sums struct{ all, fresh, errors, denied, other float64 }
	by, seen := map[AgentKind]*sums{}, map[[2]string]bool{}
	for c := range during(f, 28) {
		a := f.byName[c.Agent]
		edge := [2]string{c.Agent, c.Resource}
		isNew := !seen[edge]
		seen[edge] = true
		if c.Time.Before(DefaultStart.Add(history)) {
			continue
		}
		s := by[a.role.kind]
		if s == nil {
			s = &sums{}
			by[a.role.kind] = s
		}
		s.all++
		if isNew {
			s.fresh++
		}
		if c.Identity != a.identities[0] && c.Identity != a.identities[1] {
			s.other++
		}
		switch c.Outcome {
		case telemetry.OutcomeError:
			s.errors++
		case telemetry.OutcomeDenied:
			s.denied++
		}
	}
	fresh := map[AgentKind][2]float64{
		SupportBot: {0.15, 0.4}, CodingAgent: {0.1, 0.35}, DataPipeline: {0.15, 0.4},
		BackupJob: {0.2, 0.6}, Orchestrator: {0.02, 0.2}, SubAgent: {0.15, 0.5},
	}
	for _, k := range Kinds() {
		s := by[k]
		between(t, string(k)+", new resources", s.fresh/s.all, fresh[k][0], fresh[k][1])
		between(t, string(k)+", errors", s.errors/s.all, 0.005, 0.03)
		between(t, string(k)+", denied", s.denied/s.all, 0.0003, 0.012)
		between(t, string(k)+", unusual identities", s.other/s.all, otherUse*0.25, otherUse)
	}
}

// In a friendly world new resources come one by one. Here a session that brings any brings
// several.
func TestNewResourcesComeInClumps(t *testing.T) {
	f := kinded(9)
	fresh, seen := map[string]int{}, map[[2]string]bool{}
	for c := range during(f, 28) {
		edge := [2]string{c.Agent, c.Resource}
		if !seen[edge] && !c.Time.Before(DefaultStart.Add(history)) {
			fresh[c.Agent+" "+c.Session]++
		}
		seen[edge] = true
	}
	by := map[AgentKind][]int{}
	for key, n := range fresh {
		agent, _, _ := strings.Cut(key, " ")
		kind := f.byName[agent].role.kind
		by[kind] = append(by[kind], n)
	}
	for kind, least := range map[AgentKind]float64{SupportBot: 3, CodingAgent: 5, DataPipeline: 5, BackupJob: 30, SubAgent: 2} {
		slices.Sort(by[kind])
		between(t, string(kind)+", new in a session, median", float64(by[kind][len(by[kind])/2]), least, 100)
	}
}

func TestEventfulAgentsKeepToWhatIsTheirs(t *testing.T) {
	f := New(World(9))
	deepest := 0
	for c := range during(f, 14) {
		a := f.byName[c.Agent]
		if a == nil || c.Tenant != a.tenant || !slices.Contains(a.identities, c.Identity) {
			t.Fatalf("%s of %s acts as %s", c.Agent, c.Tenant, c.Identity)
		}
		if c.Chain[len(c.Chain)-1] != c.Agent {
			t.Fatalf("chain %v does not end with %s", c.Chain, c.Agent)
		}
		deepest = max(deepest, len(c.Chain))
		for i, below := range c.Chain[1:] {
			if !slices.Contains(f.byName[c.Chain[i]].delegates, f.byName[below]) {
				t.Fatalf("chain %v: %s does not delegate to %s", c.Chain, c.Chain[i], below)
			}
		}
		if first := f.byName[c.Chain[0]]; first.role.onCall && c.Action != "config.read" && c.Action != "secret.read" && c.Action != "health.check" && f.byName[c.Agent].joined != c.Time.UnixNano() {
			if first != a || a.joined == math.MinInt64 || c.Time.Sub(time.Unix(0, a.joined)) > time.Hour {
				t.Fatalf("%s, which is on call, is the root of %v for %s", first.name, c.Chain, c.Action)
			}
		}
	}
	if deepest != 3 {
		t.Errorf("the deepest chain has %d members", deepest)
	}
}

func TestSubAgentsWorkSideBySide(t *testing.T) {
	f := kinded(11)
	last, turns, all := map[string]string{}, 0, 0
	for c := range during(f, 14) {
		if f.byName[c.Agent].role.kind != SubAgent {
			continue
		}
		// Two that take turns call by call work at the same time.
		if all++; last[c.Session] != c.Agent {
			turns++
		}
		last[c.Session] = c.Agent
	}
	between(t, "changes of the agent", float64(turns)/float64(all), 0.3, 0.9)
}

func TestCodingAgentsRepeatThemselvesHonestly(t *testing.T) {
	f := kinded(13)
	type state struct {
		last [2]string
		run  int
	}
	states, longest := map[string]*state{}, 0
	for c := range during(f, 28) {
		if f.byName[c.Agent].role.kind != CodingAgent {
			continue
		}
		s := states[c.Session]
		if s == nil {
			s = &state{}
			states[c.Session] = s
		}
		// How long edit and test of one file follow each other: a cycle of two.
		call := c.Action + c.Resource
		if s.run++; call != s.last[0] {
			s.run = 1
		}
		s.last = [2]string{s.last[1], call}
		longest = max(longest, s.run)
	}
	between(t, "longest cycle of two, calls", float64(longest), 12, 200)
}

func TestPipelinesRunByTheClockAndFillIn(t *testing.T) {
	f := kinded(15)
	begin, calls := map[string]time.Time{}, map[string]int{}
	for c := range during(f, 28) {
		if f.byName[c.Agent].role.kind == DataPipeline {
			key := c.Agent + " " + c.Session
			if calls[key]++; calls[key] == 1 {
				begin[key] = c.Time
			}
		}
	}
	large, off := 0, 0
	for key, at := range begin {
		agent, _, _ := strings.Cut(key, " ")
		a := f.byName[agent]
		late := at.UnixNano() - a.before(at.UnixNano())
		if late > int64(91*time.Second) {
			off++
		}
		if calls[key] > 250 {
			large++
		}
	}
	if off > 0 {
		t.Errorf("%d of %d runs were not on time", off, len(begin))
	}
	between(t, "runs that fill in", float64(large)/float64(len(begin)), 0.006, 0.014)
}

func TestBackupsRunByNightAndDeleteWhatIsOld(t *testing.T) {
	f := kinded(19)
	deleted := 0
	for c := range during(f, 14) {
		a := f.byName[c.Agent]
		if a.role.kind != BackupJob {
			continue
		}
		if hour := (c.Time.Hour() + int(a.shift) + 24) % 24; hour < 1 || hour > 5 {
			t.Fatalf("%s works at %v", a.name, c.Time)
		}
		if c.Action == "snapshot.delete" {
			deleted++
			day, err := time.Parse("@"+time.DateOnly, c.Resource[strings.LastIndex(c.Resource, "@"):])
			if age := c.Time.Sub(day); err != nil || age < history || age > history+24*time.Hour {
				t.Fatalf("at %v %s is deleted (%v)", c.Time, c.Resource, err)
			}
		}
	}
	if deleted < 5000 {
		t.Errorf("only %d snapshots were deleted", deleted)
	}
}

func TestSizesAndTimesHaveHeavyTails(t *testing.T) {
	f := kinded(21)
	var bytes, latency []float64
	for c := range during(f, 28) {
		if c.Action == "kb.search" && c.Outcome == telemetry.OutcomeOK {
			bytes, latency = append(bytes, float64(c.BytesOut)), append(latency, c.Latency.Seconds())
		}
	}
	for what, x := range map[string][]float64{"bytes": bytes, "latency": latency} {
		slices.Sort(x)
		median := x[len(x)/2]
		// The tails of the log-normals alone end at 41 and at 13 times the median.
		between(t, what+", largest over median", x[len(x)-1]/median, 60, 1e5)
		// 0.02·E[(body/x)^1.2] and the log-normal's own tail.
		far, _ := slices.BinarySearch(x, 20*median)
		between(t, what+", share beyond 20 medians", 1-float64(far)/float64(len(x)), 2e-4, 5e-3)
	}
}

func TestDaysAndHoursDiffer(t *testing.T) {
	f := New(Options{Seed: 23, DayShape: true, Kinds: []AgentKind{CodingAgent}, Rate: 100})
	byHour, byDay := [24]float64{}, map[int64]float64{}
	weekday, weekend := 0.0, 0.0
	for c := range during(f, 35) {
		a := f.byName[c.Agent]
		if a.role.kind != CodingAgent {
			continue
		}
		local := c.Time.Add(time.Duration(a.shift) * time.Hour)
		byHour[local.Hour()]++
		if wd := local.Weekday(); wd == time.Saturday || wd == time.Sunday {
			weekend++
			continue
		}
		weekday++
		if a.tenant == "acme" {
			byDay[local.Unix()/86400]++
		}
	}
	between(t, "hour 13 over hour 3", byHour[13]/byHour[3], 6, 25)
	between(t, "weekend day over weekday", (weekend/2)/(weekday/5), 0.2, 0.35)
	var n, sum, squares float64
	for _, x := range byDay {
		n, sum, squares = n+1, sum+x, squares+x*x
	}
	// Poisson days would differ by about 2 %.
	mean := sum / n
	between(t, "spread of a tenant's working days", math.Sqrt(squares/n-mean*mean)/mean, 0.2, 0.7)
}

func TestSessionsComeInBursts(t *testing.T) {
	f := New(Options{Seed: 25, Kinds: []AgentKind{SupportBot}})
	last, gaps := map[string]time.Time{}, []float64{}
	seen := map[string]bool{}
	for c := range during(f, 35) {
		if seen[c.Session] {
			continue
		}
		seen[c.Session] = true
		if before, ok := last[c.Agent]; ok {
			gaps = append(gaps, c.Time.Sub(before).Seconds())
		}
		last[c.Agent] = c.Time
	}
	var sum, squares float64
	for _, g := range gaps {
		sum, squares = sum+g, squares+g*g
	}
	mean := sum / float64(len(gaps))
	// One for Poisson arrivals.
	between(t, "coefficient of variation of gaps", math.Sqrt(squares/float64(len(gaps))-mean*mean)/mean, 1.15, 2.5)
}
