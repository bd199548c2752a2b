// Package changes records which detectors changed, and who changed them, in Kafka: what was added, changed and taken
// away while a process ran, and while none did. docs/decisions/0018-changes-of-detectors.md says why so.
//
// What is in force is compared with the last record of each detector, so a restart, or a further process that loads
// the same files, records nothing. Detection never waits for any of this.
package changes

import (
	"context"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/detector"
)

// Options configure a Recorder.
type Options struct {
	// Kafka are the options of every client: seed brokers and how to log in.
	Kafka   []kgo.Opt
	Folders Folders
	// Node names this process in the records. Default: the host.
	Node       string
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Recorder writes changes down. Note and Run may be called at the same time.
type Recorder struct {
	node    string
	log     *slog.Logger
	authors authors
	kafka   log
	metrics metrics

	mu      sync.Mutex
	waiting []seen
	noted   map[string]state // last; it is never written to
	wake    chan struct{}

	last map[string]state // what was in force when changes were recorded last; nil: never
}

type metrics struct {
	recorded, retries prometheus.Counter
	waiting           prometheus.Gauge
}

// maxWaiting bounds how many times what is in force may change while Kafka is away. Past it, several changes of a
// detector become one.
const maxWaiting = 64

// New makes a Recorder. It connects to nothing; Run does.
func New(opt Options) *Recorder {
	if opt.Log == nil {
		opt.Log = slog.Default()
	}
	if opt.Node == "" {
		opt.Node, _ = os.Hostname() // a host without a name has none in the records
	}
	f := promauto.With(opt.Registerer)
	counter := func(name, help string) prometheus.Counter {
		return f.NewCounter(prometheus.CounterOpts{Namespace: "estop", Subsystem: "changes", Name: name, Help: help})
	}
	return &Recorder{
		node: opt.Node, log: opt.Log, authors: authors{Folders: opt.Folders}, kafka: log{opts: opt.Kafka, warn: opt.Log}, wake: make(chan struct{}, 1),
		metrics: metrics{
			recorded: counter("recorded_total", "Changes of detectors that were written to Kafka."),
			retries:  counter("retries_total", "Attempts to write changes of detectors that failed."),
			waiting:  f.NewGauge(prometheus.GaugeOpts{Namespace: "estop", Subsystem: "changes", Name: "waiting", Help: "Reloads of detectors whose changes are not written to Kafka yet."}),
		},
	}
}

// Note says what is in force from now on. It does not wait.
func (r *Recorder) Note(set *detector.Set, now time.Time) {
	r.mu.Lock()
	r.noted = inForce(set, r.noted)
	s := seen{now.UTC(), r.noted}
	if len(r.waiting) == maxWaiting {
		r.waiting = r.waiting[:maxWaiting-1]
	}
	r.waiting = append(r.waiting, s)
	r.metrics.waiting.Set(float64(len(r.waiting)))
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default: // it is awake
	}
}

// first returns what was noted first and is not recorded yet.
func (r *Recorder) first() (seen, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.waiting) == 0 {
		return seen{}, false
	}
	return r.waiting[0], true
}

// done takes back what first gave.
func (r *Recorder) done(s seen) {
	r.last = s.all
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting = slices.Delete(r.waiting, 0, 1)
	r.metrics.waiting.Set(float64(len(r.waiting)))
}

// The pauses between attempts, and how long one may take.
const (
	firstPause = 200 * time.Millisecond
	lastPause  = 30 * time.Second
	attempt    = 10 * time.Second // for each of reading and writing
)

// Run records what is noted until ctx ends. What is not recorded then is found at the next start, which compares
// what is in force with the last records.
func (r *Recorder) Run(ctx context.Context) {
	pause := time.Duration(0)
	for {
		for s, ok := r.first(); ok && ctx.Err() == nil; s, ok = r.first() {
			err := r.record(ctx, s)
			if err == nil {
				if pause > 0 {
					r.log.Info("the changes of detectors are recorded again")
				}
				pause = 0
				r.done(s)
				continue
			}
			if ctx.Err() != nil {
				return
			}
			r.metrics.retries.Inc()
			if pause == 0 {
				r.log.Warn("changes of detectors cannot be recorded; they wait, detection does not", "err", err)
			}
			pause = min(max(2*pause, firstPause), lastPause)
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
		}
		select {
		case <-r.wake:
		case <-ctx.Done():
			return
		}
	}
}

// record writes down how what is in force differs from the last records. Of what did not change in this process since
// it recorded last another process may know better.
func (r *Recorder) record(ctx context.Context, s seen) error {
	reading, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	cl, err := r.kafka.open(reading)
	if err != nil {
		return err
	}
	defer cl.Close()
	r.authors.noGit = false
	var all []detector.ChangeRecord
	for _, key := range r.touched(s) {
		was, is := r.kafka.state[key], s.all[key]
		if was.same(is) {
			continue
		}
		c := change(was, is)
		c.Time, c.Node, c.Author = s.at, r.node, r.authors.author(ctx, was, is)
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil
	}
	writing, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	if err := r.kafka.append(writing, cl, all); err != nil {
		return err
	}
	r.metrics.recorded.Add(float64(len(all)))
	return nil
}

// touched returns the keys of the detectors to compare with their last records: those that are others than when
// changes were recorded last, at first all.
func (r *Recorder) touched(s seen) []string {
	before := r.last
	if before == nil {
		before = r.kafka.state
	}
	var keys []string
	for key, is := range s.all {
		if was, ok := before[key]; r.last == nil || !ok || !was.same(is) {
			keys = append(keys, key)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(before)) {
		if _, ok := s.all[key]; !ok {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}
