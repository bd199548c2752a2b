package fleet

import (
	"slices"
	"testing"
	"time"

	"github.com/estop-project/estop/pipeline/telemetry"
)

var attackedAt = DefaultStart.Add(history + 9*time.Hour)

// Bad returns the attack's calls of the time after its start.
func bad(a Attack, span time.Duration) []Call {
	return slices.Collect(a.Calls(a.Start.Add(span)))
}

func TestAttackTellsTheTruth(t *testing.T) {
	f := shaped(23)
	for _, a := range attacks(t, f, attackedAt) {
		calls := bad(a, 10*time.Minute)
		if len(calls) == 0 {
			t.Fatalf("%s has no calls", a.Kind)
		}
		if first := calls[0]; first.ID != a.FirstBad || !first.Time.Equal(a.Start) {
			t.Errorf("%s says that it begins with %s at %v, but it does with %s at %v", a.Kind, a.FirstBad, a.Start, first.ID, first.Time)
		}
		for _, c := range calls {
			if c.Agent != a.Agent || c.Tenant != a.Tenant || !slices.Equal(c.Chain, []string{a.Agent}) {
				t.Fatalf("%s of %s has a call of %s, chain %v", a.Kind, a.Agent, c.Agent, c.Chain)
			}
		}
		// Woven in, the calls are the same ones.
		want, got := len(calls), 0
		for c := range f.Calls(attackedAt.Add(-time.Minute), attackedAt.Add(10*time.Minute), a) {
			if got < want && c.ID == calls[got].ID {
				got++
			}
		}
		if got != want {
			t.Errorf("%s: %d of %d calls were woven in", a.Kind, got, want)
		}
	}
}

func TestAttackReplacesTheAgentsOwnWork(t *testing.T) {
	f := New(Options{Seed: 23, Rate: 5000})
	name := f.Agents()[32].Name
	a, err := f.Crawl(name, attackedAt)
	if err != nil {
		t.Fatal(err)
	}
	evil := map[string]bool{}
	for _, c := range bad(a, time.Hour) {
		evil[c.ID] = true
	}
	before, after := 0, 0
	for c := range f.Calls(attackedAt.Add(-time.Hour), attackedAt.Add(time.Hour), a) {
		if c.Agent != name || len(c.Chain) > 1 || evil[c.ID] {
			continue
		}
		if before++; !c.Time.Before(attackedAt) {
			after++
		}
	}
	if before < 20 || after > 0 {
		t.Errorf("%d honest calls of the agent's own, %d of them after the attack began", before, after)
	}
}

func TestExfiltrationIsFastAndLarge(t *testing.T) {
	f := shaped(29)
	a, err := f.Exfiltrate(f.Agents()[21].Name, attackedAt, 100)
	if err != nil {
		t.Fatal(err)
	}
	calls := bad(a, 10*time.Second)
	if n := len(calls); n < 900 || n > 1100 {
		t.Errorf("%d calls in ten seconds, want about 1,000", n)
	}
	resources, denied, bytes := map[string]bool{}, 0, int64(0)
	for _, c := range calls {
		resources[c.Resource] = true
		bytes += c.BytesOut
		if c.Outcome == telemetry.OutcomeDenied {
			denied++
		}
	}
	if len(resources) < 300 || denied < 50 || denied > 250 || bytes < 100<<20 {
		t.Errorf("%d resources, %d denied, %d bytes", len(resources), denied, bytes)
	}
}

func TestStolenCredentialIsNeverTheThiefs(t *testing.T) {
	f := shaped(31)
	victim, thief := f.Agents()[5], f.Agents()[15]
	for _, name := range []string{thief.Name, "stranger"} {
		a, err := f.StealCredential(victim.Name, name, attackedAt)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range bad(a, 24*time.Hour) {
			if !slices.Contains(victim.Identities, c.Identity) || slices.Contains(thief.Identities, c.Identity) {
				t.Fatalf("%s acts as %s", c.Agent, c.Identity)
			}
		}
	}
	if _, err := f.StealCredential(victim.Name, f.Agents()[6].Name, attackedAt); err == nil {
		t.Error("a thief of another tenant was accepted")
	}
	if _, err := f.StealCredential("nobody", thief.Name, attackedAt); err == nil {
		t.Error("an unknown victim was accepted")
	}
}

func TestCrawlIsAllNewAndNotFaster(t *testing.T) {
	f := New(Options{Seed: 37, Rate: 2000})
	name := f.Agents()[32].Name
	a, err := f.Crawl(name, attackedAt)
	if err != nil {
		t.Fatal(err)
	}
	seen, honest := map[string]bool{}, 0
	for c := range f.Calls(DefaultStart.Add(10*day), DefaultStart.Add(11*day)) {
		if c.Agent == name && len(c.Chain) == 1 {
			seen[c.Resource] = true
			honest++
		}
	}
	crawled := bad(a, day)
	for _, c := range crawled {
		if seen[c.Resource] {
			t.Fatalf("%s was seen before", c.Resource)
		}
		seen[c.Resource] = true
	}
	if ratio := float64(len(crawled)) / float64(honest); ratio < 0.8 || ratio > 1.25 {
		t.Errorf("%d calls in a day, %d when honest", len(crawled), honest)
	}
}

func TestLoopRepeatsOneCall(t *testing.T) {
	f := shaped(41)
	a, err := f.Repeat(f.Agents()[43].Name, attackedAt, 2)
	if err != nil {
		t.Fatal(err)
	}
	calls := bad(a, time.Minute)
	if n := len(calls); n < 100 || n > 140 {
		t.Errorf("%d calls in a minute, want about 120", n)
	}
	for _, c := range calls {
		if c.Action != calls[0].Action || c.Resource != calls[0].Resource {
			t.Fatalf("%s %s is not %s %s", c.Action, c.Resource, calls[0].Action, calls[0].Resource)
		}
	}
}

func TestRampGrowsByTheStatedRate(t *testing.T) {
	f := New(Options{Seed: 43, Rate: 4000})
	a, err := f.Ramp(f.Agents()[54].Name, attackedAt, 0.01)
	if err != nil {
		t.Fatal(err)
	}
	perDay := make([]float64, 6)
	for _, c := range bad(a, 6*day) {
		perDay[int(c.Time.Sub(attackedAt)/day)]++
	}
	// 1.01^120 is 3.3.
	if growth := perDay[5] / perDay[0]; growth < 2.9 || growth > 3.7 {
		t.Errorf("after five days the rate is %.2f times the first day's, want 3.3 (%v)", growth, perDay)
	}
}

func TestUnknownAgentsCannotAttack(t *testing.T) {
	f := shaped(1)
	for _, err := range []error{
		second(f.Exfiltrate("x", attackedAt, 1)), second(f.Crawl("x", attackedAt)),
		second(f.Repeat("x", attackedAt, 1)), second(f.Ramp("x", attackedAt, 1)),
	} {
		if err == nil {
			t.Error("an agent that is not in the fleet was accepted")
		}
	}
}

func second(_ Attack, err error) error { return err }
