package models

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestConformalRankIsCounted(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	c := NewConformal(500)
	var seen []float64
	for range 500 {
		score := float64(rng.IntN(40)) // ties
		above := 1.0
		for _, s := range seen {
			if s >= score {
				above++
			}
		}
		if got, want := c.LogP(score), math.Log(above/float64(len(seen)+1)); math.Abs(got-want) > 1e-12 {
			t.Fatalf("log p of %v is %v, want %v", score, got, want)
		}
		c.Add(score)
		seen = append(seen, score)
	}
	if c.N() != 500 {
		t.Errorf("%d scores are kept", c.N())
	}
}

// With more scores than are kept P(p ≤ x) ≤ x still holds, and is not far below.
func TestConformalPValuesAreValid(t *testing.T) {
	for _, cap := range []int{1, 19, 300} {
		rng := rand.New(rand.NewPCG(3, uint64(cap)))
		c := NewConformal(cap)
		const draws = 200_000
		var below [3]float64
		levels := []float64{0.5, 0.1, 0.01}
		for i := range draws + 1000 {
			score := rng.NormFloat64()
			if i >= 1000 {
				for j, x := range levels {
					if c.LogP(score) <= math.Log(x)+1e-12 {
						below[j]++
					}
				}
			}
			c.Add(score)
		}
		for j, x := range levels {
			want := math.Floor(x*float64(cap+1)+1e-9) / float64(cap+1) // the ranks are uniform
			if got := below[j] / draws; math.Abs(got-want) > 0.02*math.Sqrt(want)+1e-12 {
				t.Errorf("cap %d: P(p ≤ %v) is %v, want %v", cap, x, got, want)
			}
		}
	}
}

func TestConformalStaysSortedAndFollowsDrift(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	c := NewConformal(100)
	for i := range 2000 {
		score := rng.NormFloat64()
		if i >= 1000 {
			score += 50
		}
		c.Add(score)
		for j := 1; j < c.N(); j++ {
			if c.scores[j] < c.scores[j-1] {
				t.Fatalf("after %d scores the %dth is out of order", i+1, j)
			}
		}
	}
	if p := c.LogP(50); p < math.Log(0.3) {
		t.Errorf("after a thousand scores about 50 one of 50 has log p %v", p)
	}
}

func TestConformalTakesEveryNumber(t *testing.T) {
	c := NewConformal(0)
	if c.LogP(3) != 0 || c.LogP(math.NaN()) != 0 {
		t.Error("without scores something is strange")
	}
	for _, s := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), 1e300, 0} {
		c.Add(s)
	}
	if c.N() != 1 || c.LogP(1) != math.Log(0.5) || c.LogP(math.Inf(-1)) != 0 {
		t.Errorf("%d scores, log p %v and %v", c.N(), c.LogP(1), c.LogP(math.Inf(-1)))
	}
	if c := NewConformal(1 << 30); c.cap != mostScores {
		t.Errorf("%d scores may be kept", c.cap)
	}
}

func BenchmarkConformal(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	scores := make([]float64, 1<<13)
	for i := range scores {
		scores[i] = rng.NormFloat64()
	}
	for name, cap := range map[string]int{"512": 512, "4096": 4096} {
		c := NewConformal(cap)
		for _, s := range scores {
			c.Add(s)
		}
		b.Run("LogP of "+name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				sinkFloat = c.LogP(scores[i%len(scores)])
			}
		})
		b.Run("Add to "+name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				c.Add(scores[i%len(scores)])
			}
		})
	}
}

func TestLevelIsTheLowestScoreWithThatPValue(t *testing.T) {
	c := NewConformal(300)
	for i := range 299 {
		c.Add(float64(i % 97)) // with ties
	}
	for _, p := range []float64{0.5, 0.1, 0.05, 0.02, 1.0 / 300} {
		level := c.Level(p)
		below := float64(math.Nextafter32(float32(level), -1))
		if at, under := math.Exp(c.LogP(level)), math.Exp(c.LogP(below)); at > p+1e-12 || under <= p {
			t.Errorf("p=%v: level %v has the p-value %v, just below it is %v", p, level, at, under)
		}
	}
	if !math.IsInf(c.Level(1.0/301), 1) {
		t.Error("a level for a p-value that so few scores cannot give")
	}
	if level := c.Level(1); !math.IsInf(level, -1) {
		t.Errorf("everything has a p-value of at most 1, but the level is %v", level)
	}
}
