// Package metrics computes how good scores are: areas under curves, precision and recall,
// how uniform p-values are, and exact bounds for rates and shares that rest on few events.
//
// A higher score means more suspicious. What has no answer, such as an area where all
// labels are the same, is NaN.
package metrics

import (
	"cmp"
	"math"
	"slices"
)

// Scored is one thing that was scored, and whether it truly is an attack.
type Scored struct {
	Score float64
	Bad   bool
}

// ranked returns the items, most suspicious first. Those that are not a number come last.
func ranked(items []Scored) []Scored {
	sorted := slices.Clone(items)
	slices.SortStableFunc(sorted, func(a, b Scored) int { return cmp.Compare(b.Score, a.Score) })
	return sorted
}

// ties gives the length of the run of equal scores that begins at i.
func ties(sorted []Scored, i int) int {
	n := 1
	for i+n < len(sorted) && cmp.Compare(sorted[i+n].Score, sorted[i].Score) == 0 {
		n++
	}
	return n
}

// count returns how many items are bad, and how many are not.
func count(items []Scored) (bad, good float64) {
	for _, it := range items {
		if it.Bad {
			bad++
		} else {
			good++
		}
	}
	return bad, good
}

// AUC returns the area under the receiver operating characteristic: the probability that a
// bad item scores above a good one, where a tie counts one half (Mann and Whitney 1947). It
// sorts: O(n log n).
func AUC(items []Scored) float64 {
	bad, good := count(items)
	if bad == 0 || good == 0 {
		return math.NaN()
	}
	sorted := ranked(items)
	var above, area float64 // bad items with higher scores; pairs won
	for i := 0; i < len(sorted); {
		n := ties(sorted, i)
		b, g := count(sorted[i : i+n])
		area += g*above + g*b/2
		above += b
		i += n
	}
	return area / (bad * good)
}

// Point is what a threshold gives: everything that scores at least as high is called bad.
type Point struct {
	Threshold  float64 `json:"threshold"`
	Precision  float64 `json:"precision"`
	Recall     float64 `json:"recall"`
	FalseAlarm float64 `json:"false_alarm"` // share of the good items that are called bad
}

// Curve returns a point for each distinct score, the highest threshold first. It is empty
// where nothing is bad.
func Curve(items []Scored) []Point {
	bad, good := count(items)
	if bad == 0 {
		return nil
	}
	sorted := ranked(items)
	var points []Point
	var hits, wrong float64
	for i := 0; i < len(sorted); {
		n := ties(sorted, i)
		b, g := count(sorted[i : i+n])
		hits, wrong = hits+b, wrong+g
		points = append(points, Point{sorted[i].Score, hits / (hits + wrong), hits / bad, wrong / max(good, 1)})
		i += n
	}
	return points
}

// AveragePrecision returns the precision at each point of the curve, weighted by the recall
// that the point adds. Nothing is interpolated.
func AveragePrecision(items []Scored) float64 {
	points := Curve(items)
	if points == nil {
		return math.NaN()
	}
	var sum, recall float64
	for _, p := range points {
		sum += (p.Recall - recall) * p.Precision
		recall = p.Recall
	}
	return sum
}

// RecallAt returns the greatest recall of a threshold at which at most the share falseAlarm
// of the good items is called bad; 0 where every threshold calls more.
func RecallAt(items []Scored, falseAlarm float64) float64 {
	points := Curve(items)
	if points == nil {
		return math.NaN()
	}
	var recall float64
	for _, p := range points {
		if p.FalseAlarm > falseAlarm {
			break
		}
		recall = p.Recall
	}
	return recall
}

// Quantile returns the smallest value that at least the share q of the values do not exceed;
// with q = ½ it is the (lower) median.
func Quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	i := int(math.Ceil(q*float64(len(sorted)))) - 1
	return sorted[min(max(i, 0), len(sorted)-1)]
}
