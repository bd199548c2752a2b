package node

import (
	"fmt"

	"github.com/estop-project/estop/detector"
)

// DidYouMean returns a hint with the known word nearest to the one that was written, in
// parentheses and after a space, or nothing where none is near: a far guess misleads.
func DidYouMean(word string, known []string) string {
	if best, _ := detector.Nearest(word, known); best != "" {
		return fmt.Sprintf(" (did you mean %q?)", best)
	}
	return ""
}
