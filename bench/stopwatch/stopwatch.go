// Package stopwatch measures the processor time of one goroutine, which, unlike the wall
// clock, does not run while others have the core: a benchmark on a shared machine needs it.
package stopwatch

import (
	"runtime"
	"time"
)

// Pin ties the calling goroutine to its thread, so that differences of Now are its own
// time. Unpin ends it.
func Pin() (unpin func()) {
	runtime.LockOSThread()
	return runtime.UnlockOSThread
}

// Now returns the processor time of the calling thread since some moment.
func Now() time.Duration { return threadTime() }
