package rig

import (
	"bytes"
	"io"
	"log/slog"
	"strings"
	"sync"
)

// Journal keeps what the roles log, so that a test can ask for it.
type Journal struct {
	out io.Writer

	mu   sync.Mutex
	text bytes.Buffer
}

// Logger returns a logger that writes to the journal.
func (j *Journal) Logger() *slog.Logger { return slog.New(slog.NewTextHandler(j, nil)) }

// Write takes one line.
func (j *Journal) Write(line []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.text.Write(line)
	if bytes.Contains(line, []byte("level=INFO")) {
		return len(line), nil // too many of them to read
	}
	return j.out.Write(line)
}

// Count returns how many lines hold all of the words.
func (j *Journal) Count(words ...string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := 0
next:
	for line := range strings.Lines(j.text.String()) {
		for _, w := range words {
			if !strings.Contains(line, w) {
				continue next
			}
		}
		n++
	}
	return n
}
