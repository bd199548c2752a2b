package midas

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// With a sketch so wide that keys do not meet, the scores are those of the papers' formulas
// over exact counts.
func TestScoresAreThoseOfTheFormulasOverExactCounts(t *testing.T) {
	o := Defaults(1)
	o.Columns = 1 << 16
	plain, relational, filtering := NewPlain(o), NewRelational(o), NewFiltering(o)
	exact := newExact(o)
	rng := rand.New(rand.NewPCG(1, 2))
	tick := int64(1)
	for i := range 5000 {
		if rng.IntN(10) == 0 {
			tick += 1 + rng.Int64N(3)
			exact.next(tick)
		}
		src, dst := rng.Uint64N(5), rng.Uint64N(1+rng.Uint64N(30))
		want := exact.score(src, dst)
		got := [3]float64{plain.Score(src, dst, tick), relational.Score(src, dst, tick), filtering.Score(src, dst, tick)}
		for k := range got {
			if math.Abs(got[k]-want[k]) > 1e-3*(1+want[k]) {
				t.Fatalf("edge %d, tick %d: variant %d scores %v, exactly %v", i, tick, k, got[k], want[k])
			}
		}
	}
}

// exact has the three variants with maps in place of sketches, in the notation of the papers:
// a the current count, s the total.
type exact struct {
	o                        Options
	t                        float64
	now                      map[any]float64 // MIDAS: this tick's
	faded                    map[any]float64 // MIDAS-R, MIDAS-F
	total, merged, lastScore map[any]float64
}

func newExact(o Options) *exact {
	return &exact{o, 1, map[any]float64{}, map[any]float64{}, map[any]float64{}, map[any]float64{}, map[any]float64{}}
}

func (e *exact) next(tick int64) {
	for key, a := range e.faded {
		if e.lastScore[key] < float64(e.o.Threshold) {
			e.merged[key] += a
		} else {
			e.merged[key] += e.merged[key] / float64(tick-1)
		}
		e.faded[key] = a * float64(e.o.Decay)
	}
	e.t = float64(tick)
	clear(e.now)
}

func (e *exact) score(src, dst uint64) (scores [3]float64) {
	for i, key := range []any{[2]uint64{src, dst}, int64(src), int32(dst)} {
		e.now[key]++
		e.faded[key]++
		e.total[key]++
		if e.t == 1 {
			continue
		}
		chi := func(a, s float64) float64 { return math.Pow(a-s/e.t, 2) * e.t * e.t / (s * (e.t - 1)) }
		if i == 0 {
			scores[0] = chi(e.now[key], e.total[key])
		}
		scores[1] = max(scores[1], chi(e.faded[key], e.total[key]))
		a, s := e.faded[key], e.merged[key]
		e.lastScore[key] = 0
		if s > 0 {
			e.lastScore[key] = math.Pow(a+s-a*e.t, 2) / (s * (e.t - 1))
		}
		scores[2] = max(scores[2], e.lastScore[key])
	}
	return scores
}

func TestReadEdgesRefusesWhatIsNoEdge(t *testing.T) {
	edges, err := ReadEdges(strings.NewReader("1,2,3,0\n2,1,3,1\n"))
	if err != nil || len(edges) != 2 || edges[0].Src != edges[1].Dst || edges[0].Attack || !edges[1].Attack || edges[1].Tick != 3 {
		t.Errorf("two edges are read as %v, %v", edges, err)
	}
	for _, bad := range []string{"1,2,3", "1,2,3,2", "a,2,3,0", "1,-2,3,0", "1,2,x,0"} {
		if _, err := ReadEdges(strings.NewReader(bad)); err == nil {
			t.Errorf("%q is read", bad)
		}
	}
}
