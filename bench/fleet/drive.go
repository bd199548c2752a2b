package fleet

import (
	"context"
	"fmt"
	"iter"
	"time"
)

// Clock tells the wall clock's time.
type Clock func() time.Time

// Drive plays calls as they happen: a call is emitted when the clock shows the time that is
// as far from the clock at the beginning as the call's own time is from the time from,
// divided by speed (1: real time; 0 counts as 1). Calls are emitted one after the other, from
// the caller's goroutine; emit may block, and calls that are late are then emitted at once,
// so that delays never add up.
//
// Calls keep their own time. With from at the clock's time and speed 1 it is the wall
// clock's; at another speed it runs away from it, which a pipeline that bounds calls from
// the future will notice.
//
// Drive returns nil at the end of the calls, and ctx's error when ctx ends first.
func Drive(ctx context.Context, clock Clock, from time.Time, calls iter.Seq[Call], speed float64, emit func(context.Context, Call)) error {
	if speed == 0 {
		speed = 1
	}
	if speed < 0 {
		return fmt.Errorf("cannot drive calls at speed %g: it is negative", speed)
	}
	begin := clock()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for c := range calls {
		due := begin.Add(time.Duration(float64(c.Time.Sub(from)) / speed))
		if err := wait(ctx, timer, due.Sub(clock())); err != nil {
			return err
		}
		emit(ctx, c)
	}
	return ctx.Err()
}

// Wait lasts d, or until ctx ends.
func wait(ctx context.Context, timer *time.Timer, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer.Reset(d)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return ctx.Err()
	}
}
