package midas

import (
	"cmp"
	"math"
	"slices"
)

// AUC returns the area under the ROC curve: the probability that a positive scores more than
// a negative, where a tie counts half (Mann and Whitney 1947). It is exact. It is NaN where
// one of the classes is empty. Scores must not be NaN.
func AUC(scores []float64, positive []bool) float64 {
	order := make([]int, len(scores))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int { return cmp.Compare(scores[i], scores[j]) })
	var below, all uint64 // negatives below the tie, positives
	var wins uint64       // twice the pairs won
	for i := 0; i < len(order); {
		var pos, neg uint64
		for v := scores[order[i]]; i < len(order) && scores[order[i]] == v; i++ {
			if positive[order[i]] {
				pos++
			} else {
				neg++
			}
		}
		wins += pos * (2*below + neg)
		below += neg
		all += pos
	}
	if all == 0 || below == 0 {
		return math.NaN()
	}
	return float64(wins) / 2 / float64(all) / float64(below)
}
