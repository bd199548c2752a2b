package mcp

import "sync"

// The bounds of what is remembered of a server's tools.
const (
	maxTools    = 1 << 14
	maxToolName = 1 << 10
)

// tools remembers which tools a server called read-only. What it has not listed is not.
type tools struct {
	mu       sync.RWMutex
	readOnly map[string]bool
}

func (t *tools) reads(name string) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.readOnly[name]
}

// learn reads the result of tools/list. The last word of the server on a tool holds.
func (t *tools) learn(result []byte) {
	list := member(result, "tools")
	if len(list) == 0 || list[0] != '[' {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	// f does not fail.
	_ = elements(list, func(tool []byte) error {
		name := text(member(tool, "name"))
		if string(member(member(tool, "annotations"), "readOnlyHint")) != "true" {
			delete(t.readOnly, name)
		} else if len(t.readOnly) < maxTools && len(name) <= maxToolName {
			if t.readOnly == nil {
				t.readOnly = map[string]bool{}
			}
			t.readOnly[name] = true
		}
		return nil
	})
}

// forget is for when the server says that its tools have changed.
func (t *tools) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.readOnly)
}
