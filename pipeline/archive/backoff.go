package archive

import "time"

// The bounds of the pauses between attempts.
const (
	firstPause = 100 * time.Millisecond
	mostPause  = 5 * time.Second
)

// backoff makes the pauses between attempts: each is twice the one before, up to mostPause.
type backoff struct{ next time.Duration }

func newBackoff() *backoff { return &backoff{firstPause} }

// wait pauses; it is false if stop came first.
func (b *backoff) wait(stop <-chan struct{}) bool {
	timer := time.NewTimer(b.next)
	defer timer.Stop()
	b.next = min(2*b.next, mostPause)
	select {
	case <-timer.C:
		return true
	case <-stop:
		return false
	}
}
