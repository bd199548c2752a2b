package plugin

import (
	"math/rand/v2"
	"sync"
)

// sample keeps a bounded, even choice of what it was given since it was emptied (Vitter's algorithm R), in the order in
// which it came as long as it was not too much. It is safe for concurrent use.
type sample[T any] struct {
	mu   sync.Mutex
	most int
	kept []T
	seen int
}

func (s *sample[T]) add(v T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen++
	if len(s.kept) < s.most {
		s.kept = append(s.kept, v)
	} else if i := rand.IntN(s.seen); i < s.most {
		s.kept[i] = v
	}
}

// take empties the sample and returns what it kept, and of how many.
func (s *sample[T]) take() (kept []T, seen int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept, seen = s.kept, s.seen
	s.kept, s.seen = nil, 0
	return kept, seen
}
