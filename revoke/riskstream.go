package revoke

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// RiskStream is the JetStream stream that keeps the last risk of each agent and source.
const RiskStream = "ESTOP_RISK"

// ErrRiskStream is wrapped where the stream of risks cannot be read: it is missing, or the server does not answer.
var ErrRiskStream = errors.New("cannot read stream " + RiskStream)

func riskStreamConfig(replicas int) jetstream.StreamConfig {
	c := jetstream.StreamConfig{
		Name:              RiskStream,
		Description:       "The last risk of each agent, until it ends",
		Subjects:          []string{RiskPrefix + ".>"},
		Storage:           jetstream.FileStorage,
		Replicas:          replicas,
		MaxMsgsPerSubject: 1,
		MaxMsgSize:        maxRiskToken + 1024,
		Discard:           jetstream.DiscardOld,
		Duplicates:        time.Minute,
		AllowMsgTTL:       true,
		AllowDirect:       true,
	}
	if replicas == 1 {
		// A risk that a loss of power forgets is told again with the next call. Revocations need the disk more.
		c.PersistMode = jetstream.AsyncPersistMode
	}
	return c
}

// ReadRisks is ReadStream for the stream of risks.
func ReadRisks(ctx context.Context, nc *nats.Conn, filter string, from uint64, f func(StreamMessage) error) (uint64, error) {
	return readStream(ctx, streamReader{nc: nc, stream: RiskStream, failed: ErrRiskStream}, filter, from, f)
}

// RiskPublisher signs risks and sends them. It is safe for concurrent use.
type RiskPublisher struct {
	js     jetstream.JetStream
	signer Signer
	clock  func() time.Time
}

// RiskPublisherOptions say who signs.
type RiskPublisherOptions struct {
	Signer   Signer
	Replicas int              // of the stream; 0 means 1
	Clock    func() time.Time // nil: time.Now
}

// NewRiskPublisher makes sure that the stream exists as it must be. The connection must be that of the detector's account. The
// caller closes it.
func NewRiskPublisher(ctx context.Context, nc *nats.Conn, o RiskPublisherOptions) (*RiskPublisher, error) {
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(maxUnstored), jetstream.WithPublishAsyncTimeout(storeTimeout))
	if err != nil {
		return nil, fmt.Errorf("cannot open JetStream: %w", err)
	}
	if _, err := js.CreateOrUpdateStream(ctx, riskStreamConfig(max(o.Replicas, 1))); err != nil {
		return nil, fmt.Errorf("cannot create stream %s: %w", RiskStream, err)
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	return &RiskPublisher{js: js, signer: o.Signer, clock: o.Clock}, nil
}

// Close ends the publisher's subscription. The connection stays open.
func (p *RiskPublisher) Close() { p.js.CleanupPublisher() }

// Publish sends risks to whoever listens, waits until the stream has them, and returns those that it does not have, with the
// first reason. What has ended is left out. A risk that cannot be signed never can be: it is not among those returned.
func (p *RiskPublisher) Publish(ctx context.Context, risks []Risk) (unstored []Risk, err error) {
	type sent struct {
		risk   Risk
		future jetstream.PubAckFuture
	}
	var all []sent
	fail := func(e error) {
		if err == nil {
			err = e
		}
	}
	for _, r := range risks {
		left := r.Until.Sub(p.clock())
		if left <= 0 {
			continue
		}
		token, e := p.signer.SignRisk(r)
		if e != nil {
			fail(e)
			continue
		}
		m := nats.NewMsg(RiskSubject(r))
		m.Data = []byte(token)
		m.Header.Set(jetstream.MsgTTLHeader, ttl(left))
		future, e := p.js.PublishMsgAsync(m)
		if e != nil {
			fail(fmt.Errorf("cannot publish risk: %w", e))
			unstored = append(unstored, r)
			continue
		}
		all = append(all, sent{r, future})
	}
	for _, s := range all {
		if e := newStored(s.future).Wait(ctx); e != nil {
			fail(fmt.Errorf("cannot store risk: %w", errors.Unwrap(e)))
			unstored = append(unstored, s.risk)
		}
	}
	return unstored, err
}
