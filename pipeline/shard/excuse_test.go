package shard_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/estop-project/estop/pipeline/shard"
)

const excusing = `exceptions:
  - {match: {agent: a}, owner: sec-ops, until: 2026-03-05, reason: reads each night}
tenants:
  t1: {exceptions: {match: {agent: b}, reason: the tenant's}}
`

// excuses plays calls and says what was told of exceptions.
func excuses(s *shard.Shard, calls []sent) (told []string) {
	for i := range calls {
		s.Call(&calls[i].Call, calls[i].src)
	}
	for _, x := range s.Excuses {
		told = append(told, fmt.Sprintf("%s %s/%s %s: %s", x.Time.Format(time.DateOnly), x.Tenant, x.Entity, x.CallID, x.Exception.Reason))
	}
	s.Excuses = s.Excuses[:0]
	return told
}

func TestAnExcuseIsToldOnceADayForEachEntity(t *testing.T) {
	p := plan(t, limit+excusing)
	s := shard.New(p, shard.Options{})
	const day = 24 * time.Hour
	calls := number(burst(3, "a", 0, time.Second), burst(2, "b", time.Hour, time.Second), burst(2, "c", 2*time.Hour, time.Second), burst(2, "a", day, time.Second),
		burst(1, "a", time.Minute, 0), burst(1, "a", 4*day, 0)) // one that is late, and one after the exception has ended
	want := []string{
		"2026-03-02 t1/a call-0: reads each night", "2026-03-02 t1/b call-3: the tenant's", "2026-03-03 t1/a call-7: reads each night",
	}
	if diff := cmp.Diff(want, excuses(s, calls)); diff != "" {
		t.Error(diff)
	}
	if s.Excepted[0] != 8 {
		t.Errorf("%d calls were excused, want 8", s.Excepted[0])
	}
	if told := excuses(s, calls); told != nil || s.Excepted[0] != 8 {
		t.Errorf("a replay tells %q and counts %d", told, s.Excepted[0])
	}
	s.Reload(p)
	if s.Excepted[0] != 0 {
		t.Errorf("a new plan begins with %d excused calls", s.Excepted[0])
	}
}

func TestAnExcusedCallAllocatesNothing(t *testing.T) {
	s := shard.New(plan(t, limit+excusing), shard.Options{})
	calls := number(burst(2000, "a", 0, time.Millisecond))
	i := 0
	next := func() {
		s.Call(&calls[i].Call, calls[i].src)
		i++
	}
	for range 500 {
		next()
	}
	if n := testing.AllocsPerRun(1000, next); n > 0 {
		t.Errorf("%v allocations for each call", n)
	}
}
