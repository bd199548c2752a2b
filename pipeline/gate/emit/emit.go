// Package emit sends the calls that a gate saw to Kafka. It never makes the gate wait: what
// does not fit into its bounded memory is dropped and counted.
package emit

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// Defaults of Options.
const (
	DefaultMaxCalls = 1 << 14
	DefaultMaxBytes = 16 << 20
)

// Options say where calls go and how many may wait.
type Options struct {
	Kafka    []kgo.Opt // where, and how to log in
	MaxCalls int       // that wait for Kafka at most; 0: DefaultMaxCalls
	MaxBytes int       // of them; 0: DefaultMaxBytes
	Log      *slog.Logger
	// Registerer takes the metrics; nil: nobody does.
	Registerer prometheus.Registerer
}

// Emitter is safe for concurrent use. Make it with New.
type Emitter struct {
	client  *kgo.Client
	log     *slog.Logger
	sent    prometheus.Counter
	dropped *prometheus.CounterVec
}

// Why calls are dropped.
const (
	dropFull   = "full"   // too many wait
	dropFailed = "failed" // Kafka refused them, or the gate ended before it took them
	dropBad    = "bad"    // no tenant or no agent, or one whose name is too long to be stopped
)

// New returns an emitter. It does not connect before the first call.
func New(o Options) (*Emitter, error) {
	set := func(v *int, to int) {
		if *v <= 0 {
			*v = to
		}
	}
	set(&o.MaxCalls, DefaultMaxCalls)
	set(&o.MaxBytes, DefaultMaxBytes)
	e := &Emitter{
		log:  o.Log,
		sent: prometheus.NewCounter(prometheus.CounterOpts{Name: "estop_gate_calls_sent_total", Help: "Calls that Kafka has."}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "estop_gate_calls_dropped_total", Help: "Calls that did not get to Kafka, by reason.",
		}, []string{"reason"}),
	}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	for _, reason := range []string{dropFull, dropFailed, dropBad} {
		e.dropped.WithLabelValues(reason)
	}
	if o.Registerer != nil {
		o.Registerer.MustRegister(e.sent, e.dropped)
	}
	opts := append(pipeline.ProducerOptions(), kgo.MaxBufferedRecords(o.MaxCalls), kgo.MaxBufferedBytes(o.MaxBytes))
	var err error
	if e.client, err = kgo.NewClient(append(opts, o.Kafka...)...); err != nil {
		return nil, fmt.Errorf("cannot make a Kafka client: %w", err)
	}
	return e, nil
}

// Emit sends a call, without its context where that does not fit, and does not wait. It
// keeps nothing of c. What an agent chose is made what a decoder takes: otherwise an agent
// could keep its calls out of sight by a name that cannot be read.
func (e *Emitter) Emit(c *telemetry.Call) {
	if !stoppable(c) {
		e.dropped.WithLabelValues(dropBad).Inc()
		return
	}
	clean := readable(c)
	r := &kgo.Record{
		Topic: pipeline.TopicCalls, Key: telemetry.Key(&clean), Value: telemetry.AppendJSON(nil, &clean),
		Headers: []kgo.RecordHeader{{Key: telemetry.HeaderContentType, Value: []byte(telemetry.JSON.ContentType())}},
	}
	e.client.TryProduce(context.Background(), r, e.done)
}

func (e *Emitter) done(_ *kgo.Record, err error) {
	switch err {
	case nil:
		e.sent.Inc()
	case kgo.ErrMaxBuffered:
		e.dropped.WithLabelValues(dropFull).Inc()
	default:
		e.dropped.WithLabelValues(dropFailed).Inc()
		e.log.Warn("a call did not get to Kafka", "err", err)
	}
}

// Close waits until Kafka has what waits, or ctx ends. Nothing may be emitted afterwards.
func (e *Emitter) Close(ctx context.Context) error {
	err := e.client.Flush(ctx)
	e.client.Close()
	if err != nil {
		return fmt.Errorf("calls did not get to Kafka before the end: %w", err)
	}
	return nil
}

// stoppable reports whether a revocation could name who calls. Guards deny the others.
func stoppable(c *telemetry.Call) bool {
	if len(c.Tenant) == 0 || len(c.Agent) == 0 || len(c.Tenant) > telemetry.MaxTenant || len(c.Chain) > telemetry.DefaultMaxChain {
		return false
	}
	for _, name := range append([][]byte{c.Agent, c.Identity, c.Session}, c.Chain...) {
		if len(name) > telemetry.MaxName {
			return false
		}
	}
	return true
}

// readable returns a call that every decoder takes: texts without U+0000 and within bounds.
func readable(c *telemetry.Call) telemetry.Call {
	r := *c
	r.ID, r.Tenant, r.Agent = text(c.ID), text(c.Tenant), text(c.Agent)
	r.Identity, r.Session = text(c.Identity), text(c.Session)
	r.Action, r.Resource = text(c.Action), text(c.Resource)
	r.Traceparent, r.Sig = text(c.Traceparent), text(c.Sig)
	r.Chain = nil
	for _, m := range c.Chain {
		r.Chain = append(r.Chain, text(m))
	}
	if len(c.Context) > telemetry.DefaultMaxContext {
		r.Context = nil
	}
	return r
}

// text returns b as it may stand in a call: valid UTF-8 without U+0000, and no longer than a
// field may be.
func text(b []byte) []byte {
	if len(b) <= telemetry.DefaultMaxField && utf8.Valid(b) && bytes.IndexByte(b, 0) < 0 {
		return b
	}
	b = bytes.ToValidUTF8(b, []byte("\uFFFD"))
	b = bytes.ReplaceAll(b, []byte{0}, []byte("\uFFFD"))
	if len(b) <= telemetry.DefaultMaxField {
		return b
	}
	b = b[:telemetry.DefaultMaxField]
	for len(b) > 0 && !utf8.Valid(b) { // at most the beginning of one letter is cut off
		b = b[:len(b)-1]
	}
	return b
}
