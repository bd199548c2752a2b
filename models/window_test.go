package models

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

type event struct {
	t int64
	v float64
}

// slowSum adds the events in the slots that Window promises, one by one. Of them the slots
// before newest-slots are no longer kept.
func slowSum(events []event, step, t, newest, slots int64) (sum float64) {
	k := slotOf(t, step)
	for _, e := range events {
		if s := slotOf(e.t, step); s >= k-slots && s <= k && s >= newest-slots {
			sum += e.v
		}
	}
	return sum
}

func TestWindowEqualsABruteForceSum(t *testing.T) {
	for _, scale := range []float64{1, 1e6, 1.0 / 8} { // narrow; wide; binary fractions, which add up exactly
		rng := rand.New(rand.NewPCG(1, 2))
		w := NewWindow(10*time.Second, 10)
		var events []event
		now := int64(-30e9) // also before 1970
		for range 3000 {
			now += rng.Int64N(2e9) * rng.Int64N(2)
			if rng.IntN(200) == 0 {
				now += rng.Int64N(40e9)
			}
			w.Sum(now)
			e := event{now - rng.Int64N(8e9)*int64(rng.IntN(2)), float64(rng.IntN(9000)) * scale}
			if !w.Add(e.t, e.v) {
				t.Fatalf("scale %v: an event at most 8 s late was refused", scale)
			}
			events = append(events, e)
			newest := slotOf(now, 1e9)
			for _, at := range []int64{now, now - rng.Int64N(12e9), now} {
				if got, want := w.Sum(at), slowSum(events, 1e9, at, newest, 10); got != want {
					t.Fatalf("scale %v: sum %v before the newest is %v, want %v", scale, now-at, got, want)
				}
			}
			events = events[max(0, len(events)-200):]
		}
	}
}

func TestWindowNeverMissesWhatIsInsideAndOvercountsLessThanASlot(t *testing.T) {
	const width, step = 10e9, 1e9
	for offset := int64(0); offset < step; offset += 99_999_999 {
		for age := int64(0); age < 14e9; age += 99_999_999 {
			w := NewWindow(width, 10)
			now := int64(1_700_000_000e9) + offset
			w.Add(now-age, 1)
			got := w.Sum(now)
			if age < width && got != 1 {
				t.Fatalf("an event %v old is missed at offset %v", time.Duration(age), offset)
			}
			if age >= width+step && got != 0 {
				t.Fatalf("an event %v old still counts at offset %v", time.Duration(age), offset)
			}
		}
	}
}

func TestWindowRefusesWhatItCannotCount(t *testing.T) {
	w := NewWindow(10*time.Second, 10)
	w.Add(100e9, 5)
	if w.Add(89e9, 1) {
		t.Error("a value 11 slots late was taken")
	}
	if !w.Add(90e9, 1) {
		t.Error("a value 10 slots late was refused")
	}
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), 1e291} {
		if w.Add(100e9, v) {
			t.Errorf("%v was taken", v)
		}
	}
	if got := w.Sum(100e9); got != 6 {
		t.Errorf("sum is %v, want 6", got)
	}
}

func TestWindowSurvivesTheEndsOfTime(t *testing.T) {
	times := []int64{math.MinInt64, math.MinInt64 + 1, -1, 0, 1, math.MaxInt64 - 1, math.MaxInt64}
	for _, width := range []time.Duration{1, 10, time.Second, math.MaxInt64} {
		for _, a := range times {
			for _, b := range times {
				w := NewWindow(width, 3)
				d := NewDistinct(width, 3, 4)
				w.Add(a, 1)
				d.Add(a, 1)
				if w.Sum(b); w.Sum(max(a, b)) > 1 || d.Count(max(a, b)) > 1 {
					t.Errorf("one event counts twice: width %v, times %d, %d", width, a, b)
				}
			}
		}
	}
}

func TestWindowRoundingDoesNotBuildUp(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	w := NewWindow(time.Second, 10)
	now := int64(0)
	for range 200_000 {
		now += 20e6
		w.Add(now, rng.ExpFloat64()*1e9)
	}
	sum := 0.0
	for i := range w.ring() {
		sum += w.cell(i)
	}
	if got := w.Sum(now); math.Abs(got-sum) > 1e-12*sum {
		t.Errorf("running sum %v is off the slots' sum %v", got, sum)
	}
}

func TestWindowWithoutValuesIsSmall(t *testing.T) {
	w := NewWindow(time.Hour, 1000)
	w.Sum(5)
	if w.cells != nil {
		t.Error("an unused window holds memory")
	}
}
