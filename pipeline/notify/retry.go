package notify

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// Retry says how often an event is tried.
type Retry struct {
	First   time.Duration // the pause after the first attempt; each further one is twice as long
	Longest time.Duration
	For     time.Duration // from the first attempt until the event becomes a dead letter
}

func defaultRetry() Retry {
	return Retry{First: 500 * time.Millisecond, Longest: time.Minute, For: time.Hour}
}

// pause returns how long to wait after a number of attempts, the last of which failed with err. A part of it
// is by chance, so that those who failed together do not come back together.
func (r Retry) pause(attempts int, err error) time.Duration {
	d := r.First
	for ; attempts > 1 && d < r.Longest; attempts-- {
		d *= 2
	}
	d = min(d, r.Longest)
	d = d/2 + rand.N(d/2+1)
	var b busy
	if errors.As(err, &b) {
		d = max(d, b.after)
	}
	return d
}

// attempts is what came of sending an event.
type attempts struct {
	n   int
	err error // why it is given up; nil: the sink has it
}

// deliver sends an event until the sink has it or it is given up. It returns an error only if ctx ended, or
// stop was closed between attempts: then nothing is known. failed is told of each attempt that failed.
func (s *Sink) deliver(ctx context.Context, stop <-chan struct{}, e *Event, clock func() time.Time, failed func(err error, again bool)) (attempts, error) {
	end := clock().Add(s.Retry.For)
	for a := (attempts{n: 1}); ; a.n++ {
		now := clock()
		err := s.Send(ctx, e, now)
		if err == nil {
			return a, nil
		}
		if ctx.Err() != nil {
			return a, ctx.Err()
		}
		var never refusal
		again := !errors.As(err, &never) && now.Before(end)
		failed(err, again)
		if !again {
			a.err = err
			return a, nil
		}
		// The last attempt is at the end.
		timer := time.NewTimer(min(s.Retry.pause(a.n, err), max(end.Sub(clock()), 0)))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return a, ctx.Err()
		case <-stop:
			timer.Stop()
			return a, context.Canceled
		}
	}
}
