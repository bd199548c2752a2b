package node

import (
	"fmt"
	"strings"
)

// DidYouMean returns a hint with the known word nearest to the one that was written, in
// parentheses and after a space, or nothing where none is near: a far guess misleads.
func DidYouMean(word string, known []string) string {
	if best, _ := nearest(word, known); best != "" {
		return fmt.Sprintf(" (did you mean %q?)", best)
	}
	return ""
}

// nearest returns the known word with the smallest edit distance to the one written, and
// the distance, or "" where that is over a third of the word.
func nearest(word string, known []string) (string, int) {
	const longest = 64
	if len(word) > longest {
		return "", 0
	}
	best, distance := "", 0
	for _, k := range known {
		d := editDistance(strings.ToLower(word), strings.ToLower(k))
		if d <= max(1, (len(k)+1)/3) && (best == "" || d < distance) {
			best, distance = k, d
		}
	}
	return best, distance
}

// editDistance counts the insertions, deletions, replacements and swaps of neighbours
// between two words (optimal string alignment).
func editDistance(a, b string) int {
	var before []int
	last := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
