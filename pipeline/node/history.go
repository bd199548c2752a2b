package node

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/archive"
	"github.com/estop-project/estop/pipeline/history"
)

// longestRead bounds how long ClickHouse may take to give all calls.
const longestRead = 24 * time.Hour

// KafkaHistory opens the calls that Kafka still keeps.
func (c Config) KafkaHistory(ctx context.Context, log *slog.Logger) (*history.Kafka, error) {
	opts, err := c.KafkaOptions(log)
	if err != nil {
		return nil, err
	}
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("cannot make a Kafka client: %w", err)
	}
	defer cl.Close()
	if err := reach(ctx, cl); err != nil {
		return nil, err
	}
	return history.OpenKafka(ctx, opts)
}

// ClickHouseHistory opens the calls that ClickHouse keeps.
func (c Config) ClickHouseHistory(ctx context.Context, q archive.CallsQuery) (*history.ClickHouse, io.Closer, error) {
	opts := c.ClickHouseOptions()
	opts.ReadTimeout = longestRead
	conn, err := c.openClickHouse(ctx, opts)
	if err != nil {
		return nil, nil, err
	}
	h, err := history.OpenClickHouse(ctx, archive.NewReader(conn), q)
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	return h, conn, nil
}

// Detection returns a detection that ClickHouse keeps; ok is false where there is none of that id.
func (c Config) Detection(ctx context.Context, id string) (d detector.Detection, ok bool, err error) {
	conn, err := c.openClickHouse(ctx, c.ClickHouseOptions())
	if err != nil {
		return d, false, err
	}
	defer conn.Close()
	return archive.NewReader(conn).Detection(ctx, id)
}

func (c Config) openClickHouse(ctx context.Context, opts *clickhouse.Options) (clickhouse.Conn, error) {
	if c.ClickHouse.Addr == "" {
		return nil, fmt.Errorf("%w: no ClickHouse is configured", ErrNoNode)
	}
	conn, err := clickhouse.Open(opts)
	if err != nil {
		return nil, fmt.Errorf("cannot open ClickHouse: %w", err)
	}
	ping, cancel := context.WithTimeout(ctx, answerWait)
	defer cancel()
	if err := conn.Ping(ping); err != nil {
		conn.Close()
		return nil, fmt.Errorf("%w: ClickHouse does not answer: %w", ErrNoNode, err)
	}
	return conn, nil
}
