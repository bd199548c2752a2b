package models

import (
	"math"
	"testing"
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
	b.Learn(3)
	mean := b.Mean()
	if b.Suppose(100, 10); b.Mean() != mean {
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
