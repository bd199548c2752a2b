package fleet

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/estop-project/estop/pipeline/telemetry"
)

// What seed 7 gives in two days.
const (
	goldenHonest   = "84e99a818927266ac1ed4d28d9f8e040"
	goldenAttacked = "b3b3235b7aa361f2b45ec07c3232196c"
)

const (
	day     = 24 * time.Hour
	history = 14 * day
)

func shaped(seed uint64) *Fleet { return New(Options{Seed: seed, DayShape: true}) }

func hashInto(h hash.Hash, calls iter.Seq[Call]) (n int) {
	for c := range calls {
		fmt.Fprintf(h, "%d %q\n", c.Time.UnixNano(), []any{c.ID, c.Tenant, c.Agent, c.Identity, c.Session, c.Chain,
			c.Action, c.Resource, c.Outcome.String(), c.Context, c.Traceparent})
		fmt.Fprintln(h, int64(c.Latency), c.BytesIn, c.BytesOut)
		n++
	}
	return n
}

func digest(calls iter.Seq[Call]) string {
	h := sha256.New()
	hashInto(h, calls)
	return hex.EncodeToString(h.Sum(nil)[:16])
}

func attacks(t testing.TB, f *Fleet, at time.Time) []Attack {
	t.Helper()
	agents := f.Agents()
	var all []Attack
	add := func(a Attack, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, a)
	}
	// Agents of one tenant are as far apart as there are tenants.
	victim, thief := agents[5].Name, agents[15].Name
	add(f.Exfiltrate(agents[21].Name, at, 100))
	add(f.StealCredential(victim, thief, at))
	add(f.Crawl(agents[32].Name, at))
	add(f.Repeat(agents[43].Name, at, 2))
	add(f.Ramp(agents[54].Name, at, 0.01))
	return all
}

func TestSameSeedGivesSameBytes(t *testing.T) {
	to := DefaultStart.Add(2 * day)
	f := shaped(7)
	got := digest(f.Calls(DefaultStart, to))
	if again := digest(shaped(7).Calls(DefaultStart, to)); again != got {
		t.Errorf("a second fleet of the seed gave %s, the first %s", again, got)
	}
	if again := digest(f.Calls(DefaultStart, to)); again != got {
		t.Errorf("the second time the fleet gave %s, the first %s", again, got)
	}
	// The number changes only when the fleet is meant to change.
	if want := goldenHonest; got != want {
		t.Errorf("digest is %s, want %s", got, want)
	}
	bad := digest(f.Calls(DefaultStart, to, attacks(t, f, to.Add(-10*time.Minute))...))
	if want := goldenAttacked; bad != want {
		t.Errorf("digest with attacks is %s, want %s", bad, want)
	}
}

func TestOtherSeedGivesOtherCalls(t *testing.T) {
	to := DefaultStart.Add(6 * time.Hour)
	if a, b := digest(shaped(1).Calls(DefaultStart, to)), digest(shaped(2).Calls(DefaultStart, to)); a == b {
		t.Errorf("seeds 1 and 2 both gave %s", a)
	}
	// And the same agents at another time make other calls.
	f := New(Options{Seed: 1})
	later := DefaultStart.Add(time.Nanosecond)
	first := func(calls iter.Seq[Call]) string {
		for c := range calls {
			return c.ID
		}
		return ""
	}
	if a, b := first(f.Calls(DefaultStart, to)), first(f.Calls(later, to)); a == b {
		t.Errorf("streams from two times both began with call %s", a)
	}
}

func TestCallsComeInOrderOfTimeWithinTheBounds(t *testing.T) {
	f := shaped(3)
	from, to := DefaultStart.Add(3*day), DefaultStart.Add(5*day)
	last, ids := from, map[string]bool{}
	for c := range f.Calls(from, to, attacks(t, f, to.Add(-20*time.Minute))...) {
		if c.Time.Before(last) || !c.Time.Before(to) {
			t.Fatalf("call at %v after one at %v, bounds %v to %v", c.Time, last, from, to)
		}
		if last = c.Time; ids[c.ID] {
			t.Fatalf("id %s came twice", c.ID)
		}
		ids[c.ID] = true
	}
	if len(ids) < 10_000 {
		t.Errorf("only %d calls", len(ids))
	}
}

func TestEveryAgentHasHistoryEnoughForABaseline(t *testing.T) {
	for _, dayShape := range []bool{false, true} {
		f := New(Options{Seed: 11, DayShape: dayShape})
		calls, slots, last, total := map[string]int{}, map[string]int{}, map[string]int64{}, 0
		for c := range f.Calls(DefaultStart, DefaultStart.Add(history)) {
			total++
			calls[c.Agent]++
			if slot := c.Time.Unix() / 10; slot != last[c.Agent] {
				last[c.Agent] = slot
				slots[c.Agent]++
			}
		}
		fewest := [2]int{1 << 30, 1 << 30}
		for _, a := range f.Agents() {
			fewest[0], fewest[1] = min(fewest[0], calls[a.Name]), min(fewest[1], slots[a.Name])
			if calls[a.Name] < 500 || slots[a.Name] < 60 {
				t.Errorf("%s has %d calls in %d slots", a.Name, calls[a.Name], slots[a.Name])
			}
		}
		if total < 100_000 || total > 250_000 {
			t.Errorf("%d calls in all, want 100,000 to 250,000", total)
		}
		t.Logf("day shape %v: %d calls, at least %d calls and %d slots", dayShape, total, fewest[0], fewest[1])
	}
}

