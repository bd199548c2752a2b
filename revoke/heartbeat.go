package revoke

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// DefaultInterval is how often a publisher sends heartbeats where nothing else is configured.
const DefaultInterval = time.Second

// keepEnded is how long, in seconds, a ledger can still be asked about what has ended: clocks
// differ by up to MaxSkew on either side.
const keepEnded = int64(2 * MaxSkew / time.Second)

// HeartbeatOptions say who sends heartbeats and how often.
type HeartbeatOptions struct {
	Name     string // of the publisher
	Signer   Signer
	Verifier Verifier         // what of the stream is genuine, as guards see it; zero: that of Signer
	Interval time.Duration    // 0: DefaultInterval
	Clock    func() time.Time // nil: time.Now
	Logger   *slog.Logger     // nil: none
}

// Heartbeat tells guards again and again that a publisher lives and what the stream holds, so
// that they notice within one interval what they have missed. Each process that publishes
// revocations by itself runs one; several at once do no harm.
type Heartbeat struct {
	o    HeartbeatOptions
	nc   *nats.Conn
	js   jetstream.JetStream
	log  *slog.Logger
	keys atomic.Pointer[Verifier]
	sent atomic.Uint64
	lost atomic.Uint64

	// What follows is Run's.
	start    string
	number   uint64
	stream   time.Time
	sequence uint64
	ledger   *Ledger
	believed *Verifier // by which the ledger was filled
	swept    int64
	turn     TenantKey
}

// NewHeartbeat returns a heartbeat on a connection of the detector's account.
func NewHeartbeat(nc *nats.Conn, o HeartbeatOptions) (*Heartbeat, error) {
	if o.Interval == 0 {
		o.Interval = DefaultInterval
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	switch {
	case o.Name == "" || len(o.Name) > maxName:
		return nil, fmt.Errorf("cannot make heartbeat: the name has %d bytes, not 1 to %d", len(o.Name), maxName)
	case o.Interval < time.Millisecond || o.Interval > MaxInterval:
		return nil, fmt.Errorf("cannot make heartbeat: interval %v is not between 1ms and %v", o.Interval, MaxInterval)
	case o.Signer.Key == nil:
		return nil, errors.New("cannot make heartbeat: no key to sign with")
	}
	if o.Verifier.Keys == nil {
		o.Verifier = o.Signer.Verifier()
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("cannot make heartbeat: %w", err)
	}
	h := &Heartbeat{o: o, nc: nc, js: js, log: o.Logger, start: shortHash([]byte(rand.Text())), ledger: NewLedger()}
	h.keys.Store(&o.Verifier)
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	return h, nil
}

// SetVerifier replaces the keys that say what of the stream is genuine. The next heartbeat counts anew.
func (h *Heartbeat) SetVerifier(v Verifier) { h.keys.Store(&v) }

// Sent returns how many heartbeats were sent.
func (h *Heartbeat) Sent() uint64 { return h.sent.Load() }

// Failed returns how many were due and not sent, because the stream could not be read.
func (h *Heartbeat) Failed() uint64 { return h.lost.Load() }

// Run sends heartbeats until ctx ends. A beat that cannot be made is left out: whoever hears
// none knows that something is wrong.
func (h *Heartbeat) Run(ctx context.Context) {
	t := time.NewTicker(h.o.Interval)
	defer t.Stop()
	for {
		if err := h.beat(ctx); err != nil && ctx.Err() == nil {
			if n := h.lost.Add(1); n&(n-1) == 0 {
				h.log.Warn("cannot send heartbeat", "count", n, "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

func (h *Heartbeat) beat(ctx context.Context) error {
	if !h.nc.IsConnected() {
		// The client would keep the beat and send it when nobody needs it any more.
		return nats.ErrDisconnected
	}
	// The beat is of the moment before the stream is read: it must not claim to know more.
	at := h.o.Clock()
	ctx, cancel := context.WithTimeout(ctx, max(h.o.Interval, readWait))
	defer cancel()
	if err := h.read(ctx); err != nil {
		return err
	}
	if second := at.Unix(); second >= h.swept+keepEnded/4 {
		h.ledger.Forget(second - keepEnded)
		h.swept = second
	}
	b := Beat{
		Publisher: h.o.Name, Start: h.start, Number: h.number, IssuedAt: at, Interval: h.o.Interval,
		Stream: h.stream, Sequence: h.sequence,
	}
	turn := b.fill(h.ledger, h.turn)
	token, err := h.o.Signer.SignBeat(b)
	if err != nil {
		return err
	}
	if err := h.nc.Publish(BeatSubject, []byte(token)); err != nil {
		return fmt.Errorf("cannot publish heartbeat: %w", err)
	}
	h.number++
	h.turn = turn
	h.sent.Add(1)
	return nil
}

// read brings the ledger to the end of the stream.
func (h *Heartbeat) read(ctx context.Context) error {
	s, err := h.js.Stream(ctx, Stream)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrStream, err)
	}
	info := s.CachedInfo()
	keys := h.keys.Load()
	if !info.Created.Equal(h.stream) || info.State.LastSeq < h.sequence || keys != h.believed {
		// Another stream, an older copy of it, or other keys: what was not genuine may be so now.
		h.believed = keys
		h.stream, h.sequence, h.ledger = info.Created, 0, NewLedger()
	}
	if info.State.LastSeq <= h.sequence {
		return nil
	}
	note := func(m StreamMessage) error {
		r, err := keys.Genuine(m.Token)
		if (err == nil || errors.Is(err, ErrUnknownKind)) && m.Subject == Subject(r) {
			h.ledger.Note(r, m.Sequence)
		}
		return nil
	}
	next, err := ReadStream(ctx, h.nc, RevokePrefix+".>", h.sequence+1, note)
	h.sequence = max(h.sequence, next-1)
	for err == nil && h.sequence < info.State.LastSeq {
		h.sequence, err = readFromLeader(ctx, h.nc, h.sequence+1, info.State.LastSeq, note)
	}
	return err
}
