package models

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/stat/distuv"
)

func crestOf(xs ...float64) Crest {
	var c Crest
	for _, x := range xs {
		c.Learn(x)
	}
	return c
}

// The constants are scipy's: with y = log1p(xs), the weights w = (59/60)^(later blocks), n = Σw, m = Σwy/n,
// S = Σw(y-m)², ν = 7 + n and s = √((8·max(s₀², ¼) + S)/ν·(1+1/n)), Level is
// expm1(m + s·scipy.stats.t.isf(p, ν)) and LogTail scipy.stats.t.logsf((log1p(x)-m)/s, ν).
func TestCrestIsTheStudentLawOfItsComment(t *testing.T) {
	ps, xs := []float64{0.5, 0.05, 1e-3, 1e-6, 1e-9}, []float64{0, 10, 100}
	for _, c := range []struct {
		past         []float64
		square       float64
		levels, tail []float64
	}{
		{[]float64{3}, 0,
			[]float64{3, 13.897499624003915, 95.43161951076146, 20935.31672163077, 3949962570.194581},
			[]float64{-0.04373754885886967, -2.3516949187352063, -6.99397018837629}},
		{[]float64{3}, 2,
			[]float64{3, 163.9084441871976, 32462.648303217662, 131986263830.09424, MaxLogE},
			[]float64{-0.29292063852283534, -1.1605361282640876, -2.6234684753440054}},
		{[]float64{3, 5, 2, 8, 4, 6, 7}, 0.5,
			[]float64{4.67901469353272, 16.582598039995464, 64.10032922495331, 865.9288170450167, 40276.14723707178},
			[]float64{-0.008621678335601644, -1.8328223763000502, -8.22463663701257}},
		{[]float64{0, 0, 0, 0, 0, 0, 0, 0}, 0,
			[]float64{0, 0.9999167864423283, 3.4023392595070368, 18.92877181499161, 170.7893953413116},
			[]float64{-0.6931471805599453, -11.32429865005642, -19.268343786791306}},
		{[]float64{12, 40, 9, 15, 300, 22, 18, 11, 13, 10, 25, 16}, 0.5,
			[]float64{20.21842458570099, 94.42576011415535, 484.9219753208594, 8224.458397361472, 300278.78170766396},
			[]float64{-0.0012166720040490324, -0.26031596053903283, -3.115405379342101}},
	} {
		k := crestOf(c.past...)
		for i, p := range ps {
			// The quantile is found by a search on 1-p, which loses digits far out.
			if got, want := k.Level(p, c.square), min(c.levels[i], MaxLogE); math.Abs(got-want) > 1e-5*(1+want) {
				t.Errorf("%v, s₀² %v: the level of %v is %v, want %v", c.past, c.square, p, got, want)
			}
		}
		for i, x := range xs {
			if got, want := k.LogTail(x, c.square), c.tail[i]; math.Abs(got-want) > 1e-9*(1-want) {
				t.Errorf("%v, s₀² %v: log P of %v is %v, want %v", c.past, c.square, x, got, want)
			}
		}
	}
}

// blocks are exchangeable crests: y = log(1+x) is normal with mean 3 and a variance drawn for each
// entity.
type crestBlocks struct {
	rng      *rand.Rand
	variance func() float64
}

// exceeded is the share of entities whose block after a past of so many is above Level(p).
func (c crestBlocks) exceeded(past int, p, square float64, entities int) float64 {
	over := 0.0
	for range entities {
		y := distuv.Normal{Mu: 3, Sigma: math.Sqrt(c.variance()), Src: c.rng}
		var k Crest
		for range past {
			k.Learn(math.Expm1(y.Rand()))
		}
		if k.LogTail(math.Expm1(y.Rand()), square) < math.Log(p) { // the same as above Level, and faster
			over++
		}
	}
	return over / float64(entities)
}

// invChiSquare draws from the scaled inverse-χ² law with ν₀ degrees of freedom around square.
func invChiSquare(rng *rand.Rand, square float64) float64 {
	return crestFreedom * square / distuv.ChiSquared{K: crestFreedom, Src: rng}.Rand()
}

func TestOneInNBlocksIsAboveTheLevel(t *testing.T) {
	const square = 0.5
	rng := rand.New(rand.NewPCG(3, 14))
	drawn := crestBlocks{rng, func() float64 { return invChiSquare(rng, square) }}
	believed := crestBlocks{rng, func() float64 { return square }}
	quarter := crestBlocks{rng, func() float64 { return square / 4 }}
	fourfold := crestBlocks{rng, func() float64 { return 4 * square }}
	for _, past := range []int{7, 14, 60} {
		for _, n := range []float64{10, 100, 1000} {
			entities := int(min(100_000, 2000*n))
			p := 1 / n
			noise := 4 * math.Sqrt(p/float64(entities))
			got := drawn.exceeded(past, p, square, entities)
			known, calm, wild := believed.exceeded(past, p, square, entities), quarter.exceeded(past, p, square, entities), fourfold.exceeded(past, p, square, entities)
			t.Logf("%2d blocks, 1 in %4.0f: %.2f times as many, %.2f where the variance is as believed, %.2f where ¼ of it, %.2f where 4 times",
				past, n, got*n, known*n, calm*n, wild*n)
			if math.Abs(got-p) > noise+0.1*p {
				t.Errorf("%d blocks: %v exceed the level of 1 in %v", past, got, n)
			}
			if max(known, calm) > p+noise {
				t.Errorf("%d blocks: %v and %v exceed the level of 1 in %v, with no more variance than believed", past, known, calm, n)
			}
		}
	}
}

