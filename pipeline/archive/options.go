package archive

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
)

// The defaults of Options.
const (
	DefaultGroup         = "estop-archive"
	DefaultMaxRows       = 50_000
	DefaultMaxBytes      = 32 << 20
	DefaultMaxWait       = time.Second
	DefaultMaxBuffered   = 256 << 20
	DefaultMaxInserts    = 4
	DefaultInsertTimeout = time.Minute
)

// Options says what an Archiver connects to and how large its batches are. Kafka and
// ClickHouse are needed; the rest has defaults.
type Options struct {
	// Kafka says how to reach Kafka: seed brokers, TLS, SASL. It may override settings of
	// the consumer, but not the group, the topics and the callbacks.
	Kafka []kgo.Opt
	// ClickHouse says how to reach ClickHouse. Auth.Database is made if it is missing.
	ClickHouse clickhouse.Options
	// Topics to archive, out of Topics(). Default: all.
	Topics []string
	// Group is the consumer group. Its committed offsets belong to one database.
	Group string

	// A batch is cut when it has MaxRows rows or MaxBytes bytes, or when its first record
	// has waited for MaxWait.
	MaxRows  int
	MaxBytes int
	MaxWait  time.Duration
	// MaxBuffered bounds the bytes that were fetched and are in no batch yet. Past it
	// nothing more is fetched: it waits in Kafka.
	MaxBuffered int
	// MaxInserts bounds the inserts at the same time.
	MaxInserts int
	// InsertTimeout bounds one attempt to insert.
	InsertTimeout time.Duration

	Clock      func() time.Time      // default: time.Now
	Logger     *slog.Logger          // default: slog.Default()
	Registerer prometheus.Registerer // default: nobody collects
}

func (o Options) withDefaults() (Options, error) {
	if len(o.Kafka) == 0 {
		return o, errors.New("cannot archive: Options.Kafka says not where Kafka is")
	}
	if len(o.ClickHouse.Addr) == 0 {
		return o, errors.New("cannot archive: Options.ClickHouse says not where ClickHouse is")
	}
	if len(o.Topics) == 0 {
		o.Topics = Topics()
	}
	for _, topic := range o.Topics {
		if projections[topic] == nil {
			return o, fmt.Errorf("cannot archive topic %q: no table is known for it", topic)
		}
	}
	if o.Group == "" {
		o.Group = DefaultGroup
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	orDefault(&o.MaxRows, DefaultMaxRows)
	orDefault(&o.MaxBytes, DefaultMaxBytes)
	orDefault(&o.MaxWait, DefaultMaxWait)
	orDefault(&o.MaxBuffered, DefaultMaxBuffered)
	orDefault(&o.MaxInserts, DefaultMaxInserts)
	orDefault(&o.InsertTimeout, DefaultInsertTimeout)
	// One connection for each insert, and one for each check of a batch in doubt.
	orDefault(&o.ClickHouse.MaxOpenConns, 2*o.MaxInserts)
	orDefault(&o.ClickHouse.MaxIdleConns, o.MaxInserts)
	o.ClickHouse.Settings = maps.Clone(o.ClickHouse.Settings)
	return o, nil
}

func orDefault[T int | time.Duration](value *T, otherwise T) {
	if *value <= 0 {
		*value = otherwise
	}
}

// consumer returns the client's options. The session may be silent for 45 s: an archiver
// that pauses shortly need not lose its partitions, nothing waits for it.
func (a *Archiver) consumer() []kgo.Opt {
	o := []kgo.Opt{
		kgo.FetchMaxBytes(16 << 20),
		kgo.FetchMaxPartitionBytes(2 << 20),
		kgo.FetchMaxWait(500 * time.Millisecond),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.MaxConcurrentFetches(2),
		kgo.SessionTimeout(sessionTimeout),
		kgo.RebalanceTimeout(rebalanceTimeout),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerBatchMaxBytes(8 << 20),
	}
	o = append(o, a.options.Kafka...)
	return append(o,
		kgo.ConsumerGroup(a.options.Group),
		kgo.ConsumeTopics(a.options.Topics...),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(),
		kgo.OnOffsetsFetched(a.assigned),
		kgo.AdjustFetchOffsetsFn(a.adjust),
		kgo.OnPartitionsRevoked(a.revoked),
		kgo.OnPartitionsLost(a.lost),
	)
}

// The times of the group. revokeGrace must stay well below rebalanceTimeout, or a slow
// insert costs the membership.
const (
	sessionTimeout   = 45 * time.Second
	rebalanceTimeout = time.Minute
	revokeGrace      = 15 * time.Second
)
