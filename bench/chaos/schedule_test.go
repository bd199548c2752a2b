package chaos

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTheScheduleIsAFunctionOfTheSeed(t *testing.T) {
	if diff := cmp.Diff(Schedule(7, 3*time.Minute), Schedule(7, 3*time.Minute)); diff != "" {
		t.Errorf("the same seed gives another schedule:\n%s", diff)
	}
	if cmp.Equal(Schedule(7, 3*time.Minute), Schedule(8, 3*time.Minute)) {
		t.Error("another seed gives the same schedule")
	}
}

func TestNoFaultOfATierBeginsBeforeTheOneBeforeIsOver(t *testing.T) {
	for seed := range uint64(50) {
		const span = 5 * time.Minute
		for i, l := range lanes() {
			var over time.Duration
			for _, f := range Schedule(seed, span) {
				if f.Target != l.tier && !slices.Contains(l.targets, f.Target) {
					continue
				}
				if f.At < over || f.For <= 0 {
					t.Fatalf("seed %d, lane %d: %v begins before %v", seed, i, f, over)
				}
				over = f.At + f.For
			}
			if over == 0 || over > span {
				t.Errorf("seed %d: the faults of %s are over at %v of %v", seed, l.tier, over, span)
			}
		}
	}
}

func TestEveryKindOfFaultComesToEveryTierThatHasIt(t *testing.T) {
	type hit struct {
		tier string
		kind FaultKind
	}
	seen := map[hit]bool{}
	whole := map[string]bool{}
	for seed := range uint64(50) {
		for _, f := range Schedule(seed, 2*time.Minute) {
			for _, l := range lanes() {
				if f.Target == l.tier || slices.Contains(l.targets, f.Target) {
					seen[hit{l.tier, f.Kind}] = true
					whole[l.tier] = whole[l.tier] || f.Target == l.tier && f.Kind != Rolling
				}
			}
		}
	}
	for _, l := range lanes() {
		for _, k := range l.kinds {
			if !seen[hit{l.tier, k}] {
				t.Errorf("%s never suffers %q", l.tier, k)
			}
		}
		if l.together > 0 && !whole[l.tier] {
			t.Errorf("%s never suffers as a whole", l.tier)
		}
	}
}

func TestKillingTakesTurns(t *testing.T) {
	var got []string
	for _, f := range Killing(5*time.Second, 21*time.Second) {
		got = append(got, f.String())
	}
	want := []string{
		"   5.0s  kill -9          detect-1      for 0.5s",
		"  10.0s  kill -9          detect-2      for 0.5s",
		"  15.0s  kill -9          detect-1      for 0.5s",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the schedule, wanted (-), got (+):\n%s", diff)
	}
}
