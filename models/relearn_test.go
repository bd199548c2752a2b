package models

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

func TestSupposeIsThePriorThatItNames(t *testing.T) {
	b := NewCountBaseline(CountPrior{Mean: 1, Weight: 1, Memory: 500})
	b.Suppose(20, 4)
	want := NewCountBaseline(CountPrior{Mean: 20, Weight: 4, Memory: 500})
	for _, n := range []float64{1, 20, 60, 400} {
		if got := b.LogTail(n); got != want.LogTail(n) {
			t.Errorf("%v events: %v, want %v", n, got, want.LogTail(n))
		}
	}
	code, _ := b.AppendBinary(nil)
	c := NewCountBaseline(CountPrior{Mean: 1, Weight: 1, Memory: 500})
	if rest, err := c.DecodeBinary(code); err != nil || len(rest) > 0 || c.LogTail(60) != want.LogTail(60) {
		t.Errorf("decoded: %v, %v, want %v", err, c.LogTail(60), want.LogTail(60))
	}
}

// Slots that are believed weigh as much as slots that were seen: the moments are those of all together.
func TestWhatIsSupposedLateIsAddedToWhatWasLearned(t *testing.T) {
	b := NewCountBaseline(CountPrior{Mean: 1, Weight: 1, Memory: 1e9})
	b.Suppose(3, 1)
	for range 30 {
		b.Learn(1)
	}
	b.Suppose(11, 10)
	// Of M: 1 slot around 2 with variance 2+2², 30 at 0, and 10 around 10 with variance 10+10².
	mean := (1*2 + 10*10.0) / 41
	variance := (1*(6+2*2)+10*(110+10*10.0))/41 - mean*mean
	if math.Abs(b.mean-mean) > 1e-6 || math.Abs(b.spread/b.weight-variance) > 1e-5 || math.Abs(b.weight-41) > 1e-5 {
		t.Errorf("mean %v, variance %v, weight %v; want %v, %v, 41", b.mean, b.spread/b.weight, b.weight, mean, variance)
	}
}

// However much was learned before, what is remembered stays worth Memory slots, or it could not be read back.
func TestWhatIsSupposedLateIsReadBack(t *testing.T) {
	prior := CountPrior{Mean: 1, Weight: 1, Memory: 20}
	b := NewCountBaseline(prior)
	for range 40 {
		b.Learn(3)
	}
	b.Suppose(11, 19)
	code, _ := b.AppendBinary(nil)
	c := NewCountBaseline(prior)
	if _, err := c.DecodeBinary(code); err != nil {
		t.Fatalf("a baseline of the weight %v: %v", b.weight, err)
	}
	if c.LogTail(40) != b.LogTail(40) {
		t.Errorf("read back it says %v, before %v", c.LogTail(40), b.LogTail(40))
	}
}

// A baseline with seasons that supposes says of a slot what the one without says, as long as it has seen
// no season.
func TestSupposeIsThePriorOfABaselineWithSeasonsToo(t *testing.T) {
	plain, seasonal := NewCountBaseline(CountPrior{Mean: 1, Weight: 1, Memory: 500}), NewSeasonalCount(CountPrior{Mean: 1, Weight: 1, Memory: 500})
	plain.Suppose(20, 4)
	seasonal.Suppose(20, 4)
	if math.Abs(seasonal.Level()-20) > 1e-9 {
		t.Errorf("the level is %v, want 20", seasonal.Level())
	}
	// The profile of an unseen week widens it, so its tail is not lighter.
	if got, least := seasonal.LogTail(60, 0), plain.LogTail(60); got < least-1e-9 || got > least/4 {
		t.Errorf("60 where 20 is expected has the log probability %v, without seasons %v", got, least)
	}
	seasonal.Learn(5, 0)
	level := seasonal.Level()
	if seasonal.Suppose(100, 10); seasonal.Level() != level {
		t.Error("what was learned was overruled")
	}
}