// Shares of the honest calls of the second week, when the first week is known.
func TestHonestCallsKeepTheStatedShares(t *testing.T) {
	f := shaped(5)
	second := DefaultStart.Add(history / 2)
	var all, delegations, changes, pairs, fresh, errors, denied, deepest float64
	identity, seen := map[string]string{}, map[[2]string]bool{}
	for c := range f.Calls(DefaultStart, DefaultStart.Add(history)) {
		edge := [2]string{c.Agent, c.Resource}
		isNew := !seen[edge]
		seen[edge] = true
		deepest = max(deepest, float64(len(c.Chain)))
		if c.Time.Before(second) {
			continue
		}
		all++
		if isNew {
			fresh++
		}
		if len(c.Chain) > 1 {
			delegations++
		}
		if before, ok := identity[c.Agent]; ok {
			pairs++
			if before != c.Identity {
				changes++
			}
		}
		identity[c.Agent] = c.Identity
		switch c.Outcome {
		case telemetry.OutcomeError:
			errors++
		case telemetry.OutcomeDenied:
			denied++
		}
	}
	f2 := func(name string, got, low, high float64) {
		t.Helper()
		t.Logf("%-20s %.4f", name, got)
		if got < low || got > high {
			t.Errorf("%s is %.4f, want %g to %g", name, got, low, high)
		}
	}
	f2("delegated", delegations/all, 0.10, 0.30)
	f2("identity changes", changes/pairs, 0.70, 0.95)
	f2("new resources", fresh/all, 0.002, 0.04)
	f2("errors", errors/all, 0.005, 0.03)
	f2("denied", denied/all, 0.001, 0.01)
	f2("deepest chain", deepest, 3, 3)
}

func TestHonestAgentsKeepToWhatIsTheirs(t *testing.T) {
	f := shaped(9)
	shared := map[string]map[string]bool{}
	for c := range f.Calls(DefaultStart, DefaultStart.Add(2*day)) {
		a := f.byName[c.Agent]
		if a == nil || c.Tenant != a.tenant || !slices.Contains(a.identities, c.Identity) {
			t.Fatalf("%s of %s acts as %s", c.Agent, c.Tenant, c.Identity)
		}
		if c.Chain[len(c.Chain)-1] != c.Agent {
			t.Fatalf("chain %v does not end with %s", c.Chain, c.Agent)
		}
		for i, caller := range c.Chain[1:] {
			if !slices.Contains(f.byName[c.Chain[i]].delegates, f.byName[caller]) {
				t.Fatalf("chain %v: %s does not delegate to %s", c.Chain, c.Chain[i], caller)
			}
		}
		if shared[c.Identity] == nil {
			shared[c.Identity] = map[string]bool{}
		}
		shared[c.Identity][c.Agent] = true
	}
	most := 0
	for _, agents := range shared {
		most = max(most, len(agents))
	}
	if most < 3 {
		t.Errorf("no identity is shared by more than %d agents", most)
	}
}

// Fastest is the largest number of calls that an agent makes in any slot of ten seconds.
func fastest(calls iter.Seq[Call]) map[string]int {
	most, slot, n := map[string]int{}, map[string]int64{}, map[string]int{}
	for c := range calls {
		if at := c.Time.Unix() / 10; at != slot[c.Agent] {
			slot[c.Agent], n[c.Agent] = at, 0
		}
		n[c.Agent]++
		most[c.Agent] = max(most[c.Agent], n[c.Agent])
	}
	return most
}

func TestHonestAgentsAreNeverAsFastAsAnExfiltration(t *testing.T) {
	f := shaped(13)
	for agent, n := range fastest(f.Calls(DefaultStart, DefaultStart.Add(history))) {
		if n > 100 {
			t.Errorf("%s made %d calls in ten seconds", agent, n)
		}
	}
}

func TestRateStretchesOnlyTheGaps(t *testing.T) {
	f := New(Options{Seed: 17})
	count := func(f *Fleet, span time.Duration) (calls, sessions float64) {
		seen := map[string]bool{}
		for c := range f.Calls(DefaultStart, DefaultStart.Add(span)) {
			calls++
			seen[c.Session] = true
		}
		return calls, float64(len(seen))
	}
	thin, thinSessions := count(f, 4*day)
	dense, denseSessions := count(f.WithRate(100*DefaultRate), 4*day/100)
	if ratio := dense / thin; ratio < 0.9 || ratio > 1.1 {
		t.Errorf("100 times the rate in a 100th of the time gave %g calls instead of %g", dense, thin)
	}
	if a, b := thin/thinSessions, dense/denseSessions; b < 0.9*a || b > 1.1*a {
		t.Errorf("sessions have %.1f calls at the low rate and %.1f at the high one", a, b)
	}
}

