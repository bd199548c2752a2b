package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/estop-project/estop/pipeline/gate/emit"
	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/gate"
	"github.com/estop-project/estop/revoke/gate/risk"
	"github.com/estop-project/estop/revoke/guard"
)

// Times of a gate.
const (
	syncWait   = 2 * time.Second // for the revocations, before calls are taken without them
	retryStart = 200 * time.Millisecond
	reportWait = 3 * time.Second // for the last calls to be reported
)

// GateOptions say how a gate stands to the kill switch.
type GateOptions struct {
	Name    string   // of its guard, in acknowledgements; unique in the installation
	Tenants []string // whose calls come; none: those of all
	// FailOpen lets calls pass on what is known while the revocations are out of reach.
	FailOpen bool
	// FailClosed chooses the calls that fail closed in place of FailOpen, which is for all.
	FailClosed func(*guard.Call) bool
	// MaxStale is for how long what is known is enough where the gate fails closed.
	MaxStale time.Duration
	// File keeps what is known, so that a restart without NATS denies what was revoked. Empty: none.
	File string
	// Policy is a folder or a file of Cedar policies that decide what the guard lets through. Empty: the guard alone decides.
	Policy string
}

// failClosed reports whether a call is denied while the revocations are out of reach.
func (o GateOptions) failClosed(c *guard.Call) bool {
	if o.FailClosed != nil {
		return o.FailClosed(c)
	}
	return !o.FailOpen
}

// Gate is what every gate stands on: a guard that hears the kill switch, a way for its calls to
// the detector, and metrics.
type Gate struct {
	Guard    *guard.Guard
	Emitter  *emit.Emitter
	Registry *prometheus.Registry
	// Authorize decides by policies what the guard lets through; nil: the guard alone decides.
	Authorize gate.Authorizer

	risks    *risk.Follower // nil: nobody asks
	nats     *nats.Conn
	metrics  *http.Server // nil: not served
	draining atomic.Bool

	metricsAddr string
	stop        context.CancelFunc
	done        sync.WaitGroup
	log         *slog.Logger
}

// StartGate finds the node that c means and stands a gate to it. NATS and Kafka need not answer:
// the gate then fails as it was told, and goes on trying.
func StartGate(ctx context.Context, c Config, o GateOptions, log *slog.Logger) (*Gate, error) {
	addr := ""
	if c.from["http.addr"] != "" { // the default is where a node serves
		addr = c.HTTP.Addr
	}
	c, err := c.Find()
	if err != nil {
		return nil, err
	}
	if c.found {
		c = c.asGuard()
	}
	g := &Gate{Registry: prometheus.NewRegistry(), log: log}
	ctx, g.stop = context.WithCancel(ctx)
	if err := g.start(ctx, c, o, addr); err != nil {
		g.Close()
		return nil, err
	}
	return g, nil
}

func (g *Gate) start(ctx context.Context, c Config, o GateOptions, addr string) error {
	verifier, err := revoke.LoadVerifier(c.VerifierPath())
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("no public keys at %q; name the file that came with the installation with --keys.verifier: %w", c.VerifierPath(), err)
	}
	if err != nil {
		return err
	}
	kafka, err := c.KafkaOptions(g.log)
	if err != nil {
		return err
	}
	if g.Emitter, err = emit.New(emit.Options{Kafka: kafka, Registerer: g.Registry, Log: g.log}); err != nil {
		return err
	}
	if g.nats, err = c.connectNATS("gate "+o.Name, g.log, nats.RetryOnFailedConnect(true)); err != nil {
		return err
	}
	g.Guard, err = guard.New(guard.Options{
		Name: o.Name, Conn: g.nats, Verifier: verifier, KeyFile: c.VerifierPath(), Tenants: o.Tenants, All: len(o.Tenants) == 0,
		FailClosedUntilSynced: true, MaxStale: o.MaxStale, FailClosed: o.failClosed, File: o.File, Logger: g.log,
	})
	if err != nil {
		return err
	}
	g.Registry.MustRegister(guardMetrics{g.Guard})
	if err := g.serveMetrics(addr); err != nil {
		return err
	}
	if err := g.authorize(ctx, o, verifier); err != nil {
		return err
	}
	g.done.Go(func() { g.follow(ctx) })
	g.awaitSync(ctx, o.FailOpen)
	return nil
}

// follow starts the guard as soon as NATS answers.
func (g *Gate) follow(ctx context.Context) {
	for ctx.Err() == nil {
		err := g.Guard.Start(ctx)
		if err == nil {
			return
		}
		g.log.Debug("the guard waits for NATS", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(retryStart):
		}
	}
}

// awaitSync gives the guard a moment: the first call must not be denied because it came a
// millisecond too early.
func (g *Gate) awaitSync(ctx context.Context, open bool) {
	ctx, cancel := context.WithTimeout(ctx, syncWait)
	defer cancel()
	if g.Guard.WaitSynced(ctx) == nil {
		return
	}
	what := "calls are denied until they are loaded"
	if open {
		what = "calls pass without them"
	}
	g.log.Error("the revocations are out of reach: "+what, "connected", g.nats.IsConnected())
}

func (g *Gate) serveMetrics(addr string) error {
	if addr == "" {
		return nil
	}
	g.Registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "estop", Subsystem: "gate", Name: "synced", Help: "1 once the revocations are loaded.",
	}, func() float64 {
		if g.Guard.Synced() {
			return 1
		}
		return 0
	}))
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("cannot serve metrics (http.addr chooses the address; empty turns them off): %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(g.Registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := g.Ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ready")
	})
	g.metrics = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
	g.metricsAddr = l.Addr().String()
	g.log.Info("metrics are served", "addr", g.metricsAddr)
	g.done.Go(func() {
		if err := g.metrics.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			g.log.Error("metrics server", "error", err)
		}
	})
	return nil
}

// Ready says why new calls should go elsewhere; nil: they are welcome.
func (g *Gate) Ready() error {
	switch {
	case g.draining.Load():
		return errors.New("the gate is about to end")
	case !g.Guard.Synced() || !g.nats.IsConnected():
		return errors.New("the revocations are out of reach")
	}
	return nil
}

// Drain makes Ready say that the gate is about to end. The guard goes on.
func (g *Gate) Drain() { g.draining.Store(true) }

// MetricsAddr is where metrics are served; empty: nowhere.
func (g *Gate) MetricsAddr() string { return g.metricsAddr }

// Close reports the last calls and ends the connections.
func (g *Gate) Close() {
	g.stop()
	if g.metrics != nil {
		g.metrics.Close()
	}
	if g.Emitter != nil {
		ctx, cancel := context.WithTimeout(context.Background(), reportWait)
		defer cancel()
		if err := g.Emitter.Close(ctx); err != nil {
			g.log.Warn("the last calls are not all reported", "error", err)
		}
	}
	if g.risks != nil {
		g.risks.Close()
	}
	if g.nats != nil {
		g.nats.Close()
	}
	g.done.Wait()
	if g.Guard != nil {
		_ = g.Guard.Close() // it returns no error
	}
}
