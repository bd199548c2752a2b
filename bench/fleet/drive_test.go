package fleet

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestDriveKeepsTimeThoughEmitIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := New(Options{Seed: 1, Agents: 50, Rate: 5000})
		from, to := DefaultStart, DefaultStart.Add(10*time.Minute)
		begin, n := time.Now(), 0
		const speed = 4
		err := Drive(t.Context(), time.Now, from, f.Calls(from, to), speed, func(_ context.Context, c Call) {
			n++
			due := begin.Add(c.Time.Sub(from) / speed)
			if n%50 == 0 {
				time.Sleep(time.Second) // delays some calls, and must not delay all that follow
			}
			if late := time.Since(due); late < 0 || late > 2*time.Second {
				t.Fatalf("call %d came %v late", n, late)
			}
		})
		if err != nil || n < 300 {
			t.Errorf("%d calls, error %v", n, err)
		}
		if took := time.Since(begin); took > 152*time.Second {
			t.Errorf("150 s of play took %v", took)
		}
	})
}

func TestDriveEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := New(Options{Seed: 1, Agents: 1, Tenants: 1}) // about one session in four hours
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		begin := time.Now()
		err := Drive(ctx, time.Now, DefaultStart.Add(-time.Hour), f.Calls(DefaultStart, time.Time{}), 0, func(context.Context, Call) {
			t.Error("a call came an hour early")
		})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != time.Minute {
			t.Errorf("ended after %v with %v", time.Since(begin), err)
		}
	})
}

func TestDriveRefusesToGoBackwards(t *testing.T) {
	if Drive(t.Context(), time.Now, DefaultStart, New(Options{}).Calls(DefaultStart, time.Time{}), -1, nil) == nil {
		t.Error("a negative speed was accepted")
	}
}
