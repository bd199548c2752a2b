package chaos

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/estop-project/estop/bench/chaos/check"
	"github.com/estop-project/estop/pipeline/embedded/faultproxy"
)

// Options say what a campaign is.
type Options struct {
	Seed     uint64
	Span     time.Duration // of the faults
	Estop    string        // the binary
	Rate     int           // honest calls a second; 0: 100
	Breaches int           // a minute; 0: 60
	Faults   []Fault       // in place of the schedule of the seed; nil: that one
	Dir      string        // is kept; empty: a temporary folder, which is removed
	Journal  *slog.Logger
}

// Outcome is what a campaign came to.
type Outcome struct {
	Faults     []Fault
	History    check.History
	Violations []check.Violation
	Recovery   time.Duration  // from the end of the faults until nothing was behind
	Stall      time.Duration  // by how much the campaign itself was late at worst
	Endings    map[string]int // times that a process ended by itself
	Delays     Delays
}

const (
	recoverLimit = 5 * time.Minute
	calm         = 3 * time.Second // beyond the bound, that guards are asked in the end
)

// Run runs one campaign. An error means that it could not be run or read, and says nothing of estop.
func Run(ctx context.Context, o Options) (*Outcome, error) {
	o.Rate, o.Breaches = cmp.Or(o.Rate, 100), cmp.Or(o.Breaches, 60)
	dir := o.Dir
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "estop-chaos-"); err != nil {
			return nil, fmt.Errorf("cannot make a folder for the campaign: %w", err)
		}
		defer os.RemoveAll(dir)
	} else if _, err := os.Stat(dir); err == nil {
		return nil, fmt.Errorf("folder %q is there already: a campaign begins with nothing", dir)
	}
	c, err := newCluster(o.Estop, dir, o.Journal)
	if err != nil {
		return nil, err
	}
	defer c.stop()
	o.Journal.Info("starting Kafka, NATS, ClickHouse and the roles", "dir", dir)
	if err := c.start(ctx); err != nil {
		return nil, err
	}
	return c.campaign(ctx, o)
}

// campaign is what happens once the installation runs.
func (c *Cluster) campaign(ctx context.Context, o Options) (*Outcome, error) {
	out := &Outcome{Faults: o.Faults}
	if out.Faults == nil {
		out.Faults = Schedule(o.Seed, o.Span)
	}
	cast := newCast(o.Seed, o.Span, o.Rate, o.Breaches)
	w, err := c.openWatch(ctx, o.Seed, cast)
	if err != nil {
		return nil, err
	}
	defer w.close()
	appender, err := c.newAppender()
	if err != nil {
		return nil, err
	}
	defer appender.client.Close()
	o.Journal.Info("appending the past")
	if err := appender.past(ctx, cast, time.Now()); err != nil {
		return nil, err
	}
	// All tables are made before the first fault: ClickHouse does not survive a full disk while it makes one.
	for _, groups := range []map[string][]string{judging, keeping} {
		if behind := c.recovered(ctx, groups); behind != nil {
			return nil, fmt.Errorf("the installation does not get going: %q", behind)
		}
	}
	appender.start = time.Now()
	w.begin(ctx)
	o.Journal.Info("the faults begin", "faults", len(out.Faults), "span", o.Span)
	var working sync.WaitGroup
	working.Go(func() { appender.present(ctx, cast) })
	working.Go(func() { c.inflict(ctx, out.Faults, w.proxy) })
	working.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ended := time.Now()
	o.Journal.Info("the faults are over; waiting for all to recover")
	if err := c.heal(); err != nil {
		return nil, err
	}
	if err := appender.flush(ctx); err != nil {
		out.History.Behind = append(out.History.Behind, err.Error())
	}
	out.History.Behind = append(out.History.Behind, c.recovered(ctx, judging)...)
	out.Recovery = time.Since(ended)
	sleep(ctx, maxStale+calm)
	w.end()
	return out, c.finish(ctx, o, out, w, appender)
}

// finish ends whoever writes, waits for the archive, and reads the history.
func (c *Cluster) finish(ctx context.Context, o Options, out *Outcome, w *watch, appender *appender) error {
	w.close()
	sleep(ctx, time.Second) // what guards said last is on its way
	out.Endings = c.endings()
	for _, tier := range []string{tierDetect, tierAcks} {
		for _, p := range c.tiers[tier] {
			p.end(syscall.SIGTERM)
		}
	}
	out.History.Behind = append(out.History.Behind, c.recovered(ctx, keeping)...)
	o.Journal.Info("reading what came of it")
	appender.mu.Lock()
	out.History.Appends = appender.appends
	appender.mu.Unlock()
	out.Stall = w.stalls.longest()
	out.History.Stored, out.History.Guards = w.observer.seen(), w.history()
	if err := c.collect(ctx, &out.History); err != nil {
		return err
	}
	if o.Dir != "" {
		if err := keep(filepath.Join(o.Dir, "history.json"), &out.History); err != nil {
			return err
		}
	}
	out.Violations = check.Check(out.History)
	out.Delays = delays(&out.History, appender.sent)
	return nil
}

// keep writes a history down, for whoever asks how a violation came about.
func keep(path string, h *check.History) error {
	text, err := json.Marshal(h)
	if err == nil {
		err = os.WriteFile(path, text, 0o600)
	}
	if err != nil {
		return fmt.Errorf("cannot keep the history: %w", err)
	}
	return nil
}

// watch is all that looks on: guards, the observer of the stream, and the proxy of one guard.
type watch struct {
	suspects []Suspect
	proxy    *faultproxy.Proxy
	gates    []*gate
	observer *observer
	stalls   stalls
	cancel   context.CancelFunc
	done     sync.WaitGroup
	closed   sync.Once
}

func (c *Cluster) openWatch(ctx context.Context, seed uint64, cast *cast) (*watch, error) {
	w := &watch{suspects: cast.suspects}
	var err error
	if w.proxy, err = faultproxy.Start(c.nats.addrs[0], seed); err != nil {
		return nil, err
	}
	if w.observer, err = c.newObserver(); err == nil {
		w.gates, err = c.openGates(ctx, w.proxy, len(w.suspects))
	}
	if err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (w *watch) begin(ctx context.Context) {
	ctx, w.cancel = context.WithCancel(ctx)
	w.done.Go(func() { w.observer.watch(ctx) })
	w.done.Go(func() { w.stalls.watch(ctx) })
	for _, g := range w.gates {
		w.done.Go(func() { g.ask(ctx, w.suspects) })
	}
}

// end ends the asking; guards go on.
func (w *watch) end() {
	w.cancel()
	w.done.Wait()
}

func (w *watch) close() {
	w.closed.Do(func() {
		if w.cancel != nil {
			w.end()
		}
		for _, g := range w.gates {
			g.close()
		}
		if w.observer != nil {
			w.observer.close()
		}
		w.proxy.Close()
	})
}

// history is what the guards answered, with the bound of docs/protocol.md: max_stale + tick + delay. The interval of
// heartbeats is longer than ten ticks of 100 ms, and the delay is that of the quickest heartbeat, which on one machine is
// nothing beside the stalls of this program, by which an answer may be older than it seems.
func (w *watch) history() []check.Guard {
	const tick = 100 * time.Millisecond
	var all []check.Guard
	for _, g := range w.gates {
		all = append(all, g.history(maxStale+tick+w.stalls.longest()))
	}
	return all
}
