package pipeline

import (
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Group is the consumer group of the detect role.
const Group = "estop-detect"

// The bounds of what is sent at once. A batch fits into a message before it is compressed, so
// it fits after.
const (
	maxBatch   = 3 << 19 // bytes; the largest call and its headers fit
	maxJSON    = 1 << 20 // bytes of a record that is written as JSON
	maxMessage = 2 << 20 // bytes; what the topics take
)

// reconnectOptions find a broker again soon after it died.
func reconnectOptions() []kgo.Opt {
	return []kgo.Opt{kgo.MetadataMinAge(100 * time.Millisecond), kgo.AlwaysRetryEOF()}
}

// ProducerOptions are the settings of every producer in estop: nothing waits for a batch
// to fill, nothing is acknowledged before all replicas have it, and nothing is doubled by
// a retry. State records go to the partition they say, all others by their key.
func ProducerOptions() []kgo.Opt {
	return append(reconnectOptions(),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerLinger(0),
		kgo.ProducerBatchCompression(kgo.Lz4Compression(), kgo.NoCompression()),
		kgo.ProducerBatchMaxBytes(maxBatch),
		kgo.MaxBufferedRecords(1<<18),
		kgo.RecordPartitioner(partitioner{kgo.StickyKeyPartitioner(nil), kgo.ManualPartitioner()}),
	)
}

// consumerOptions fetch as soon as one byte is there. A session may be silent for 10 s
// before its partitions move.
func consumerOptions() []kgo.Opt {
	return append(reconnectOptions(),
		kgo.ConsumerGroup(Group),
		kgo.ConsumeTopics(TopicCalls, TopicExchange),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(),
		kgo.FetchMinBytes(1),
		kgo.FetchMaxWait(500*time.Millisecond),
		kgo.FetchMaxBytes(32<<20),
		kgo.FetchMaxPartitionBytes(8<<20),
		kgo.SessionTimeout(10*time.Second),
		kgo.HeartbeatInterval(time.Second),
		kgo.RebalanceTimeout(30*time.Second),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
	)
}

// partitioner places state records by hand and all others by key.
type partitioner struct{ byKey, byHand kgo.Partitioner }

func (p partitioner) ForTopic(topic string) kgo.TopicPartitioner {
	if topic == TopicState {
		return p.byHand.ForTopic(topic)
	}
	return p.byKey.ForTopic(topic)
}
