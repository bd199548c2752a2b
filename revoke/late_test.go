package revoke

import (
	"errors"
	"testing"
	"time"
)

func TestALateStopIsSupersededByWhatWasDecidedSince(t *testing.T) {
	now := noon
	late := func(action Action) Revocation {
		return Revocation{ID: "late", Tenant: "t", Scope: Agent, Subject: "a", Action: action, IssuedAt: now, Until: now.Add(time.Hour), Initiator: "policy", Late: 10 * time.Minute}
	}
	old := func(action Action, ago time.Duration) Revocation {
		return Revocation{ID: "old", Tenant: "t", Scope: Agent, Subject: "a", Action: action, IssuedAt: now.Add(-ago), Until: now.Add(time.Minute), Initiator: "policy"}
	}
	same := old(Revoke, time.Minute)
	same.ID = "late"
	inTime := late(Revoke)
	inTime.Late = 0
	for name, c := range map[string]struct {
		old, r Revocation
		want   error
	}{
		"stopped already, for less long":   {old(Revoke, time.Minute), late(Revoke), ErrOutranked},
		"stopped before the breach":        {old(Revoke, time.Hour), late(Revoke), ErrOutranked},
		"stopped less hard":                {old(Throttle, time.Minute), late(Revoke), nil},
		"stopped harder":                   {old(Revoke, time.Minute), late(Throttle), ErrOutranked},
		"released since the breach":        {old(Release, 5*time.Minute), late(Revoke), ErrShielded},
		"released before the breach":       {old(Release, 20*time.Minute), late(Revoke), nil},
		"the same once more":               {same, late(Revoke), nil},
		"a stop in time is a further one":  {old(Revoke, time.Minute), inTime, nil},
		"a breach in time after a release": {old(Release, 5*time.Minute), inTime, nil},
	} {
		h := &held{targets: map[string]Revocation{Subject(c.old): c.old}, sweepAt: 100}
		if _, err := h.take(c.r, Rules{}, now); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}
