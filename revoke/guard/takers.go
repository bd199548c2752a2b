package guard

import (
	"hash/maphash"
	"runtime"
	"sync"

	"github.com/estop-project/estop/revoke"
)

// manyMessages is from how many messages of one reading on all processors verify them: it is
// their signatures that take the time of whoever joins late.
const manyMessages = 64

// takers take the messages of one reading. Those of one target stay in order. The first ones are verified at once,
// which is all of them where a reading only brings what is new; of the others those that cannot wait.
type takers struct {
	g     *Guard
	n     int
	lines []chan revoke.StreamMessage
	done  sync.WaitGroup
}

func (t *takers) take(m revoke.StreamMessage) {
	if t.n++; t.n <= manyMessages {
		t.g.receive(m.Subject, m.Token, m.Sequence)
		return
	}
	if t.g.postpone(m, nil) {
		return
	}
	if t.lines == nil {
		t.start()
	}
	t.lines[maphash.String(t.g.seed, m.Subject)%uint64(len(t.lines))] <- m
}

func (t *takers) start() {
	t.lines = make([]chan revoke.StreamMessage, runtime.GOMAXPROCS(0))
	for i := range t.lines {
		line := make(chan revoke.StreamMessage, manyMessages)
		t.lines[i] = line
		t.done.Go(func() {
			for m := range line {
				t.g.receive(m.Subject, m.Token, m.Sequence)
			}
		})
	}
}

// wait returns when all that was taken is in force, or waits to be verified.
func (t *takers) wait() {
	for _, line := range t.lines {
		close(line)
	}
	t.done.Wait()
}
