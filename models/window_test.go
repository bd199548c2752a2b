package models

import (
	"math/rand/v2"
	"testing"
	"time"
)

type event struct {
	t int64
	v float64
}

// slowSum is the sum of the events in the slots that Window promises, counted one by one.
func slowSum(events []event, step, t, slots int64) (sum float64) {
	k := slotOf(t, step)
	for _, e := range events {
		if s := slotOf(e.t, step); s >= k-slots && s <= k {
			sum += e.v
		}
	}
	return sum
}

func TestWindowEqualsABruteForceSum(t *testing.T) {
	for _, scale := range []float64{1, 1e6, 1.0 / 8} { // narrow; wide; binary fractions, exact too
		rng := rand.New(rand.NewPCG(1, 2))
		w := NewWindow(10*time.Second, 10)
		var events []event
		now := int64(-30e9) // also before 1970
		for range 3000 {
			now += rng.Int64N(2e9) * rng.Int64N(2)
			if rng.IntN(200) == 0 {
				now += rng.Int64N(40e9)
			}
			e := event{now - rng.Int64N(8e9)*int64(rng.IntN(2)), float64(rng.IntN(9000)) * scale}
			if !w.Add(e.t, e.v) {
				t.Fatalf("scale %v: an event 8 s late was refused", scale)
			}
			events = append(events, e)
			if got, want := w.Sum(now), slowSum(events, 1e9, now, 10); got != want {
				t.Fatalf("scale %v: sum is %v, want %v", scale, got, want)
			}
			late := now - rng.Int64N(1e9)
			if got, want := w.Sum(late), slowSum(events, 1e9, late, 10); slotOf(late, 1e9) == slotOf(now, 1e9) && got != want {
				t.Fatalf("scale %v: late sum is %v, want %v", scale, got, want)
			}
			events = events[max(0, len(events)-200):]
		}
	}
}
