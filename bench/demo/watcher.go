package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/pipeline/node"
)

// watcher reads the detections as they are written.
type watcher struct {
	client *kgo.Client
	done   chan struct{}

	mu    sync.Mutex
	found []detector.Detection
	read  int64 // records
	err   error // of a record that is no detection
}

func openWatcher(ctx context.Context, c node.Config) (*watcher, error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.Kafka.Brokers...), kgo.ConsumeTopics(pipeline.TopicDetections), kgo.FetchMinBytes(1))
	if err != nil {
		return nil, err
	}
	w := &watcher{client: cl, done: make(chan struct{})}
	go w.run(ctx)
	return w, nil
}

func (w *watcher) run(ctx context.Context) {
	defer close(w.done)
	for {
		fetches := w.client.PollFetches(ctx)
		if fetches.IsClientClosed() || ctx.Err() != nil {
			return
		}
		fetches.EachRecord(func(r *kgo.Record) {
			var d detector.Detection
			err := json.Unmarshal(r.Value, &d)
			w.mu.Lock()
			defer w.mu.Unlock()
			w.read++
			if err != nil {
				w.err = fmt.Errorf("cannot read a detection: %w", err)
				return
			}
			w.found = append(w.found, d)
		})
	}
}

// progress returns how many records were read, and what was wrong with one.
func (w *watcher) progress() (int64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.read, w.err
}

// detections returns what was found so far and meets the test, each id once.
func (w *watcher) detections(test func(*detector.Detection) bool) []detector.Detection {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen := map[string]bool{}
	var out []detector.Detection
	for i := range w.found {
		if d := &w.found[i]; test(d) && !seen[d.ID] {
			seen[d.ID] = true
			out = append(out, *d)
		}
	}
	return out
}

func (w *watcher) close() {
	w.client.Close()
	<-w.done
}
