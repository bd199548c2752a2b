package risk

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/estop-project/estop/revoke"
)

// Start begins to listen, and to read what was published before. It returns at once; where NATS is out of reach it goes on trying.
func (f *Follower) Start(ctx context.Context) error {
	f.start.Lock()
	defer f.start.Unlock()
	if f.cancel != nil {
		return errors.New("cannot follow risks: started before")
	}
	// First the messages, then the stream: so nothing is missed between them.
	for _, filter := range f.filters() {
		if err := f.subscribe(filter, func(m *nats.Msg) { f.take(m.Subject, m.Data) }); err != nil {
			return err
		}
	}
	if err := f.subscribe(revoke.BeatSubject, f.heard); err != nil {
		return err
	}
	ctx, f.cancel = context.WithCancel(ctx)
	f.done.Go(func() { f.follow(ctx) })
	return nil
}

func (f *Follower) filters() []string {
	if len(f.o.Tenants) == 0 {
		return []string{revoke.RiskPrefix + ".>"}
	}
	var filters []string
	for _, t := range f.o.Tenants {
		filters = append(filters, revoke.RiskSubjects(t))
	}
	return filters
}

func (f *Follower) subscribe(subject string, take nats.MsgHandler) error {
	sub, err := f.o.Conn.Subscribe(subject, take)
	if err != nil {
		return fmt.Errorf("cannot follow risks: %w", err)
	}
	f.subs = append(f.subs, sub)
	return nil
}

// heard notes that a detector lives.
func (f *Follower) heard(m *nats.Msg) {
	now := f.clock()
	if _, err := f.o.Verifier.VerifyBeat(m.Data, now); err == nil {
		f.beat.Store(now.UnixNano())
	}
}

// Close ends the subscriptions.
func (f *Follower) Close() {
	f.start.Lock()
	defer f.start.Unlock()
	if f.cancel != nil {
		f.cancel()
	}
	for _, sub := range f.subs {
		_ = sub.Unsubscribe() // the connection may be closed
	}
	f.subs = nil
	f.done.Wait()
}

// follow reads the stream on every so often, for core NATS may lose a message, and all of it after each reconnection: the server may
// be another one.
func (f *Follower) follow(ctx context.Context) {
	status := f.o.Conn.StatusChanged(nats.CONNECTED)
	defer f.o.Conn.RemoveStatusListener(status)
	next := map[string]uint64{}
	timer, swept := time.NewTimer(0), time.Now()
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-status:
			clear(next)
		case <-timer.C:
		}
		if err := f.readOn(ctx, next); err == nil {
			f.read.Store(f.clock().UnixNano())
		} else if ctx.Err() == nil {
			f.log.Debug("cannot read the risks", "error", err)
		}
		if time.Since(swept) > sweepEvery {
			f.sweep()
			swept = time.Now()
		}
		timer.Reset(f.o.Poll)
	}
}

func (f *Follower) readOn(ctx context.Context, next map[string]uint64) error {
	for _, filter := range f.filters() {
		at, err := revoke.ReadRisks(ctx, f.o.Conn, filter, next[filter], func(m revoke.StreamMessage) error {
			f.take(m.Subject, m.Token)
			return nil
		})
		if err != nil {
			return err
		}
		next[filter] = at
	}
	return nil
}
