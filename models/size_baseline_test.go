package models

import (
	"math"
	"math/rand/v2"
	"testing"
)

// Expected values: mpmath 1.3.0 at 40 digits, log(betainc(ν/2, ½, 0, ν/(ν+t²),
// regularized=True)/2), for t < 0 the log of 1 minus that.
func TestStudentTailEqualsTheIncompleteBetaFunction(t *testing.T) {
	for _, c := range []struct{ freedom, t, want float64 }{
		{2, 0, -0.69314718055994531},
		{2, -1.5, -0.14641003889121646},
		{2, 1.999, -2.3879274822264694},
		{2, 2.001, -2.3894106454843984},
		{2, 1e6, -28.324168296489994},
		{2.5, 5, -4.4459812209111877},
		{7, 0.5, -1.1513690707642817},
		{7, 30, -18.949291177316329},
		{39, 5, -11.980997034696177},
		{41, 5, -12.091302175942373},
		{41, 30, -66.994711117025558},
		{500, 1.999, -3.7690239560503434},
		{500, 2.001, -3.7737309957615382},
		{500, 1e6, -5358.1299970834225},
		{1e6, 5, -15.064829835370246},
		{1e6, 30, -454.11841582456561},
		{1e6, 1e6, -6907763.6056754492},
	} {
		if got := studentLogTail(c.t, c.freedom); math.Abs(got-c.want) > 1e-9*max(1, math.Abs(c.want)) {
			t.Errorf("%v degrees of freedom: log P(T ≥ %v) is %.15g, want %.15g", c.freedom, c.t, got, c.want)
		}
	}
}

func sizesOf(draw func(*rand.Rand) float64, n int, seed uint64) SizeBaseline {
	rng := rand.New(rand.NewPCG(seed, 11))
	b := NewSizeBaseline(1000)
	for range n {
		b.Learn(draw(rng))
	}
	return b
}

func logNormal(rng *rand.Rand) float64  { return math.Exp(8 + rng.NormFloat64()/2) }
func powerTail(rng *rand.Rand) float64  { return 100 * math.Exp(rng.ExpFloat64()/1.5) }
func constant(*rand.Rand) float64       { return 4096 }
func exponential(r *rand.Rand) float64  { return 50 * r.ExpFloat64() }
func ofTwoKinds(rng *rand.Rand) float64 { return logNormal(rng) * (1 + 99*float64(rng.IntN(50)/49)) }

// The calibrated p-values must be e-values: with a mean of at most 1, from the second value
// on and for laws that are not log-normal too.
func TestSizesGiveValidEValues(t *testing.T) {
	for name, draw := range map[string]func(*rand.Rand) float64{
		"log-normal": logNormal, "power law": powerTail, "exponential": exponential, "two kinds": ofTwoKinds,
	} {
		sum, n, over := 0.0, 0.0, 0.0
		for seed := range uint64(10) {
			rng := rand.New(rand.NewPCG(seed, 12))
			b := NewSizeBaseline(1000)
			for range 4000 {
				x := draw(rng)
				p := b.LogTail(x)
				sum += math.Exp(LogEFromLogP(p))
				n++
				if p <= math.Log(1e-3) {
					over += 1e3
				}
				b.Learn(x)
			}
		}
		t.Logf("%s: mean e-value %.3f, at 0.001 %.2f of the predicted", name, sum/n, over/n)
		if sum/n > 1 || over/n > 1.6 { // the first of a rare kind surprises
			t.Errorf("%s: mean e-value %.3f, at 0.001 %.2f of the predicted", name, sum/n, over/n)
		}
	}
}

