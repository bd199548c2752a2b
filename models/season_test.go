package models

import (
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat/distuv"
)

// The factor is the posterior mean of a hierarchical normal model. Here it comes from the
// joint normal law of one hour of the week and of all visits of its hour of the day, by
// conditioning with gonum's matrices.
func TestFactorIsThePosteriorMeanOfTheHierarchy(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		var s season
		for c := range s.cells {
			if rng.IntN(3) > 0 {
				s.visit(c, 10*math.Exp(rng.NormFloat64()), math.Exp(2*rng.NormFloat64()))
			}
		}
		cell := rng.IntN(hoursOfWeek)
		g, weight := 0.0, 0.0
		for c := range s.cells {
			x, i := s.read(c)
			g += x * i
			weight += i
		}
		g /= weight
		var x, noise []float64 // the visits of the hour of the day
		at := -1               // which of them is the cell's
		for c := cell % hoursOfDay; c < hoursOfWeek; c += hoursOfDay {
			mean, info := s.read(c)
			if c == cell {
				at = len(x)
			}
			if info == 0 { // as good as none
				mean, info = g, 1e-9
			}
			x, noise = append(x, mean/g-1), append(noise, 1/info)
		}
		n := len(x)
		cov, own := mat.NewSymDense(n, nil), mat.NewVecDense(n, nil)
		for i := range n {
			for j := range n {
				cov.SetSym(i, j, 1/dayPrecision)
			}
			cov.SetSym(i, i, 1/dayPrecision+1/weekPrecision+noise[i])
			own.SetVec(i, 1/dayPrecision)
		}
		own.SetVec(at, 1/dayPrecision+1/weekPrecision)
		var gain mat.VecDense
		if err := gain.SolveVec(cov, own); err != nil {
			t.Fatal(err)
		}
		want := 1 + mat.Dot(&gain, mat.NewVecDense(n, x))
		variance := 1/dayPrecision + 1/weekPrecision - mat.Dot(&gain, own)
		f, v := s.factor(cell)
		if math.Abs(f-want) > 1e-6 || math.Abs(v-variance) > 1e-6 {
			t.Errorf("factor %v, variance %v, want %v and %v", f, v, want, variance)
		}
	}
}

func TestCellsKeepMeanAndInformationClosely(t *testing.T) {
	var s season
	s.visit(0, 50, 1)
	for _, x := range []float64{0, 0.1, 1, 50, 99, 1e4, 1e9} {
		for _, info := range []float64{0.01, 0.1, 0.5, 8, 99, 1e9} {
			s.write(7, x, info)
			mean, got := s.read(7)
			wantMean, wantInfo := min(max(x, 50.0/256), 50*256), min(max(info, leastInfo), mostInfo)
			if math.Abs(math.Log(mean/wantMean)) > 0.012 || math.Abs(math.Log(got/wantInfo)) > 0.07 {
				t.Errorf("mean %v with information %v is kept as %v with %v", x, info, mean, got)
			}
		}
	}
}

func TestHourOfWeekTurnsWithUTC(t *testing.T) {
	for _, c := range []struct {
		ns   int64
		want int
	}{{0, 0}, {3600e9 - 1, 0}, {-1, 167}, {7 * 24 * 3600e9, 0}, {1767225600e9, 0}, {1767225600e9 + 25*3600e9, 25}, {math.MinInt64, 0}, {math.MaxInt64, 0}} {
		got := hourOfWeek(slotOf(c.ns, hourOfTime))
		if got != c.want && c.ns != math.MinInt64 && c.ns != math.MaxInt64 || got < 0 || got >= hoursOfWeek {
			t.Errorf("%d is in hour %d, want %d", c.ns, got, c.want)
		}
	}
}

