package revoke

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func interlock(t *testing.T, opt InterlockOptions) *Interlock {
	t.Helper()
	if opt.Window == 0 {
		opt.Window = 10 * time.Minute
	}
	i, err := NewInterlock(opt)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// byDetector is a stop that a detector decides at noon and some.
func byDetector(tenant string, scope Scope, subject string) Revocation {
	return Revocation{Tenant: tenant, Scope: scope, Subject: subject, Action: Revoke, Initiator: "policy", IssuedAt: noon}
}

func TestADetectorGoneMadStopsAtMostTheInterlocksNumber(t *testing.T) {
	i := interlock(t, InterlockOptions{Targets: 20})
	stopped := 0
	for n := range 1000 {
		_, err := i.take(byDetector(fmt.Sprint("tenant", n%7), Agent, fmt.Sprint("agent", n)), noon.Add(time.Duration(n)*time.Millisecond))
		if err == nil {
			stopped++
		} else if !errors.Is(err, ErrHeldBack) {
			t.Fatal(err)
		}
	}
	if stopped != 20 {
		t.Errorf("stopped %d", stopped)
	}
	if _, err := i.take(byDetector("tenant0", Agent, "late"), noon.Add(10*time.Minute+time.Second)); err != nil {
		t.Errorf("after the window: %v", err)
	}
}

func TestNoWindowHoldsMoreThanTheNumber(t *testing.T) {
	const most, window = 5, time.Minute
	i := interlock(t, InterlockOptions{Targets: most, Window: window})
	random := rand.New(rand.NewPCG(1, 2))
	var taken []time.Time
	now := noon
	for n := range 5000 {
		now = now.Add(time.Duration(random.IntN(int(20 * time.Second))))
		if _, err := i.take(byDetector("acme", Agent, fmt.Sprint("agent", n)), now); err == nil {
			taken = append(taken, now)
		}
	}
	for n := range taken {
		if n >= most && taken[n].Sub(taken[n-most]) < window {
			t.Fatalf("%d stops within %v, from %v", most+1, taken[n].Sub(taken[n-most]), taken[n-most])
		}
	}
	if len(taken) < 1000 {
		t.Errorf("only %d stops, though the window passes hundreds of times", len(taken))
	}
}

func TestATargetIsCountedOnce(t *testing.T) {
	i := interlock(t, InterlockOptions{Targets: 2})
	for n := range 10 {
		if _, err := i.take(byDetector("acme", Agent, "bot"), noon.Add(time.Duration(n)*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	i.Note(byDetector("acme", Agent, "bot"), noon) // as its own message comes back
	if got := i.Stopped(noon.Add(time.Minute)); got != 1 {
		t.Errorf("counted %d", got)
	}
}

func TestATenantLosesAtMostItsShare(t *testing.T) {
	known := map[string]int{"large": 100, "small": 4}
	for tenant, want := range map[string]int{"large": 10, "small": 3, "unknown": 3} {
		i := interlock(t, InterlockOptions{TenantPercent: 10, TenantLeast: 3, Known: func(tenant string) int { return known[tenant] }})
		stopped := 0
		for n := range 50 {
			if _, err := i.take(byDetector(tenant, Agent, fmt.Sprint("agent", n)), noon); err == nil {
				stopped++
			}
		}
		if stopped != want {
			t.Errorf("%s: stopped %d, want %d", tenant, stopped, want)
		}
	}
}

func TestAWholeTenantCountsAsAllItsAgents(t *testing.T) {
	i := interlock(t, InterlockOptions{Targets: 20, Known: func(string) int { return 21 }})
	if _, err := i.take(byDetector("acme", Tenant, "acme"), noon); !errors.Is(err, ErrHeldBack) {
		t.Errorf("got %v", err)
	}
}

func TestPeopleAreNotBound(t *testing.T) {
	i := interlock(t, InterlockOptions{Targets: 1, Protected: []string{"acme/*"}})
	for n := range 5 {
		r := byDetector("acme", Agent, fmt.Sprint("agent", n))
		r.Initiator = Admin
		if _, err := i.take(r, noon); err != nil {
			t.Fatal(err)
		}
	}
	if got := i.Stopped(noon); got != 0 {
		t.Errorf("counted %d stops of people", got)
	}
	release := byDetector("acme", Agent, "agent0")
	release.Action = Release
	if _, err := i.take(release, noon); err != nil {
		t.Errorf("a release is held back: %v", err)
	}
}

func TestTheProtectedAreNeverStoppedByDetectors(t *testing.T) {
	i := interlock(t, InterlockOptions{Protected: []string{"acme/payroll-*", "*/root", "acme/role:*/deploy"}})
	for _, c := range []struct {
		r    Revocation
		held bool
	}{
		{byDetector("acme", Agent, "payroll-1"), true},
		{byDetector("acme", Chain, "payroll-1"), true},
		{byDetector("acme", Agent, "root"), true},
		{byDetector("globex", Chain, "root"), true},
		{byDetector("acme", Tenant, "acme"), true},
		{byDetector("globex", Tenant, "globex"), true}, // it may have a root
		{byDetector("acme", Agent, "role:eu/west/deploy"), true},
		{byDetector("acme", Agent, "role:eu/west/read"), false},
		{byDetector("acme", Agent, "invoice"), false},
		{byDetector("acme", Identity, "payroll-1"), false}, // nor is an identity, though a protected agent may use it
		{byDetector("globex", Agent, "payroll-1"), false},
		{byDetector("acme", Session, "payroll-1"), false}, // a session is no agent
	} {
		if _, err := i.take(c.r, noon); errors.Is(err, ErrHeldBack) != c.held {
			t.Errorf("%s %s/%s: %v", c.r.Scope, c.r.Tenant, c.r.Subject, err)
		}
	}
	if p, ok := i.Protects("acme", "invoice", "payroll-7"); !ok || p != "acme/payroll-*" {
		t.Errorf("Protects: %q, %v", p, ok)
	}
}

func TestWhatOthersStoppedCounts(t *testing.T) {
	i := interlock(t, InterlockOptions{Targets: 3})
	for n := range 3 {
		i.Note(byDetector("acme", Agent, fmt.Sprint("theirs", n)), noon)
	}
	if _, err := i.take(byDetector("acme", Agent, "ours"), noon.Add(time.Second)); !errors.Is(err, ErrHeldBack) {
		t.Errorf("got %v", err)
	}
}

func TestWhatOthersStoppedLongAgoDoesNotCount(t *testing.T) {
	i := interlock(t, InterlockOptions{Targets: 1})
	i.Note(byDetector("acme", Agent, "for a day"), noon.Add(10*time.Minute))
	if _, err := i.take(byDetector("acme", Agent, "bot"), noon.Add(10*time.Minute)); err != nil {
		t.Error(err)
	}
}

func TestWhatIsGivenBackLeavesRoomForAnother(t *testing.T) {
	i := interlock(t, InterlockOptions{Targets: 2, TenantPercent: 100, TenantLeast: 2})
	take := func(agent string, at time.Time) (Revocation, int, error) {
		r := byDetector("acme", Agent, agent)
		counted, err := i.take(r, at)
		return r, counted, err
	}
	first, counted, err := take("first", noon)
	if err != nil || counted != 1 {
		t.Fatalf("counted %d, %v", counted, err)
	}
	if _, again, err := take("first", noon.Add(time.Second)); err != nil || again != 0 {
		t.Fatalf("the same one again: counted %d, %v", again, err)
	}
	i.giveBack(first, counted)
	if n := i.Stopped(noon); n != 0 {
		t.Errorf("counted %d after it was given back", n)
	}
	late := noon.Add(9 * time.Minute)
	for _, agent := range []string{"first", "second"} {
		if _, _, err := take(agent, late); err != nil {
			t.Errorf("%s: %v", agent, err)
		}
	}
	// It counts from when it was sent, not from the attempt before.
	if _, _, err := take("third", noon.Add(11*time.Minute)); !errors.Is(err, ErrHeldBack) {
		t.Errorf("the third: %v", err)
	}
	if n := i.Stopped(late.Add(10 * time.Minute)); n != 0 {
		t.Errorf("counted %d after the window", n)
	}
}

func TestADrillCountsAgainstNoLimit(t *testing.T) {
	i := interlock(t, InterlockOptions{Targets: 1, Protected: []string{"acme/*"}})
	for n := range 5 {
		r := byDetector("acme", Session, fmt.Sprint(DrillPrefix, n))
		r.Detector = DrillDetector
		if _, err := i.take(r, noon); err != nil {
			t.Fatal(err)
		}
		i.Note(r, noon)
	}
	if n := i.Stopped(noon); n != 0 {
		t.Errorf("counted %d", n)
	}
	// The name that an agent gives its session makes no drill of it.
	r := byDetector("acme", Session, DrillPrefix+"mine")
	if _, err := i.take(r, noon); err != nil || i.Stopped(noon) != 1 {
		t.Errorf("%v, counted %d", err, i.Stopped(noon))
	}
}

func TestABadInterlockIsRefused(t *testing.T) {
	for _, opt := range []InterlockOptions{
		{},
		{Window: time.Minute, Targets: -1},
		{Window: time.Minute, TenantPercent: 150},
		{Window: time.Minute, Protected: []string{"payroll"}},
		{Window: time.Minute, Protected: []string{"acme/"}},
		{Window: time.Minute, Protected: []string{"/payroll"}},
		{Window: time.Minute, Protected: []string{"ac[me/a"}},
		{Window: time.Minute, Protected: []string{"acme/[a"}},
	} {
		if i, err := NewInterlock(opt); err == nil {
			t.Errorf("%+v makes %v", opt, i)
		}
	}
}
