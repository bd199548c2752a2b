package plugin

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/data"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/pipeline/rig"
	"github.com/estop-project/estop/revoke"
)

// watcher keeps what a stream has sent.
type watcher struct {
	mu     sync.Mutex
	frames []*data.Frame
}

func (w *watcher) Send(p *backend.StreamPacket) error {
	var f data.Frame
	if err := json.Unmarshal(p.Data, &f); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.frames = append(w.frames, &f)
	return nil
}

// column returns what a column has had so far, and all notices.
func (w *watcher) column(name string) (values, notices []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range w.frames {
		values = append(values, column(f, name)...)
		if f.Meta != nil {
			for _, n := range f.Meta.Notices {
				notices = append(notices, n.Text)
			}
		}
	}
	return values, notices
}

func watch(t *testing.T, d *Datasource, channel string) *watcher {
	t.Helper()
	s, err := d.SubscribeStream(t.Context(), &backend.SubscribeStreamRequest{Path: channel})
	if err != nil || s.Status != backend.SubscribeStreamStatusOK {
		t.Fatalf("%s: %v, %v", channel, s, err)
	}
	w := &watcher{}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.RunStream(ctx, &backend.RunStreamRequest{Path: channel}, backend.NewStreamSender(w)) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("%s ended with %v", channel, err)
		}
	})
	return w
}

func TestStreams(t *testing.T) {
	w := newWorld(t, rig.Options{})
	t.Run("a revocation and its acknowledgements come at once", func(t *testing.T) { streamedRevocation(t, w) })
	t.Run("a forged revocation is left out and counted", func(t *testing.T) { streamedForgery(t, w) })
	t.Run("detections come, of the tenants alone", func(t *testing.T) { streamedDetections(t, w) })
	t.Run("a flood is sampled and says so", func(t *testing.T) { streamedFlood(t, w) })
	t.Run("there are no other channels", func(t *testing.T) { noOtherChannels(t, w) })
}

// repeat does something again and again until what is wanted has come: nobody knows from when on a stream listens.
func repeat(t *testing.T, do func(), came func() error) time.Duration {
	t.Helper()
	var last time.Time
	rig.Await(t, time.Minute, func() error {
		if time.Since(last) > time.Second {
			last = time.Now()
			do()
		}
		return came()
	})
	return time.Since(last)
}

func (w *world) publish(s revoke.Signer, r revoke.Revocation) {
	w.t.Helper()
	client, err := revoke.NewClient(w.t.Context(), w.Connect(w.NATS.DetectorURL()), revoke.ClientOptions{Signer: s})
	if err != nil {
		w.t.Fatal(err)
	}
	defer client.Close()
	now := time.Now()
	r.Scope, r.Action, r.IssuedAt, r.Until, r.Reason = revoke.Agent, revoke.Revoke, now, now.Add(time.Minute), "a test"
	if _, err := client.Kill(w.t.Context(), r); err != nil {
		w.t.Fatal(err)
	}
}

func streamedRevocation(t *testing.T, w *world) {
	d := w.datasource(func(s *Settings) { s.AllTenants, s.Tenants = false, []string{"t1"} })
	revocations, acks := watch(t, d, channelRevocations), watch(t, d, channelAcks)
	took := repeat(t, func() {
		w.publish(w.Signer, revoke.Revocation{Tenant: "zwei", Subject: "hidden"})
		w.publish(w.Signer, revoke.Revocation{Tenant: "t1", Subject: "shown"})
	}, func() error {
		subjects, _ := revocations.column("subject")
		guards, _ := acks.column("guard")
		if !slices.Contains(subjects, "shown") || !slices.Contains(guards, "gate-1") || !slices.Contains(guards, "gate-2") {
			return fmt.Errorf("revocations of %v, acknowledged by %v", subjects, guards)
		}
		return nil
	})
	t.Logf("from the order until it and both acknowledgements were streamed: %v", took)
	if subjects, _ := revocations.column("subject"); slices.Contains(subjects, "hidden") {
		t.Error("a revocation of another tenant is shown")
	}
	if tenants, _ := acks.column("tenant"); slices.Contains(tenants, "zwei") {
		t.Error("an acknowledgement of another tenant is shown")
	}
}

func streamedForgery(t *testing.T, w *world) {
	forger, err := revoke.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	revocations := watch(t, w.datasource(nil), channelRevocations)
	repeat(t, func() { w.publish(forger, revoke.Revocation{Tenant: "t1", Subject: "forged"}) }, func() error {
		if _, notices := revocations.column("subject"); !slices.ContainsFunc(notices, func(n string) bool { return strings.Contains(n, "would not believe") }) {
			return fmt.Errorf("notices: %v", notices)
		}
		return nil
	})
	if subjects, _ := revocations.column("subject"); slices.Contains(subjects, "forged") {
		t.Error("a forged revocation is shown")
	}
}

