package metrics

import (
	"math"
	"math/rand/v2"
	"testing"
)

// items are eight scores with ties across and within the labels.
var items = []Scored{
	{.1, false}, {.4, false}, {.35, true}, {.8, true}, {.4, true}, {.4, false}, {.9, true}, {.1, false},
}

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 1e-9*max(1, math.Abs(want)) && !(math.IsNaN(got) && math.IsNaN(want)) {
		t.Errorf("%s = %.15g, want %.15g", what, got, want)
	}
}

// scipy.stats.mannwhitneyu(bad, good).statistic / (4·4) = 0.8125.
func TestAUCIsMannWhitney(t *testing.T) {
	near(t, "AUC", AUC(items), 0.8125)
	near(t, "AUC of equal scores", AUC([]Scored{{1, true}, {1, false}, {1, false}}), 0.5)
	near(t, "AUC without bad ones", AUC([]Scored{{1, false}, {2, false}}), math.NaN())
	near(t, "AUC without good ones", AUC([]Scored{{1, true}, {2, true}}), math.NaN())
	near(t, "AUC of infinite scores", AUC([]Scored{{math.Inf(1), true}, {math.Inf(-1), false}}), 1)
}

func TestAUCCountsEveryPair(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		all := []Scored{{0, true}, {0, false}}
		for range r.IntN(60) {
			all = append(all, Scored{float64(r.IntN(10)) - 3, r.IntN(3) == 0})
		}
		var won, pairs float64
		for _, b := range all {
			for _, g := range all {
				if b.Bad && !g.Bad {
					pairs++
					if b.Score > g.Score {
						won++
					} else if b.Score == g.Score {
						won += 0.5
					}
				}
			}
		}
		near(t, "AUC", AUC(all), won/pairs)
	}
}

// By hand: thresholds .9 .8 .4 .35 .1 give precisions 1 1 3/5 4/6 4/8 and recalls
// ¼ ½ ¾ 1 1.
func TestTheCurveHasOnePointForEachScore(t *testing.T) {
	want := []Point{{.9, 1, .25, 0}, {.8, 1, .5, 0}, {.4, .6, .75, .5}, {.35, 4.0 / 6, 1, .5}, {.1, .5, 1, 1}}
	got := Curve(items)
	if len(got) != len(want) {
		t.Fatalf("%v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("point %d is %v, want %v", i, got[i], want[i])
		}
	}
	near(t, "average precision", AveragePrecision(items), .25*(1+1+.6+4.0/6))
	near(t, "recall without false alarms", RecallAt(items, 0), .5)
	near(t, "recall at one half", RecallAt(items, .5), 1)
	near(t, "recall where the first threshold is too low", RecallAt([]Scored{{1, true}, {1, false}}, .5), 0)
	near(t, "average precision without bad ones", AveragePrecision(items[:2]), math.NaN())
}

func TestWhatIsNoNumberIsLeastSuspicious(t *testing.T) {
	near(t, "AUC", AUC([]Scored{{math.NaN(), true}, {math.Inf(-1), false}}), 0)
}

func TestQuantileIsOneOfTheValues(t *testing.T) {
	v := []float64{9, 1, 5, 3}
	near(t, "median", Quantile(v, .5), 3)
	near(t, "greatest", Quantile(v, 1), 9)
	near(t, "least", Quantile(v, 0), 1)
	near(t, "ninth decile", Quantile(v, .9), 9)
	near(t, "of nothing", Quantile(nil, .5), math.NaN())
	if v[0] != 9 {
		t.Error("the values were sorted in place")
	}
}
