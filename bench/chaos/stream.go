package chaos

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/estop-project/estop/bench/chaos/check"
	"github.com/estop-project/estop/revoke"
)

// observer reads the stream of revocations through each of the servers, again and again: what one of them says to have,
// the stream has.
type observer struct {
	verifier revoke.Verifier
	conns    []*nats.Conn

	mu     sync.Mutex
	stored map[string]check.Stored // by id
}

const (
	observeEvery = 100 * time.Millisecond
	observeLimit = 2 * time.Second
)

func (c *Cluster) newObserver() (*observer, error) {
	o := &observer{verifier: c.verifier, stored: map[string]check.Stored{}}
	for i := range natsServers {
		nc, err := c.connect(c.nats.detectorURL(i))
		if err != nil {
			return nil, err
		}
		o.conns = append(o.conns, nc)
	}
	return o, nil
}

func (o *observer) close() {
	for _, nc := range o.conns {
		nc.Close()
	}
}

// watch reads until ctx ends.
func (o *observer) watch(ctx context.Context) {
	var readers sync.WaitGroup
	for _, nc := range o.conns {
		readers.Go(func() {
			for from := uint64(1); ; {
				from = o.read(ctx, nc, from)
				if !sleep(ctx, observeEvery) {
					return
				}
			}
		})
	}
	readers.Wait()
}

// read reads on from a sequence number and returns the next one. Where the server does not answer it is the same.
func (o *observer) read(ctx context.Context, nc *nats.Conn, from uint64) uint64 {
	ctx, cancel := context.WithTimeout(ctx, observeLimit)
	defer cancel()
	next, err := revoke.ReadStream(ctx, nc, revoke.RevokePrefix+".>", from, o.note)
	if err != nil {
		return from
	}
	return next
}

func (o *observer) note(m revoke.StreamMessage) error {
	now := time.Now()
	r, err := o.verifier.Genuine(m.Token)
	if err != nil {
		return fmt.Errorf("what the stream has of %q is not genuine: %w", m.Subject, err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, ok := o.stored[r.ID]; !ok {
		o.stored[r.ID] = check.Stored{ID: r.ID, Target: target(r.Tenant, r.Scope, r.Subject), Seen: now, Until: r.Until}
	}
	return nil
}

// seen returns what the stream had.
func (o *observer) seen() []check.Stored {
	o.mu.Lock()
	defer o.mu.Unlock()
	var all []check.Stored
	for _, s := range o.stored {
		all = append(all, s)
	}
	return all
}