// A rough month raises the level to what it reached, and is forgotten within a few memories.
func TestTheLevelFollowsThePastAndForgets(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var k Crest
	learn := func(blocks int, mean float64) {
		for range blocks {
			k.Learn(math.Expm1(distuv.Normal{Mu: mean, Sigma: 0.3, Src: rng}.Rand()))
		}
	}
	learn(60, 1)
	calm := k.Level(0.01, 0)
	learn(30, 3)
	if rough := k.Level(0.01, 0); rough < math.Expm1(3+2*0.3) || rough < 3*calm {
		t.Errorf("after a month of crests about %.0f the level is %v, it was %v", math.Expm1(3), rough, calm)
	}
	learn(6*crestMemory, 1)
	if again := k.Level(0.01, 0); again > 1.2*calm {
		t.Errorf("six memories later the level is %v, it was %v", again, calm)
	}
}

func TestLevelAndTailAreInverse(t *testing.T) {
	k := crestOf(3, 5, 2, 8, 4, 6, 7)
	for _, square := range []float64{0, 0.5, 3} {
		for _, p := range []float64{0.5, 0.1, 0.01, 1e-4, 1e-6} {
			if got, want := k.LogTail(k.Level(p, square), square), math.Log(p); math.Abs(got-want) > 1e-6*(1-want) {
				t.Errorf("s₀² %v: log P of the level of %v is %v, want %v", square, p, got, want)
			}
		}
	}
}

func TestCrestHoldsForEveryNumber(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	var none Crest
	if none.Level(0.01, 1) != inf || none.LogTail(5, 1) != 0 || none.Blocks() != 0 {
		t.Error("what has no past has a level")
	}
	none.Learn(nan)
	if none != (Crest{}) {
		t.Error("NaN was learned")
	}
	k := crestOf(-5, -inf, 0, inf, 1e300, 3)
	if low := crestOf(0, 0, 0, MaxLogE, MaxLogE, 3); k != low {
		t.Errorf("%+v, want %+v", k, low)
	}
	for _, p := range []float64{nan, -1, 0} {
		if k.Level(p, 1) != inf {
			t.Errorf("p = %v: %v", p, k.Level(p, 1))
		}
	}
	for _, square := range []float64{nan, -1, 0, 1, 1e300, inf} {
		last := 0.0
		for _, p := range []float64{2, 0.5, 0.1, 1e-3, 1e-9, 1e-15, 1e-18, 1e-300} {
			l := k.Level(p, square)
			if !(l >= last && l <= MaxLogE) {
				t.Errorf("s₀² %v: the level of %v is %v, that of more was %v", square, p, l, last)
			}
			last = l
		}
		for _, x := range []float64{nan, -inf, -1, 0, 1, 1e9, 1e300, inf} {
			if lp := k.LogTail(x, square); !(lp <= 0) || math.IsInf(lp, -1) {
				t.Errorf("s₀² %v: log P of %v is %v", square, x, lp)
			}
		}
	}
}

func TestCrestRefusesWhatItNeverWrote(t *testing.T) {
	good := encoded(t, pointer(crestOf(3, 5, 2)))
	write := func(n, mean, spread float64) []byte {
		return appendShort(appendShort(appendShort([]byte{crestVersion}, n), mean), spread)
	}
	for name, b := range map[string][]byte{
		"nothing": nil, "another version": {crestVersion + 1}, "cut": good[:len(good)-1],
		"half a block": write(0.5, 1, 1), "more blocks than are remembered": write(crestMemory+2, 1, 1),
		"a mean below 0": write(3, -1, 1), "a spread below 0": write(3, 1, -1), "no number": write(3, math.NaN(), 1),
		"a mean without end": write(3, 1e300, 1), "a spread without end": write(3, 1, 1e300),
	} {
		k := crestOf(1, 2)
		if _, err := k.DecodeBinary(b); !errors.Is(err, ErrEncoding) || k != crestOf(1, 2) {
			t.Errorf("%s: %v, %+v", name, err, k)
		}
	}
}

var crestKind = kind{
	name:  "Crest",
	fresh: func() stateful { return new(Crest) },
	step: func(s stateful, a, b uint64) string {
		c := s.(*Crest)
		tail := c.LogTail(float64(b%100), float64(a%3))
		c.Learn(float64(b%1000) / 10)
		return fmt.Sprint(tail, c.Level(0.01, 1), c.Deviation(5), c.Blocks())
	},
}

func init() { kinds = append(kinds, crestKind) }

func FuzzDecodeCrest(f *testing.F) { fuzzDecode(f, crestKind) }

func BenchmarkCrestLearn(b *testing.B) {
	var c Crest
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		c.Learn(float64(i % 97))
	}
}

func BenchmarkCrestLevel(b *testing.B) {
	c := crestOf(3, 5, 2, 8, 4, 6, 7)
	b.ReportAllocs()
	for b.Loop() {
		sinkFloat = c.Level(0.001, 0.5)
	}
}

func BenchmarkCrestTail(b *testing.B) {
	c := crestOf(3, 5, 2, 8, 4, 6, 7)
	b.ReportAllocs()
	for b.Loop() {
		sinkFloat = c.LogTail(50, 0.5)
	}
}
