package stopwatch

import (
	"runtime"
	"testing"
	"time"
)

func TestWaitingTakesNoProcessorTime(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the wall clock stands in for a thread's clock here")
	}
	defer Pin()()
	wall, own := time.Now(), Now()
	<-time.After(50 * time.Millisecond)
	if waited, worked := time.Since(wall), Now()-own; worked > waited/2 {
		t.Errorf("%v of work in %v of waiting", worked, waited)
	}
	for n, from := 0, Now(); Now()-from < time.Millisecond; n++ {
		if n > 1e9 {
			t.Fatal("work takes no time")
		}
	}
}
