package plugin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/data"
	"github.com/nats-io/nats.go"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/revoke"
)

// flushEvery is how often what came is shown.
const flushEvery = 200 * time.Millisecond

// The channels.
const (
	channelRevocations = "revocations"
	channelAcks        = "acks"
	channelDetections  = "detections"
)

var channels = map[string]func(*Datasource, context.Context, *backend.StreamSender) error{
	channelRevocations: (*Datasource).streamRevocations,
	channelAcks:        (*Datasource).streamAcks,
	channelDetections:  (*Datasource).streamDetections,
}

// SubscribeStream lets whoever may query the data source follow a channel of it.
func (d *Datasource) SubscribeStream(_ context.Context, req *backend.SubscribeStreamRequest) (*backend.SubscribeStreamResponse, error) {
	if _, ok := channels[req.Path]; !ok {
		return &backend.SubscribeStreamResponse{Status: backend.SubscribeStreamStatusNotFound}, nil
	}
	if _, _, err := d.settings.scope(nil); err != nil {
		return &backend.SubscribeStreamResponse{Status: backend.SubscribeStreamStatusPermissionDenied}, nil
	}
	return &backend.SubscribeStreamResponse{Status: backend.SubscribeStreamStatusOK}, nil
}

// PublishStream refuses: what is in the channels comes from guards and detectors alone.
func (d *Datasource) PublishStream(context.Context, *backend.PublishStreamRequest) (*backend.PublishStreamResponse, error) {
	return &backend.PublishStreamResponse{Status: backend.PublishStreamStatusPermissionDenied}, nil
}

// RunStream sends what happens until nobody looks any more.
func (d *Datasource) RunStream(ctx context.Context, req *backend.RunStreamRequest, sender *backend.StreamSender) error {
	run, ok := channels[req.Path]
	if !ok {
		return fmt.Errorf("there is no channel %q", req.Path)
	}
	if _, _, err := d.settings.scope(nil); err != nil {
		return err
	}
	err := run(d, ctx, sender)
	if ctx.Err() != nil {
		return nil // it was ended
	}
	return err
}

// show sends, a few times a second, what a sample has kept. rows makes a frame of it.
func show[T any](ctx context.Context, s *sample[T], sender *backend.StreamSender, rows func([]T) *data.Frame) error {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		kept, seen := s.take()
		if seen == 0 {
			continue
		}
		frame := rows(kept)
		if seen > len(kept) {
			frame.AppendNotices(data.Notice{Severity: data.NoticeSeverityWarning, Text: fmt.Sprintf("Sampled: %d of %d are shown. The archive has all of them.", len(kept), seen)})
		}
		if err := sender.SendFrame(frame, data.IncludeAll); err != nil {
			return err
		}
	}
}

// newSample returns one that holds what the settings let a stream show between two flushes.
func newSample[T any](s Settings) *sample[T] {
	return &sample[T]{most: max(1, s.Rate*int(flushEvery/time.Millisecond)/1000)}
}

// listen subscribes to subjects. The server knows of it when listen returns.
func listen(nc *nats.Conn, subjects []string, f nats.MsgHandler) (end func(), err error) {
	var subs []*nats.Subscription
	end = func() {
		for _, s := range subs {
			_ = s.Unsubscribe() // it fails where the connection has ended, and then there is nothing to end
		}
	}
	for _, subject := range subjects {
		s, err := nc.Subscribe(subject, f)
		if err != nil {
			end()
			return nil, fmt.Errorf("cannot listen to %q: %w", subject, err)
		}
		subs = append(subs, s)
	}
	if err := nc.Flush(); err != nil {
		end()
		return nil, fmt.Errorf("cannot listen to NATS: %w", err)
	}
	return end, nil
}

// revocationSubjects are those of the tenants that may be seen.
func (s Settings) revocationSubjects() []string {
	if s.AllTenants {
		return []string{revoke.RevokePrefix + ".>"}
	}
	subjects := []string{revoke.GlobalSubjects}
	for _, t := range s.Tenants {
		subjects = append(subjects, revoke.TenantSubjects(t))
	}
	return subjects
}

