//go:build !linux

package stopwatch

import "time"

var began = time.Now()

// threadTime is the wall clock where the system has no clock of a thread.
func threadTime() time.Duration { return time.Since(began) }
