package detector

import (
	"fmt"
	"strings"
)

// didYouMean returns a hint with the known word nearest to the one that was written;
// where none is near, it lists what is known while that is short.
func didYouMean(word string, known []string) string {
	if best := nearest(word, known); best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	if len(known) > 0 && len(known) <= 16 {
		return "known: " + strings.Join(known, ", ")
	}
	return ""
}

// nearest returns the known word nearest to the one written; see Nearest.
func nearest(word string, known []string) string {
	best, _ := Nearest(word, known)
	return best
}

// Nearest returns the known word with the smallest edit distance to the one written, and the
// distance, or "" where that is over a third of the word: a far guess misleads. Case does
// not matter.
func Nearest(word string, known []string) (best string, distance int) {
	const longest = 64
	if len(word) > longest {
		return "", 0
	}
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
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			d := min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d = min(d, rows[i-2][j-2]+1)
			}
			rows[i][j] = d
		}
	}
	return rows[len(a)][len(b)]
}
