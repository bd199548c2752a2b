package node

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/estop-project/estop/pipeline/notify"
)

// Notify says whom the notify role tells.
type Notify struct {
	File string `config:"file"` // of sinks; empty: nobody
}

// ErrNoSinks says that no file of sinks is configured.
var ErrNoSinks = errors.New("no file of sinks: notify.file names it")

// Sinks loads the file of sinks.
func (c Config) Sinks() (*notify.File, error) {
	if c.Notify.File == "" {
		return nil, ErrNoSinks
	}
	return LoadSinks(c, c.Notify.File)
}

// LoadSinks loads a file of sinks, whose keys are in the data folder unless it says otherwise.
func LoadSinks(c Config, path string) (*notify.File, error) {
	return notify.Load(path, notify.LoadOptions{Version: Version(), KeysDir: filepath.Join(c.Dir, "keys", "notify")})
}

// makeNotifier loads the sinks before anything runs: a mistake in them is found at the start.
func (n *running) makeNotifier(ctx context.Context) error {
	file, err := n.Sinks()
	if errors.Is(err, ErrNoSinks) {
		return nil
	}
	if err != nil {
		return err
	}
	log := n.log.With("role", "notify")
	n.notifier, err = notify.New(notify.Options{Kafka: n.kafka, Producer: n.producer, File: file, Log: log, Registerer: n.registry})
	if err != nil {
		return err
	}
	n.sinks.begin(n.registry, n.notifier)
	if file.HasTokens() && n.listener == nil {
		log.Warn("nobody can fetch the keys that receivers of tokens verify with: http.addr is empty")
	}
	return n.notifier.Begin(ctx)
}

// notify tells the sinks of the file, and goes over to others when it changes.
func (n *running) notify(ctx context.Context) error {
	if n.notifier == nil {
		n.log.Info("notify role has nobody to tell: notify.file is not set")
		<-ctx.Done()
		return nil
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	changed := make(chan *notify.File)
	go n.watchSinks(ctx, changed)
	for now := n.notifier; now != nil; {
		next, err := n.tell(ctx, now, changed)
		if err != nil {
			return err
		}
		now = next
	}
	return nil
}

// tell runs a notifier until ctx ends, or until another one, which it returns, is to take its place: what the first has begun
// it ends, and the other goes on where it stopped.
func (n *running) tell(ctx context.Context, now *notify.Notifier, changed <-chan *notify.File) (*notify.Notifier, error) {
	running, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- now.Run(running) }()
	for {
		select {
		case err := <-ended:
			return nil, err
		case file := <-changed:
			next, err := now.With(file)
			if err == nil {
				err = next.Begin(ctx)
			}
			if err != nil {
				n.sinks.refuse()
				n.log.Error("the sinks cannot be told: those from before stay", "file", n.Notify.File, "err", err)
				continue
			}
			stop()
			if err := <-ended; err != nil || ctx.Err() != nil {
				return nil, err
			}
			n.sinks.take(next)
			n.log.Info("other sinks", "file", n.Notify.File, "sinks", len(file.Sinks))
			return next, nil
		}
	}
}

// watchSinks loads the file whenever it changes, until ctx ends. A wrong one is refused, and said once.
func (n *running) watchSinks(ctx context.Context, changed chan<- *notify.File) {
	last, _ := readFile(n.Notify.File) // what was loaded at the start; a change since then is seen soon
	tick := time.NewTicker(sinksPoll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		b, err := readFile(n.Notify.File)
		if err == nil && bytes.Equal(b, last) || err != nil && last == nil {
			continue
		}
		if last = b; err != nil {
			last = nil
		}
		file, err := n.Sinks()
		if err != nil {
			n.sinks.refuse()
			n.log.Error("the file of sinks is refused: those from before stay", "file", n.Notify.File, "err", err)
			continue
		}
		select {
		case changed <- file:
		case <-ctx.Done():
			return
		}
	}
}

// sinksPoll is how often the file of sinks is looked at.
const sinksPoll = time.Second

// liveSinks are what is served and counted of the sinks that are told now.
type liveSinks struct {
	mux atomic.Pointer[http.ServeMux]
	sinkMetrics
}

type sinkMetrics struct {
	refused prometheus.Gauge
	reloads prometheus.Counter
}

func newSinkMetrics(reg prometheus.Registerer) sinkMetrics {
	f := promauto.With(reg)
	return sinkMetrics{
		refused: f.NewGauge(prometheus.GaugeOpts{
			Namespace: "estop", Subsystem: "notify", Name: "file_refused", Help: "Whether the file of sinks is wrong now; those from before are told.",
		}),
		reloads: f.NewCounter(prometheus.CounterOpts{
			Namespace: "estop", Subsystem: "notify", Name: "reloads_total", Help: "Changes of the file of sinks that were taken.",
		}),
	}
}

func (l *liveSinks) begin(reg prometheus.Registerer, now *notify.Notifier) {
	l.sinkMetrics = newSinkMetrics(reg)
	l.serveOf(now)
}

func (l *liveSinks) serveOf(now *notify.Notifier) {
	mux := http.NewServeMux()
	now.Routes(mux)
	l.mux.Store(mux)
}

func (l *liveSinks) take(now *notify.Notifier) {
	l.refused.Set(0)
	l.reloads.Inc()
	l.serveOf(now)
}

func (l *liveSinks) refuse() { l.refused.Set(1) }

// serve answers receivers of security events with what they fetch of those that are told now.
func (l *liveSinks) serve(w http.ResponseWriter, r *http.Request) { l.mux.Load().ServeHTTP(w, r) }

// notifyReaders adds the groups that retention waits for.
func (c Config) notifyReaders(to map[string][]string) error {
	file, err := c.Sinks()
	if errors.Is(err, ErrNoSinks) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, topic := range notify.Topics() {
		for _, s := range file.Sinks {
			to[topic] = append(to[topic], notify.Group(s.Name))
		}
	}
	return nil
}