// streamRevocations shows revocations and releases. Only what is shown is verified, so that a flood costs no more.
func (d *Datasource) streamRevocations(ctx context.Context, sender *backend.StreamSender) error {
	nc, err := d.connection()
	if err != nil {
		return err
	}
	verifier, err := d.verifier()
	if err != nil {
		return err
	}
	s := newSample[[]byte](d.settings)
	end, err := listen(nc, d.settings.revocationSubjects(), func(m *nats.Msg) { s.add(m.Data) })
	if err != nil {
		return err
	}
	defer end()
	return show(ctx, s, sender, func(tokens [][]byte) *data.Frame {
		var all []revoke.Revocation
		refused := 0
		for _, token := range tokens {
			r, err := verifier.Verify(token, time.Now())
			if err != nil && !errors.Is(err, revoke.ErrUnknownKind) || !d.settings.serves(r.Tenant, r.Scope) {
				refused++
				continue
			}
			all = append(all, r)
		}
		f := revocationFrame(all)
		if refused > 0 {
			f.AppendNotices(data.Notice{Severity: data.NoticeSeverityWarning, Text: fmt.Sprintf("%d are left out: guards would not believe them.", refused)})
		}
		return f
	})
}

func revocationFrame(all []revoke.Revocation) *data.Frame {
	f := data.NewFrame(channelRevocations,
		data.NewField("time", nil, []time.Time{}), data.NewField("id", nil, []string{}), data.NewField("action", nil, []string{}),
		data.NewField("tenant", nil, []string{}), data.NewField("scope", nil, []string{}), data.NewField("subject", nil, []string{}),
		data.NewField("until", nil, []time.Time{}), data.NewField("ordered_by", nil, []string{}), data.NewField("reason", nil, []string{}),
		data.NewField("detection", nil, []string{}), data.NewField("releases", nil, []string{}))
	for _, r := range all {
		by := r.By
		if by == "" {
			by = r.Detector
		}
		f.AppendRow(r.IssuedAt, r.ID, string(r.Action), r.Tenant, string(r.Scope), r.Subject, r.Until, by, r.Reason, r.Detection, r.Releases)
	}
	return f
}

// streamAcks shows what guards say that they enforce.
func (d *Datasource) streamAcks(ctx context.Context, sender *backend.StreamSender) error {
	nc, err := d.connection()
	if err != nil {
		return err
	}
	s := newSample[revoke.Ack](d.settings)
	acks, err := revoke.CollectAcks(nc, func(a revoke.Ack) {
		if !a.Report() && d.settings.serves(a.Tenant, "") {
			s.add(a)
		}
	}, nil)
	if err != nil {
		return err
	}
	defer acks.Close()
	return show(ctx, s, sender, func(all []revoke.Ack) *data.Frame {
		latency := data.NewField("latency_ns", nil, []int64{})
		latency.Config = &data.FieldConfig{Unit: "ns"}
		f := data.NewFrame(channelAcks,
			data.NewField("time", nil, []time.Time{}), data.NewField("revocation", nil, []string{}), data.NewField("guard", nil, []string{}),
			data.NewField("tenant", nil, []string{}), latency, data.NewField("cancelled", nil, []int64{}))
		for _, a := range all {
			f.AppendRow(a.AppliedAt, a.Revocation, a.Guard, a.Tenant, int64(a.Latency), int64(a.Cancelled))
		}
		return f
	})
}

// streamDetections shows detections. NATS does not carry them, so they are read from Kafka, from now on.
func (d *Datasource) streamDetections(ctx context.Context, sender *backend.StreamSender) error {
	cl, err := d.kafka(kgo.ConsumeTopics(pipeline.TopicDetections), kgo.ConsumeResetOffset(kgo.NewOffset().AtEnd()),
		kgo.FetchMaxWait(flushEvery), kgo.FetchMaxBytes(8<<20))
	if err != nil {
		return err
	}
	defer cl.Close()
	s := newSample[found](d.settings)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		for ctx.Err() == nil {
			fetches := cl.PollFetches(ctx)
			if err := fetches.Err0(); err != nil && ctx.Err() == nil {
				cancel(fmt.Errorf("cannot read detections from Kafka: %w", err))
				return
			}
			fetches.EachRecord(func(r *kgo.Record) {
				if v, ok := parseFound(r.Value); ok && !v.Canary && d.settings.serves(v.Tenant, "") {
					s.add(v)
				}
			})
		}
	}()
	if err := show(ctx, s, sender, detectionFrame); err != nil {
		return context.Cause(ctx)
	}
	return nil
}
