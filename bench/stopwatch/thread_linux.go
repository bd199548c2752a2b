package stopwatch

import (
	"syscall"
	"time"
)

// threadTime has the resolution of a microsecond.
func threadTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_THREAD, &u); err != nil {
		panic("stopwatch: " + err.Error()) // every Linux has it
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