func TestNightlyBatchesRunByNight(t *testing.T) {
	f := shaped(19)
	by := map[bool]int{}
	for c := range f.Calls(DefaultStart, DefaultStart.Add(history)) {
		a := f.byName[c.Agent]
		if a.role.hours != night {
			continue
		}
		hour := (c.Time.Hour() + int(a.shift) + 24) % 24
		by[hour >= 1 && hour <= 4]++
	}
	if by[false] > 0 || by[true] < 1000 {
		t.Errorf("%d calls of nightly batches by night, %d by day", by[true], by[false])
	}
}

func TestSmallAndOddFleetsWork(t *testing.T) {
	f := func(opts Options, fewest, most int) {
		t.Helper()
		fl := New(opts)
		if len(fl.Agents()) != opts.Agents {
			t.Errorf("%+v: %d agents", opts, len(fl.Agents()))
		}
		n := 0
		for range fl.Calls(time.Time{}, DefaultStart.Add(20*day)) {
			n++
		}
		if n < fewest || n > most {
			t.Errorf("%+v: %d calls, want %d to %d", opts, n, fewest, most)
		}
	}
	f(Options{Agents: 1, Tenants: 1}, 500, 2_000)
	f(Options{Agents: 1, Tenants: 9}, 500, 2_000)
	f(Options{Agents: 33, Tenants: 7, DayShape: true}, 20_000, 70_000)
	f(Options{Agents: 5, Rate: 1e-9, DayShape: true, Start: DefaultStart.Add(-time.Hour)}, 0, 100)
	f(Options{Agents: 3, Rate: 1e12, Start: DefaultStart.Add(19 * day)}, 10_000, 200_000)
}

func TestTelemetryCarriesEveryField(t *testing.T) {
	c := Call{
		ID: "c1", Time: DefaultStart, Tenant: "acme", Agent: "b", Identity: "role/b", Session: "s1",
		Chain: []string{"a", "b"}, Action: "object.get", Resource: "s3://x/1", Outcome: telemetry.OutcomeDenied,
		Latency: time.Second, BytesIn: 1, BytesOut: 2, Context: []Pair{{"env", "test"}}, Traceparent: "00-1",
	}
	want := telemetry.Call{
		ID: []byte("c1"), Time: DefaultStart.UnixNano(), Tenant: []byte("acme"), Agent: []byte("b"),
		Identity: []byte("role/b"), Session: []byte("s1"), Chain: [][]byte{[]byte("a"), []byte("b")},
		Action: []byte("object.get"), Resource: []byte("s3://x/1"), Outcome: telemetry.OutcomeDenied,
		Latency: time.Second, BytesIn: 1, BytesOut: 2,
		Context:     []telemetry.Pair{{Key: []byte("env"), Value: []byte("test")}},
		Traceparent: []byte("00-1"),
	}
	got := telemetry.Call{ID: []byte("old"), Sig: []byte("old"), Unknown: 3, Chain: [][]byte{[]byte("old")}}
	c.Telemetry(&got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	// A field's end is the end of its capacity: an append to it leaves the next one alone.
	_ = append(got.ID, "xx"...)
	if string(got.Tenant) != "acme" {
		t.Errorf("an append to the id changed the tenant to %q", got.Tenant)
	}
}

// One op is 100,000 calls.
func BenchmarkCalls(b *testing.B) {
	for _, c := range []struct {
		name string
		opt  Options
	}{
		{"plain", Options{Seed: 1, DayShape: true}},
		{"eventful", World(1)},
	} {
		b.Run(c.name, func(b *testing.B) {
			f := New(c.opt)
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				n = 0
				for range f.Calls(DefaultStart, time.Time{}) {
					if n++; n == 100_000 {
						break
					}
				}
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "calls/s")
		})
	}
}

func BenchmarkTelemetry(b *testing.B) {
	var c Call
	for c = range New(Options{}).Calls(DefaultStart, time.Time{}) {
		break
	}
	var dst telemetry.Call
	b.ReportAllocs()
	for b.Loop() {
		c.Telemetry(&dst)
	}
}

func TestCallsSurviveNativeJSON(t *testing.T) {
	f := shaped(47)
	var sent, got telemetry.Call
	var d telemetry.Decoder
	var line []byte
	n := 0
	for c := range f.Calls(DefaultStart, DefaultStart.Add(day), attacks(t, f, DefaultStart.Add(day-time.Minute))...) {
		c.Telemetry(&sent)
		line = telemetry.AppendJSON(line[:0], &sent)
		d.Start(telemetry.JSON, line)
		if err := d.Next(&got); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		if n++; n%50 == 0 { // comparing costs more than making
			if diff := cmp.Diff(sent, got, cmpopts.EquateEmpty()); diff != "" {
				t.Fatal(diff)
			}
		}
	}
	if n < 10_000 {
		t.Errorf("only %d calls", n)
	}
}
