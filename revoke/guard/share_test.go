package guard_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/estop-project/estop/revoke"
)

func TestThoseThatShareAcksGetEachOnceBetweenThem(t *testing.T) {
	r := newRig(t, 1)
	r.guard("gate-1")
	var shared, whole atomic.Int32
	for range 3 {
		c, err := revoke.ShareAcks(r.nc, "relays", func(revoke.Ack) { shared.Add(1) }, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	c, err := revoke.CollectAcks(r.nc, func(revoke.Ack) { whole.Add(1) }, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const kills = 20
	for i := range kills {
		r.kill("acme", "agent-"+string(rune('a'+i)))
	}
	// A guard may acknowledge a kill again when it hears it again, so the two are compared.
	deadline := time.Now().Add(time.Minute)
	for whole.Load() < kills || shared.Load() != whole.Load() {
		if time.Now().After(deadline) {
			t.Fatalf("the sharers got %d acks, one that does not share %d", shared.Load(), whole.Load())
		}
		time.Sleep(time.Millisecond)
	}
}
