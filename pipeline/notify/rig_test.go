package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/revoke"
)

const patience = 30 * time.Second

// rig is a Kafka with the topics of estop.
type rig struct {
	t        *testing.T
	cluster  *kfake.Cluster
	seeds    []kgo.Opt
	producer *kgo.Client
	log      *logged
}

func newRig(t *testing.T) *rig {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	r := &rig{t: t, cluster: c, seeds: []kgo.Opt{kgo.SeedBrokers(c.ListenAddrs()...)}, log: &logged{}}
	if r.producer, err = kgo.NewClient(append(pipeline.ProducerOptions(), r.seeds...)...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.producer.Close)
	if err := pipeline.EnsureTopics(t.Context(), r.producer, 1, 1); err != nil {
		t.Fatal(err)
	}
	return r
}

// logged keeps a log.
type logged struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// load loads a file of sinks.
func load(t *testing.T, text string, env map[string]string) (*File, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sinks.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Load(path, LoadOptions{Version: "v1", KeysDir: filepath.Join(filepath.Dir(path), "keys"), Lookup: func(name string) (string, bool) {
		v, ok := env[name]
		return v, ok
	}})
}

func mustLoad(t *testing.T, text string, env map[string]string) *File {
	t.Helper()
	f, err := load(t, text, env)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// start runs the notify role. It returns once the role is a member of all its groups.
func (r *rig) start(f *File) (n *Notifier, stop func()) {
	r.t.Helper()
	n, err := New(Options{
		Kafka: r.seeds, Producer: r.producer, File: f, Registerer: prometheus.NewRegistry(),
		Log: slog.New(slog.NewTextHandler(io.MultiWriter(r.log, r.t.Output()), nil)),
	})
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(r.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			r.t.Errorf("the role ended with %v", err)
		}
	})
	r.t.Cleanup(stop)
	for _, s := range f.Sinks {
		r.await("offsets of "+s.Name, func() bool { return len(r.offsets(s.Name)) == len(Topics()) })
	}
	return n, stop
}

// offsets returns what a sink has committed, by topic.
func (r *rig) offsets(sink string) map[string]int64 {
	r.t.Helper()
	have, err := committed(r.t.Context(), kadm.NewClient(r.producer), Group(sink))
	if err != nil {
		r.t.Fatal(err)
	}
	all := map[string]int64{}
	have.Each(func(o kadm.OffsetResponse) { all[o.Topic] = o.At })
	return all
}

func (r *rig) await(what string, ok func() bool) { await(r.t, what, ok) }

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no %s within %v", what, patience)
		}
	}
}

func (r *rig) produce(topic string, values ...any) {
	r.t.Helper()
	var records []*kgo.Record
	for _, v := range values {
		b, err := json.Marshal(v)
		if err != nil {
			r.t.Fatal(err)
		}
		records = append(records, &kgo.Record{Topic: topic, Value: b})
	}
	if err := r.producer.ProduceSync(r.t.Context(), records...).FirstErr(); err != nil {
		r.t.Fatal(err)
	}
}

// letters returns the dead letters.
func (r *rig) letters(s *Sink) []Letter {
	r.t.Helper()
	all, err := (&DeadLetters{Kafka: r.seeds, Sink: s}).List(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return all
}

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func found(id, tenant, agent string) detector.Detection {
	return detector.Detection{
		ID: id, Time: noon, Detector: "loop", Version: "3", Mode: "enforce", Severity: "high", Tenant: tenant, EntityBy: "agent", Entity: agent,
		Agent: agent, Identity: "role/" + agent, Session: "run-1", Action: "crm.read", Resource: "customer-7", Reason: "evidence",
		Tags: []string{"attack.t1530"}, Revocation: id,
	}
}

func stopped(id, tenant, agent string) revoke.Record {
	return revoke.Record{SET: "the.guards.token", Revocation: revoke.Revocation{
		ID: id, Tenant: tenant, Scope: revoke.Agent, Subject: agent, Action: revoke.Revoke, IssuedAt: noon, Until: noon.Add(15 * time.Minute),
		Detector: "loop", Detection: id, Reason: "loop: evidence", Initiator: revoke.Policy,
	}}
}

// receiver keeps what it gets.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	got    []request
	answer func(n int, q request) int // of the n-th request; nil: 200
	header http.Header                // of the answers
	body   string
}

type request struct {
	id, path, contentType string
	header                http.Header
	body                  []byte
	at                    time.Time
}

func newReceiver(t *testing.T, answer func(n int, q request) int) *receiver {
	t.Helper()
	r := &receiver{answer: answer, header: http.Header{}}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(q.Body)
	if err != nil {
		return
	}
	got := request{strings.Trim(q.Header.Get("Idempotency-Key"), `"`), q.URL.Path, q.Header.Get("Content-Type"), q.Header, body, time.Now()}
	r.mu.Lock()
	r.got = append(r.got, got)
	n := len(r.got)
	r.mu.Unlock()
	status := http.StatusOK
	if r.answer != nil {
		status = r.answer(n, got)
	}
	for k, v := range r.header {
		w.Header()[k] = v
	}
	w.WriteHeader(status)
	fmt.Fprint(w, r.body)
}

func (r *receiver) all() []request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]request(nil), r.got...)
}

// ids returns the ids of what came, in its order.
func (r *receiver) ids() []string {
	var ids []string
	for _, q := range r.all() {
		ids = append(ids, q.id)
	}
	return ids
}

// await waits for a number of requests.
func (r *receiver) await(t *testing.T, n int) []request {
	t.Helper()
	await(t, fmt.Sprintf("request %d", n), func() bool { return len(r.all()) >= n })
	return r.all()
}

// fast are the keys of a sink that does not wait long.
const fast = "    retry: {first: 1ms, longest: 5ms, for: 10s}\n"

func hook(name, url, more string) string {
	return "  - name: " + name + "\n    type: webhook\n    url: " + url + "\n" + more
}

// number is what a counter or a gauge says, or how much a histogram has counted.
func number(t *testing.T, m prometheus.Metric) float64 {
	t.Helper()
	var d dto.Metric
	if err := m.Write(&d); err != nil {
		t.Fatal(err)
	}
	return d.GetCounter().GetValue() + d.GetGauge().GetValue() + float64(d.GetHistogram().GetSampleCount())
}