func TestLogNormalSizesArePredictedByTheirQuantiles(t *testing.T) {
	b := sizesOf(logNormal, 5000, 1)
	for _, c := range []struct{ p, z, slack float64 }{{0.05, -1.6449, 0.06}, {0.5, 0, 0.05}, {0.9, 1.2816, 0.06}} {
		if got := (math.Log(b.Quantile(c.p)) - 8) * 2; math.Abs(got-c.z) > 2*c.slack {
			t.Errorf("the %v quantile is %.3f standard deviations off, want %v", c.p, got, c.z)
		}
	}
	if m := math.Log(b.Median()); math.Abs(m-8) > 0.06 {
		t.Errorf("log median %v, want 8", m)
	}
	for _, p := range []float64{0.2, 0.6, 0.93, 0.96, 0.999, 1 - 1e-9} {
		x := b.Quantile(p)
		if got := math.Exp(b.LogTail(x * (1 + 1e-9))); got > (1-p)*(1+1e-6) {
			t.Errorf("P(X ≥ the %v quantile) is %v", p, got)
		}
		if got := math.Exp(b.LogTail(x * (1 - 1e-6))); got < (1-p)*(1-1e-4) {
			t.Errorf("P(X ≥ a little less than the %v quantile) is only %v", p, got)
		}
	}
}

func TestAYoungSizeBaselineIsWide(t *testing.T) {
	b := NewSizeBaseline(1000)
	if b.LogTail(1e300) != 0 || b.Quantile(0.9) != 0 || b.Median() != 0 {
		t.Error("an empty baseline knows something")
	}
	was := math.Inf(1)
	for i := range 200 {
		b.Learn(1000)
		at := b.Quantile(0.99)
		if i == 0 && at < 1e5 || at >= was {
			t.Fatalf("after %d equal values the 0.99 quantile is %v after %v", i+1, at, was)
		}
		was = at
	}
	if was > 2000 {
		t.Errorf("after 200 equal values the 0.99 quantile is still %v", was)
	}
}

func TestOnlyPositiveSizesAreLearnedAndStrange(t *testing.T) {
	b, same := sizesOf(logNormal, 500, 3), sizesOf(logNormal, 500, 3)
	for _, x := range []float64{0, -5, math.NaN(), math.Inf(1), math.Inf(-1)} {
		b.Learn(x)
		if p := b.LogTail(x); p != 0 && !math.IsInf(x, 1) {
			t.Errorf("%v has log p %v", x, p)
		}
	}
	if b != same && b.LogTail(1e6) != same.LogTail(1e6) {
		t.Error("values that are no sizes were learned")
	}
	if p := b.LogTail(math.Inf(1)); math.IsInf(p, 0) || p > -10 {
		t.Errorf("+Inf has log p %v", p)
	}
}

// The e-detector's early alarms rest on a tail that never rises with the sum so far.
func TestSizeTailNeverRises(t *testing.T) {
	for name, draw := range map[string]func(*rand.Rand) float64{"log-normal": logNormal, "power law": powerTail, "constant": constant} {
		for _, n := range []int{1, 2, 30, 150, 1000, 5000} {
			b := sizesOf(draw, n, 4)
			was := 0.0
			for x := 1e-300; x < 1e300; x *= 1.1 {
				p := b.LogTail(x)
				if !(p <= was+1e-12*math.Abs(was)+1e-12) || math.IsInf(p, 0) {
					t.Fatalf("%s, %d values: log tail at %v is %v after %v", name, n, x, p, was)
				}
				was = p
			}
		}
	}
}

func TestSizesForgetWhatWasBefore(t *testing.T) {
	b := sizesOf(logNormal, 3000, 5)
	before := b.LogTail(3e6)
	for range 6000 {
		b.Learn(3e6)
	}
	if after := b.LogTail(3e6); before > math.Log(1e-3) || after < math.Log(0.2) {
		t.Errorf("log p of 3e6 is %v before and %v after it became usual", before, after)
	}
}

func BenchmarkSizeBaselineTail(b *testing.B) {
	base := sizesOf(logNormal, 5000, 1)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		sinkFloat = base.LogTail(float64(1000 + 97*(i%1000)))
	}
}

func BenchmarkSizeBaselineLearn(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	values := make([]float64, 4096)
	for i := range values {
		values[i] = logNormal(rng)
	}
	base := sizesOf(logNormal, 5000, 1)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		base.Learn(values[i%len(values)])
	}
}

func TestAQuantileOfWildSizesIsFinite(t *testing.T) {
	b := NewSizeBaseline(100)
	for range 3 {
		b.Learn(math.SmallestNonzeroFloat64)
		b.Learn(math.MaxFloat64)
	}
	if q := b.Quantile(0.995); math.IsInf(q, 0) || math.IsNaN(q) {
		t.Errorf("the 0.995 quantile is %v", q)
	}
}
