package archive

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestAnOutageIsToldOnceHoweverItsInsertsEnd(t *testing.T) {
	now := time.Unix(0, 0)
	tick := func() time.Time { now = now.Add(time.Second); return now }
	var told bytes.Buffer
	o := outage{log: slog.New(slog.NewTextHandler(&told, nil)), clock: tick}
	gone := errors.New("gone")

	early := tick()
	o.failed(gone)
	o.over(early) // it was on its way when the other one failed
	o.failed(gone)
	o.over(tick())
	if n := strings.Count(told.String(), "does not take rows"); n != 1 {
		t.Errorf("the outage is told %d times:\n%s", n, told.String())
	}
	if n := strings.Count(told.String(), "takes rows again"); n != 1 {
		t.Errorf("its end is told %d times:\n%s", n, told.String())
	}
	o.failed(gone)
	if n := strings.Count(told.String(), "does not take rows"); n != 2 {
		t.Errorf("the next outage is told %d times in all", n)
	}
}
