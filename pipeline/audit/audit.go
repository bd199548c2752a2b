// Package audit keeps the provable trail: every record of estop's topics is a leaf of a
// Merkle tree, the leaves of one subject are a hash chain, and the roots go into a
// transparency log with signed checkpoints, which strangers verify without trusting
// ClickHouse, Kafka or the operator. docs/audit.md fixes each byte of it,
// docs/decisions/0036-audit-trail.md says why it is so.
//
// One Writer owns a folder. It cuts each partition's consecutive offsets into chunks
// (chunk.go, leaves.go), keeps the last leaf of each trail in a sparse Merkle tree
// (trails.go), and appends the chunks to the log (log.go). The checkpoint is the point of
// no return: what was written before it and not signed did not happen.
package audit

import (
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/estop-project/estop/pipeline"
)

// Hash is a SHA-256 hash.
type Hash = tlog.Hash

// Group is the consumer group whose offsets say how far the log is. The log itself decides
// where the writer goes on; the offsets are for lag and retention.
const Group = "estop-audit"

// Topics are the topics whose records are leaves.
func Topics() []string {
	return []string{
		pipeline.TopicCalls, pipeline.TopicDetections, pipeline.TopicRevocations,
		pipeline.TopicDecisions, pipeline.TopicAcks, pipeline.TopicChanges,
	}
}

// compacted says whether Kafka may drop records of the topic that were repeated.
func compacted(topic string) bool {
	i := slices.IndexFunc(pipeline.Topics(), func(s pipeline.TopicSpec) bool { return s.Name == topic })
	return i >= 0 && pipeline.Topics()[i].Config["cleanup.policy"] == "compact"
}