// Within its first hour the factor is 1, so that the law is CountBaseline's but for the
// variance of the factor.
func TestSeasonalCountWithoutASeasonIsCountBaseline(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	prior := CountPrior{Mean: 3, Weight: 4, Memory: 200}
	s, c := NewSeasonalCount(prior), NewCountBaseline(prior)
	const tau = 1/weekPrecision + 1/dayPrecision
	for i := range 1000 {
		n := 1 + drawNB(rng, 12, 3)
		s.Learn(n, int64(i)*1e9)
		c.Learn(n)
		alpha := (1/c.law.size - 1/(c.mean*c.weight)) / (1 + 1/c.weight)
		size := 1 / (1/c.law.size + tau*(1+alpha))
		if math.Abs(s.Mean(0)/c.Mean()-1) > 1e-9 || math.Abs(s.law.size/size-1) > 1e-9 {
			t.Fatalf("after %d: mean %v, size %v, want %v and %v", i, s.Mean(0), s.law.size, c.Mean(), size)
		}
	}
}

// weekOf draws the active slots of weeks for an agent that makes rate(h) events in a slot of
// the hour h of the week, with negative binomial spread.
func weekOf(rng *rand.Rand, step int64, weeks int, size float64, rate func(h int) float64, slot func(n float64, t int64)) {
	const monday = int64(1767571200e9)
	for t := monday; t < monday+int64(weeks)*hoursOfWeek*hourOfTime; t += step {
		lambda := rate(hourOfWeek(slotOf(t, hourOfTime))) * distuv.Gamma{Alpha: size, Beta: size, Src: rng}.Rand()
		if n := (distuv.Poisson{Lambda: lambda, Src: rng}).Rand(); n >= 1 {
			slot(n, t)
		}
	}
}

// office is an agent that works from 8 to 18, Monday to Friday.
func office(h int) float64 {
	weekday := (h/hoursOfDay + 4) % 7 // 0 Sunday
	if hour := h % hoursOfDay; weekday >= 1 && weekday <= 5 && hour >= 8 && hour < 18 {
		return 40
	}
	return 2
}

func TestSeasonalCountLearnsOfficeHours(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	s := NewSeasonalCount(CountPrior{Mean: 1, Weight: 1, Memory: 2000})
	weekOf(rng, 600e9, 6, 10, office, s.Learn)
	for h := range hoursOfWeek {
		lambda := office(h)
		want := lambda / (1 - math.Pow(10/(10+lambda), 10)) // active slots have an event
		most := 1.35
		if weekend := h/hoursOfDay == 2 || h/hoursOfDay == 3; weekend && office(h-2*hoursOfDay) > 2 {
			most = 3.5 // shrunk to the hour of the day, which is a busy one
		}
		if got := s.Mean(int64(h) * hourOfTime); got < 0.75*want || got > most*want {
			t.Errorf("hour %d: mean %v, want %v", h, got, want)
		}
	}
	noon, night := 12*hourOfTime, 2*hourOfTime // of a Thursday
	if p := s.LogTail(45, noon); p < math.Log(0.05) {
		t.Errorf("45 events at noon have log p %v", p)
	}
	if p := s.LogTail(45, night); p > math.Log(1e-4) {
		t.Errorf("45 events at night have log p %v", p)
	}
}

// The promise of the tail, from the third week on: no more exceedances than predicted, and
// not many fewer.
func TestSeasonalTailsAreAsRareAsTheySay(t *testing.T) {
	for _, c := range []struct{ size, scale float64 }{{4, 1}, {50, 1}, {2, 0.1}} {
		var over [2]float64
		slots := 0.0
		for seed := range uint64(4) {
			rng := rand.New(rand.NewPCG(7, seed))
			s := NewSeasonalCount(CountPrior{Mean: 1, Weight: 1, Memory: 2000})
			i := 0
			weekOf(rng, 600e9, 8, c.size, func(h int) float64 { return c.scale * office(h) }, func(n float64, t int64) {
				if i++; i > 2000 {
					slots++
					tail, next := s.LogTails(n, t)
					p := LogRandomP(tail, next, rng.Float64())
					for j, q := range []float64{0.01, 0.001} {
						if p <= math.Log(q) {
							over[j] += 1 / q
						}
					}
				}
				s.Learn(n, t)
			})
		}
		t.Logf("size %v: at 0.01 %.2f of the predicted, at 0.001 %.2f", c.size, over[0]/slots, over[1]/slots)
		if over[0] > 1.2*slots || over[0] < 0.3*slots || over[1] > 1.7*slots {
			t.Errorf("size %v: at 0.01 %.2f of the predicted, at 0.001 %.2f", c.size, over[0]/slots, over[1]/slots)
		}
	}
}

