package mcp

import "sync"

// maxGone bounds how many names are remembered.
const maxGone = 8192

// gone remembers the requests that nobody waits for any more, by id and progress token: what
// the server still says of them is dropped. The oldest are forgotten first.
type gone struct {
	mu     sync.Mutex
	keys   map[string]struct{}
	oldest []string // the keys in the order they came; some are removed already
}

func (g *gone) add(keys ...string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.keys == nil {
		g.keys = map[string]struct{}{}
	}
	for _, k := range keys {
		if k == "" {
			continue
		}
		for len(g.oldest) >= maxGone {
			delete(g.keys, g.oldest[0])
			g.oldest = g.oldest[1:]
		}
		g.keys[k] = struct{}{}
		g.oldest = append(g.oldest, k)
	}
}

func (g *gone) has(key string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, ok := g.keys[key]
	return ok
}

// remove forgets a key, and reports whether it was there.
func (g *gone) remove(key string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, ok := g.keys[key]
	delete(g.keys, key)
	return ok
}
