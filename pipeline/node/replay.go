package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// ReplayOptions say how a file becomes calls.
type ReplayOptions struct {
	Name   string // of the file, for messages and dead letters
	Format telemetry.Format
	// Speed is how many seconds of the calls' own time pass in one second; 0: as fast as it goes.
	Speed float64
	// Progress is told how many calls were sent so far, now and then.
	Progress func(calls int64)
}

// Replayed is what a replay did.
type Replayed struct {
	Calls    int64         `json:"calls"`
	Bad      int64         `json:"bad"` // sent to the dead letters, with the reason
	Duration time.Duration `json:"duration_ns"`
}

// Replay sends the calls of r to Kafka, each under its agent's key. What is no call goes
// to the topic of dead letters with the line and the reason; nothing is left out silently.
func Replay(ctx context.Context, c Config, r io.Reader, opt ReplayOptions, log *slog.Logger) (Replayed, error) {
	kafka, err := c.KafkaOptions(log)
	if err != nil {
		return Replayed{}, err
	}
	producer, err := kgo.NewClient(append(pipeline.ProducerOptions(), kafka...)...)
	if err != nil {
		return Replayed{}, fmt.Errorf("cannot make a Kafka client: %w", err)
	}
	defer producer.Close()
	if err := reach(ctx, producer); err != nil {
		return Replayed{}, err
	}
	if err := pipeline.EnsureTopics(ctx, producer, c.Kafka.Partitions, c.Kafka.Replicas); err != nil {
		return Replayed{}, err
	}
	p := replayer{opt: opt, producer: producer, pace: pace{speed: opt.Speed}}
	start := time.Now()
	in := untilDone(ctx, r)
	defer in.Close()
	err = p.run(ctx, in)
	if flushed := flush(ctx, producer); err == nil {
		err = flushed
	}
	if failed := p.failed.Load(); err == nil && failed != nil {
		err = *failed
	}
	p.done.Duration = time.Since(start)
	return p.done, err
}

// flushWait bounds how long an interrupted replay goes on waiting for Kafka.
const flushWait = 10 * time.Second

// flush sends what was counted, also where the replay was interrupted.
func flush(ctx context.Context, cl *kgo.Client) error {
	if ctx.Err() == nil {
		return cl.Flush(ctx)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushWait)
	defer cancel()
	return cl.Flush(ctx)
}

// reach finds out at once whether Kafka is there; the client itself would go on trying.
func reach(ctx context.Context, cl *kgo.Client) error {
	ctx, cancel := context.WithTimeout(ctx, answerWait)
	defer cancel()
	if err := cl.Ping(ctx); err != nil {
		return fmt.Errorf("%w: Kafka does not answer: %w", ErrNoNode, err)
	}
	return nil
}

// untilDone reads from r until ctx ends, also while a read of r is blocked, as that of a
// terminal is.
func untilDone(ctx context.Context, r io.Reader) io.ReadCloser {
	out, in := io.Pipe()
	go func() {
		_, err := io.Copy(in, r)
		in.CloseWithError(err)
	}()
	context.AfterFunc(ctx, func() { out.CloseWithError(ctx.Err()) })
	return out
}

type replayer struct {
	opt      ReplayOptions
	producer *kgo.Client
	decoder  telemetry.Decoder
	call     telemetry.Call
	pace     pace
	done     Replayed
	failed   atomic.Pointer[error]
}

func (p *replayer) run(ctx context.Context, r io.Reader) error {
	for raw, err := range telemetry.Split(r, p.opt.Format, telemetry.Limits{}) {
		if failed := p.failed.Load(); failed != nil {
			return fmt.Errorf("%s:%d: cannot send: %w", p.opt.Name, raw.Line, *failed)
		}
		var bad *telemetry.BadCall
		switch {
		case errors.As(err, &bad):
			p.deadLetter(ctx, raw, bad)
			continue
		case err != nil:
			return fmt.Errorf("%s:%d: %w", p.opt.Name, raw.Line, err)
		}
		if err := p.one(ctx, raw); err != nil {
			return err
		}
	}
	return nil
}

// one sends one call.
func (p *replayer) one(ctx context.Context, raw telemetry.Raw) error {
	p.decoder.Start(raw.Format, raw.Bytes)
	err := p.decoder.Next(&p.call)
	var bad *telemetry.BadCall
	if errors.As(err, &bad) {
		p.deadLetter(ctx, raw, bad)
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s:%d: %w", p.opt.Name, raw.Line, err)
	}
	if err := p.pace.wait(ctx, p.call.Time); err != nil {
		return err
	}
	p.send(ctx, CallRecord(&p.call, raw.Format, raw.Bytes))
	p.done.Calls++
	if p.opt.Progress != nil && p.done.Calls%256 == 0 {
		p.opt.Progress(p.done.Calls)
	}
	return nil
}

// CallRecord is the record of a call in the topic of calls: keyed by its agent, its bytes
// as they were sent, and a header that names their format.
func CallRecord(c *telemetry.Call, format telemetry.Format, raw []byte) *kgo.Record {
	return &kgo.Record{
		Topic:   pipeline.TopicCalls,
		Key:     telemetry.Key(c),
		Value:   append([]byte(nil), raw...),
		Headers: []kgo.RecordHeader{{Key: telemetry.HeaderContentType, Value: []byte(format.ContentType())}},
	}
}

func (p *replayer) deadLetter(ctx context.Context, raw telemetry.Raw, bad *telemetry.BadCall) {
	p.done.Bad++
	p.send(ctx, pipeline.DeadLetter(pipeline.Place{Topic: p.opt.Name, Offset: int64(raw.Line)}, bad, append([]byte(nil), raw.Bytes...), nil))
}

func (p *replayer) send(ctx context.Context, r *kgo.Record) {
	p.producer.Produce(context.WithoutCancel(ctx), r, func(_ *kgo.Record, err error) {
		if err != nil {
			p.failed.CompareAndSwap(nil, &err)
		}
	})
}

// pace holds calls back so that their own time passes at a chosen speed.
type pace struct {
	speed       float64
	first, wall time.Time
}

func (p *pace) wait(ctx context.Context, t int64) error {
	if p.speed <= 0 {
		return ctx.Err()
	}
	at := time.Unix(0, t)
	if p.first.IsZero() {
		p.first, p.wall = at, time.Now()
	}
	due := p.wall.Add(time.Duration(float64(at.Sub(p.first)) / p.speed))
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ParseSpeed reads a speed: max, or a factor such as 1, 60x or 0.5.
func ParseSpeed(s string) (float64, error) {
	if s == "" || s == "max" {
		return 0, nil
	}
	v, err := strconv.ParseFloat(strings.TrimSuffix(s, "x"), 64)
	if err != nil || !(v > 0) || v > 1e9 {
		return 0, fmt.Errorf("speed %q is neither 'max' nor a factor such as 1, 60x or 0.5", s)
	}
	return v, nil
}
