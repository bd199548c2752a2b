// Package pipeline moves calls: out of Kafka, through the shards that judge them, and out
// again as detections over Kafka and revocations over NATS. How an offset becomes safe to
// commit is told in worker.go.
package pipeline

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// The topics.
const (
	TopicCalls       = "estop.calls"       // key tenant/agent; what agents did
	TopicExchange    = "estop.exchange"    // key entity; calls, and signs of what they led to, on their way to the shard of a grouping
	TopicState       = "estop.state"       // compacted; key source topic and entity
	TopicFeatures    = "estop.features"    // key source topic/partition; samples for the archive
	TopicDetections  = "estop.detections"  // key tenant/entity
	TopicRevocations = "estop.revocations" // key tenant/scope/subject
	TopicDecisions   = "estop.decisions"   // key tenant/scope/subject; what the interlock held back, what people decided of it, and what guards did not confirm
	TopicAcks        = "estop.acks"        // key revocation id
	TopicGuards      = "estop.guards"      // compacted; key guard; what guards say of themselves
	TopicChanges     = "estop.changes"     // key id; who changed which detector
	TopicDLQ         = "estop.calls.dlq"   // key source place; what could not be decoded
	TopicNotifyDLQ   = "estop.notify.dlq"  // key sink/event; what a sink did not take
)

// TopicSpec is a topic as estop makes it on start. A topic that exists is left as it is.
type TopicSpec struct {
	Name    string
	Config  map[string]string
	Sharded bool // has as many partitions as the calls; others have one
}

// Topics returns the topics and their settings.
func Topics() []TopicSpec {
	days := func(n int) string { return strconv.Itoa(n * int(24*time.Hour/time.Millisecond)) }
	config := func(policy string) map[string]string {
		return map[string]string{"cleanup.policy": policy, "compression.type": "producer", "max.message.bytes": strconv.Itoa(maxMessage)}
	}
	keep := func(n int) map[string]string {
		c := config("delete")
		c["retention.ms"] = days(n)
		return c
	}
	calls := keep(7)
	// The broker's clock dates the append: it is the bound on calls from the future, and
	// those who are watched must not choose it.
	calls["message.timestamp.type"] = "LogAppendTime"
	return []TopicSpec{
		{TopicCalls, calls, true},
		{TopicExchange, keep(1), true},
		{TopicState, config("compact"), true},
		{TopicFeatures, keep(2), true},
		{TopicDetections, keep(30), false},
		{TopicRevocations, keep(30), false},
		{TopicDecisions, keep(30), false},
		{TopicAcks, keep(30), false},
		{TopicGuards, config("compact"), false},
		// Kept for good: each change has a key of its own, so only repetitions are compacted away.
		{TopicChanges, config("compact"), false},
		{TopicDLQ, keep(30), false},
		{TopicNotifyDLQ, keep(30), false},
	}
}

// EnsureTopics makes the topics that are missing.
func EnsureTopics(ctx context.Context, cl *kgo.Client, partitions int32, replicas int16) error {
	admin := kadm.NewClient(cl)
	for _, spec := range Topics() {
		n := int32(1)
		if spec.Sharded {
			n = partitions
		}
		config := make(map[string]*string, len(spec.Config))
		for k, v := range spec.Config {
			config[k] = &v
		}
		_, err := admin.CreateTopic(ctx, n, replicas, config, spec.Name)
		if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			return fmt.Errorf("cannot make topic %q: %w", spec.Name, err)
		}
	}
	return nil
}
