package node

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/estop-project/estop/revoke"
)

// Revoke tunes how guards learn of revocations.
type Revoke struct {
	Heartbeat time.Duration `config:"heartbeat"` // from one to the next; 0: none
	Deadline  time.Duration `config:"deadline"`  // until which all guards must have acknowledged; 0: nobody looks
	Drill     time.Duration `config:"drill"`     // from one drill to the next; 0: none
}

const (
	minHeartbeat = 10 * time.Millisecond
	minDeadline  = 50 * time.Millisecond
	minDrill     = time.Second
)

func (r Revoke) check(found *problems) {
	if r.Heartbeat != 0 && (r.Heartbeat < minHeartbeat || r.Heartbeat > revoke.MaxInterval) {
		found.add("revoke.heartbeat", fmt.Sprintf("%v is neither 0 nor between %v and %v", r.Heartbeat, minHeartbeat, revoke.MaxInterval))
	}
	if r.Deadline != 0 && (r.Deadline < minDeadline || r.Deadline > time.Hour) {
		found.add("revoke.deadline", fmt.Sprintf("%v is neither 0 nor between %v and 1h", r.Deadline, minDeadline))
	}
	if r.Drill != 0 && r.Drill < minDrill {
		found.add("revoke.drill", fmt.Sprintf("%v is neither 0 nor at least %v", r.Drill, minDrill))
	}
}

// startHeartbeat sends heartbeats beside the detect role until stop is called, if they are wanted.
func (n *running) startHeartbeat(ctx context.Context, signer revoke.Signer) (stop func(), err error) {
	if n.Revoke.Heartbeat == 0 {
		return func() {}, nil
	}
	verifier, err := n.guardsVerifier(signer)
	if err != nil {
		return nil, err
	}
	h, err := revoke.NewHeartbeat(n.nats, revoke.HeartbeatOptions{
		Name: publisherName(), Signer: signer, Verifier: verifier, Interval: n.Revoke.Heartbeat, Logger: n.log,
	})
	if err != nil {
		return nil, err
	}
	HeartbeatMetrics(n.registry, h)
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.Run(ctx)
	}()
	go n.watchKeys(ctx, signer, verifier, func(v revoke.Verifier) error {
		h.SetVerifier(v)
		return nil
	})
	return func() {
		cancel()
		<-done
	}, nil
}

// publisherName tells the processes of an installation apart.
func publisherName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("detect-%s-%d", host, os.Getpid())
}

// HeartbeatMetrics registers the counts of h.
func HeartbeatMetrics(reg prometheus.Registerer, h *revoke.Heartbeat) {
	counter := func(name, help string, count func() uint64) {
		promauto.With(reg).NewCounterFunc(prometheus.CounterOpts{Namespace: "estop", Subsystem: "revoke", Name: name, Help: help},
			func() float64 { return float64(count()) })
	}
	counter("heartbeats_total", "Heartbeats sent to the guards.", h.Sent)
	counter("heartbeats_failed_total", "Heartbeats that were due and not sent, because the stream of revocations could not be read.", h.Failed)
}