func streamedDetections(t *testing.T, w *world) {
	d := w.datasource(func(s *Settings) { s.AllTenants, s.Tenants = false, []string{"t1"} })
	detections := watch(t, d, channelDetections)
	record := func(text string) *kgo.Record {
		return &kgo.Record{Topic: pipeline.TopicDetections, Value: []byte(text)}
	}
	repeat(t, func() {
		w.SendRecords(record(`{broken`), record(`{"id":"1","tenant":"zwei","agent":"hidden"}`), record(`{"id":"2","tenant":"t1","agent":"tried","canary":true}`),
			record(`{"id":"3","ts":"2026-01-02T03:04:05Z","tenant":"t1","agent":"shown","detector":"loop"}`))
	}, func() error {
		agents, _ := detections.column("agent")
		if !slices.Contains(agents, "shown") {
			return fmt.Errorf("detections of %v", agents)
		}
		return nil
	})
	if agents, _ := detections.column("agent"); slices.Contains(agents, "hidden") || slices.Contains(agents, "tried") {
		t.Errorf("detections of %v are shown", agents)
	}
}

// streamedFlood sends 10,000 acknowledgements as fast as it can. However many come at once, a frame holds a fifth of what
// the settings let a second show.
func streamedFlood(t *testing.T, w *world) {
	d := w.datasource(func(s *Settings) { s.Rate = 50 })
	acks := watch(t, d, channelAcks)
	nc := w.Connect(w.NATS.URL())
	send := func(n int) {
		for i := range n {
			a := revoke.Ack{Revocation: fmt.Sprint("flood-", i), Guard: "flood", Tenant: "t1", AppliedAt: time.Now()}
			b, err := json.Marshal(a)
			if err != nil {
				t.Fatal(err)
			}
			if err := nc.Publish(revoke.AckSubject(a.Guard), b); err != nil {
				t.Fatal(err)
			}
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	repeat(t, func() { send(10_000) }, func() error {
		if _, notices := acks.column("guard"); !slices.ContainsFunc(notices, func(n string) bool { return strings.HasPrefix(n, "Sampled: 10 of ") }) {
			return fmt.Errorf("notices: %v", notices)
		}
		return nil
	})
	acks.mu.Lock()
	defer acks.mu.Unlock()
	for _, f := range acks.frames {
		if f.Rows() > 10 {
			t.Errorf("a frame of %d rows", f.Rows())
		}
	}
}

func noOtherChannels(t *testing.T, w *world) {
	d := w.datasource(nil)
	if s, err := d.SubscribeStream(t.Context(), &backend.SubscribeStreamRequest{Path: "secrets"}); err != nil || s.Status != backend.SubscribeStreamStatusNotFound {
		t.Errorf("%v, %v", s, err)
	}
	if p, err := d.PublishStream(t.Context(), &backend.PublishStreamRequest{Path: channelAcks}); err != nil || p.Status != backend.PublishStreamStatusPermissionDenied {
		t.Errorf("somebody publishes: %v, %v", p, err)
	}
	nothing := w.datasource(func(s *Settings) { s.AllTenants = false })
	if s, err := nothing.SubscribeStream(t.Context(), &backend.SubscribeStreamRequest{Path: channelAcks}); err != nil || s.Status != backend.SubscribeStreamStatusPermissionDenied {
		t.Errorf("settings without tenants stream something: %v, %v", s, err)
	}
}

func TestASampleIsEvenAndBounded(t *testing.T) {
	s := sample[int]{most: 10}
	hits := make([]int, 100)
	for range 2000 {
		for i := range hits {
			s.add(i)
		}
		kept, seen := s.take()
		if len(kept) != 10 || seen != 100 {
			t.Fatalf("%d of %d", len(kept), seen)
		}
		for _, v := range kept {
			hits[v]++
		}
	}
	for v, n := range hits { // 200 are expected of each, with a deviation of 13
		if n < 100 || n > 300 {
			t.Errorf("%d was kept %d times of 200", v, n)
		}
	}
	for i := range 5 {
		s.add(i)
	}
	if kept, seen := s.take(); seen != 5 || !slices.Equal(kept, []int{0, 1, 2, 3, 4}) {
		t.Errorf("a few are kept as %v", kept)
	}
}