// After a redeployment the new rate is expected within as many slots as the doubt left,
// where without doubt the old one stays for as many as were learned.
func TestDoubtLetsABaselineRelearn(t *testing.T) {
	learned := func(doubt float64) (count, seasonal, size float64) {
		b := NewCountBaseline(CountPrior{Mean: 1, Weight: 1, Memory: 2000})
		s := NewSeasonalCount(CountPrior{Mean: 1, Weight: 1, Memory: 2000})
		z := NewSizeBaseline(2000)
		at := int64(0)
		learn := func(n float64) {
			at += 600e9
			b.Learn(n)
			s.Learn(n, at)
			z.Learn(1000 * n)
		}
		for i := range 1000 {
			learn(float64(8 + i%5))
		}
		if doubt > 0 {
			b.Doubt(doubt)
			s.Doubt(doubt)
			z.Doubt(doubt)
		}
		for i := range 60 {
			learn(float64(38 + i%5))
		}
		return b.Mean(), s.Mean(at), z.Median() / 1000
	}
	count, seasonal, size := learned(20)
	for name, got := range map[string]float64{"count": count, "seasonal": seasonal, "size": size} {
		if math.Abs(got-40) > 14 {
			t.Errorf("%s: %v is expected, want about 40", name, got)
		}
	}
	if count, _, size = learned(0); count > 14 || size > 14 {
		t.Errorf("without doubt: %v, %v are expected, want about 10", count, size)
	}
}

func TestDoubtWidensThePrediction(t *testing.T) {
	b := NewCountBaseline(CountPrior{Mean: 1, Weight: 1, Memory: 2000})
	z := NewSizeBaseline(2000)
	for i := range 50 {
		b.Learn(float64(18 + i%5))
		z.Learn(float64(18 + i%5))
	}
	count, size := b.LogTail(60), z.LogTail(60)
	b.Doubt(5)
	z.Doubt(5)
	if b.LogTail(60) <= count || z.LogTail(60) <= size {
		t.Errorf("%v and %v, before it %v and %v", b.LogTail(60), z.LogTail(60), count, size)
	}
}

// What is left of 2000 draws is what a model has that drew the same kinds in the same shares, only
// fewer times.
func TestDoubtLeavesTheLawOfFewerDraws(t *testing.T) {
	many := NewNovelty(0.5, 1, 64)
	few := NewNovelty(0.5, 1, 64)
	long, short := NewMarkov(1, 64), NewMarkov(1, 64)
	for i := range uint64(2000) {
		many.Learn(i % 4)
		long.Learn([]uint64{i % 2}, i%4)
	}
	for i := range uint64(20) {
		few.Learn(i % 4)
		short.Learn([]uint64{i % 2}, i%4)
	}
	many.Doubt(20)
	if got, want := many.PNew(), few.PNew(); math.Abs(got-want) > 1e-12 || many.Draws() != 20 {
		t.Errorf("after 2000 draws of which 20 are left a new kind has %v, after 20 draws %v", got, want)
	}
	long.Doubt(10)
	for _, next := range []uint64{0, 2, 9} {
		got, want := long.LogProb([]uint64{0}, next, 0), short.LogProb([]uint64{0}, next, 0)
		if math.Abs(got-want) > 1e-12 {
			t.Errorf("of %d after 0 the doubted chain says %v, the one that drew so few %v", next, got, want)
		}
	}
}

func TestDoubtForgetsNoKindAndKeepsTheBooks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draws := rapid.SliceOfN(rapid.Uint64Range(0, 40), 1, 400).Draw(t, "draws")
		weight := rapid.Float64Range(0, 500).Draw(t, "weight")
		v, m := NewNovelty(0.5, 1, 16), NewMarkov(2, 24)
		for i, h := range draws {
			v.Learn(h)
			m.Learn(draws[max(0, i-2):i], h)
		}
		kinds, before := v.Kinds(), v.PNew()
		v.Doubt(weight)
		m.Doubt(weight)
		if v.Kinds() != kinds || !(v.PNew() >= before-1e-12 && v.PNew() <= 1) {
			t.Fatalf("%d kinds and %v for a new one, before %d and %v", v.Kinds(), v.PNew(), kinds, before)
		}
		for _, s := range []stateful{&v, &m} {
			b, err := s.AppendBinary(nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.DecodeBinary(b); err != nil {
				t.Fatalf("%T is not as its encoding wants it: %v", s, err)
			}
		}
	})
}