// An hour that was hardly seen has a wider law than one that was often seen.
func TestAnUnseenHourIsWide(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 1))
	s := NewSeasonalCount(CountPrior{Mean: 1, Weight: 1, Memory: 2000})
	weekOf(rng, 600e9, 4, 20, func(h int) float64 {
		if h%hoursOfDay < 6 { // sleeps
			return 0
		}
		return 30
	}, s.Learn)
	seen, unseen := 12*hourOfTime, 3*hourOfTime
	if a, b := s.Mean(seen), s.Mean(unseen); math.Abs(a/b-1) > 0.1 {
		t.Errorf("means %v and %v", a, b)
	}
	if a, b := s.LogTail(90, seen), s.LogTail(90, unseen); !(b > a/3) {
		t.Errorf("90 events have log p %v in an hour that was seen and %v in one that was not", a, b)
	}
}

// A burst must not excuse itself: the hour that is open teaches the profile nothing.
func TestTheOpenHourIsNoPartOfTheProfile(t *testing.T) {
	s := NewSeasonalCount(CountPrior{Mean: 5, Weight: 5, Memory: 100})
	for h := range int64(24) {
		s.Learn(6, h*hourOfTime)
	}
	before := s.profile
	for range 50 {
		s.Learn(500, 24*hourOfTime)
	}
	before.visit(23, 5, 0) // any write: what closing hour 23 may change is that cell alone
	for c := range s.profile.cells {
		if c != 23 && s.profile.cells[c] != before.cells[c] {
			t.Errorf("cell %d changed", c)
		}
	}
}

func TestSeasonalCountNeverBreaks(t *testing.T) {
	for _, p := range []CountPrior{{1, 1, 10}, {math.NaN(), -1, 0}, {1e300, 1e300, math.Inf(1)}} {
		s := NewSeasonalCount(p)
		times := []int64{math.MinInt64, -1, 0, 1767225600e9, math.MaxInt64}
		for i := range 400 {
			at := times[i%len(times)]
			s.Learn([]float64{1, 1e15, math.NaN(), math.Inf(1), 3, -1, 1e15, 1}[i%8], at)
			if m, q := s.Mean(at), s.Quantile(0.99, at); !(m >= 1 && m < 1e19) || !(q >= 1) {
				t.Fatalf("mean %v, quantile %v", m, q)
			}
			was := 0.0
			for n := 1.0; n < 1e18; n *= 10 {
				got := s.LogTail(n, at)
				if !(got <= was) || math.IsInf(got, 0) {
					t.Fatalf("prior %+v, step %d: log tail at %v is %v after %v", p, i, n, got, was)
				}
				was = got
			}
		}
	}
}

func BenchmarkSeasonalCount(b *testing.B) {
	s := NewSeasonalCount(CountPrior{Mean: 1, Weight: 1, Memory: 2000})
	weekOf(rand.New(rand.NewPCG(5, 6)), 600e9, 4, 10, office, s.Learn)
	run := func(name string, f func(i int)) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				f(i)
			}
		})
	}
	noon := 12 * hourOfTime
	run("below the mean", func(int) { sinkFloat = s.LogTail(5, noon) })
	run("beyond", func(i int) { sinkFloat = s.LogTail(float64(60+i%60), noon) })
	run("another hour", func(i int) { sinkFloat = s.LogTail(5, int64(i)*hourOfTime) })
	run("Learn", func(i int) { s.Learn(float64(30+i%20), noon) })
	run("Learn, another hour", func(i int) { s.Learn(float64(30+i%20), int64(i)*hourOfTime) })
}
