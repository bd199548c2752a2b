package node

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/pipeline/archive"
	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/coverage"
)

// Status is how a node is doing. Where a part does not answer, its error stands instead.
type Status struct {
	Kafka      []string            `json:"kafka"`
	KafkaError string              `json:"kafka_error,omitempty"`
	Topics     map[string]int64    `json:"topics,omitempty"` // records that are kept
	Lag        map[string]int64    `json:"lag,omitempty"`    // by group: records not yet processed
	NATS       string              `json:"nats"`
	NATSError  string              `json:"nats_error,omitempty"`
	Active     []revoke.Revocation `json:"active"`
	// Guards are those that the acks role knows; GuardsError says why they are not known.
	Guards          []coverage.Guard  `json:"guards"`
	GuardsError     string            `json:"guards_error,omitempty"`
	ClickHouse      string            `json:"clickhouse"`
	ClickHouseError string            `json:"clickhouse_error,omitempty"`
	Rows            map[string]uint64 `json:"rows,omitempty"`
	// Detectors are those of the process that serves http.addr; nil where none is asked.
	Detectors      *DetectorStatus `json:"detectors,omitempty"`
	DetectorsError string          `json:"detectors_error,omitempty"`
}

// statusWait bounds how long each part may take to answer.
const statusWait = 3 * time.Second

// ReadStatus asks each part of the node.
func ReadStatus(ctx context.Context, c Config, log *slog.Logger) Status {
	s := Status{Kafka: c.Kafka.Brokers, NATS: withoutPassword(c.NATS.URL), ClickHouse: c.ClickHouse.Addr}
	ask := func(f func(context.Context) error) string {
		ctx, cancel := context.WithTimeout(ctx, statusWait)
		defer cancel()
		if err := f(ctx); err != nil {
			return err.Error()
		}
		return ""
	}
	s.KafkaError = ask(func(ctx context.Context) error { return s.readKafka(ctx, c, log) })
	s.NATSError = ask(func(ctx context.Context) error { return s.readNATS(ctx, c, log) })
	if c.ClickHouse.Addr != "" {
		s.ClickHouseError = ask(func(ctx context.Context) error { return s.readClickHouse(ctx, c) })
	}
	if c.asksHTTP() {
		s.DetectorsError = ask(func(ctx context.Context) error { return s.readDetectors(ctx, c) })
	}
	return s
}

// asksHTTP says whether http.addr is that of a node which was found, or was said: the default is only where
// a process on this machine would serve.
func (c Config) asksHTTP() bool {
	return c.HTTP.Addr != "" && (c.found || c.from["http.addr"] != "")
}

// Healthy reports whether every part answered.
func (s Status) Healthy() bool {
	return s.KafkaError == "" && s.NATSError == "" && s.ClickHouseError == "" && s.DetectorsError == ""
}

func (s *Status) readKafka(ctx context.Context, c Config, log *slog.Logger) error {
	opts, err := c.KafkaOptions(log)
	if err != nil {
		return err
	}
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return err
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	var names []string
	for _, t := range pipeline.Topics() {
		names = append(names, t.Name)
	}
	starts, err := admin.ListStartOffsets(ctx, names...)
	if err != nil {
		return err
	}
	ends, err := admin.ListEndOffsets(ctx, names...)
	if err != nil {
		return err
	}
	s.Topics = map[string]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		start, _ := starts.Lookup(o.Topic, o.Partition)
		s.Topics[o.Topic] += o.Offset - start.Offset
	})
	s.Lag = map[string]int64{}
	for _, group := range []string{pipeline.Group, archive.DefaultGroup} {
		lags, err := admin.Lag(ctx, group)
		if err != nil {
			return err
		}
		if l, ok := lags[group]; ok && l.Error() == nil {
			s.Lag[group] = l.Lag.Total()
		}
	}
	return nil
}

func (s *Status) readNATS(ctx context.Context, c Config, log *slog.Logger) error {
	verifier, err := c.publicKeys() // whoever looks needs no private key
	if err != nil {
		return err
	}
	nc, err := c.ConnectNATS("status", log)
	if err != nil {
		return err
	}
	defer nc.Close()
	if s.Guards, err = coverage.Ask(ctx, nc, ""); err != nil {
		s.GuardsError = err.Error() // a node without the acks role is no broken one
	}
	s.Active, err = revoke.Active(ctx, nc, verifier, time.Now())
	return err
}

func (s *Status) readClickHouse(ctx context.Context, c Config) error {
	conn, err := clickhouse.Open(c.ClickHouseOptions())
	if err != nil {
		return fmt.Errorf("cannot open ClickHouse: %w", err)
	}
	defer conn.Close()
	s.Rows, err = archive.NewReader(conn).Counts(ctx)
	return err
}
