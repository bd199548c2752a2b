package kafka

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// logStart is where the log of a partition begins. kfake keeps it in memory alone and finds it again only at the
// grain of segments, so deleted records would come back after a kill. As Kafka does, the broker checkpoints it.
type logStart struct {
	TopicID   string `json:"topic_id"` // hex; a topic made anew under the same name starts at 0
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
}

func logStartFile(dir string) string { return filepath.Join(dir, "log-start.json") }

// checkpointLogStarts writes the starts, if they changed since the last call.
func (b *Broker) checkpointLogStarts(starts []logStart) error {
	raw, err := json.Marshal(starts)
	if err != nil {
		return fmt.Errorf("cannot encode the log starts: %w", err)
	}
	if string(raw) == b.checkpointed {
		return nil
	}
	if err := writeFileAtomic(logStartFile(b.opts.Dir), raw); err != nil {
		return err
	}
	b.checkpointed = string(raw)
	return nil
}

// applyLogStarts deletes again what was deleted before the last stop.
func (b *Broker) applyLogStarts() error {
	raw, err := os.ReadFile(logStartFile(b.opts.Dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot read the log starts: %w", err)
	}
	var starts []logStart
	if err := json.Unmarshal(raw, &starts); err != nil {
		return fmt.Errorf("cannot parse the log starts: %w", err)
	}
	for _, s := range starts {
		topic := b.cluster.TopicInfo(s.Topic)
		info := b.cluster.PartitionInfo(s.Topic, s.Partition)
		if topic == nil || info == nil || hex.EncodeToString(topic.TopicID[:]) != s.TopicID {
			continue
		}
		to := min(s.Offset, info.HighWatermark-1)
		if to <= info.LogStartOffset {
			continue
		}
		if err := b.cluster.DeleteRecords(s.Topic, s.Partition, to); err != nil {
			return fmt.Errorf("cannot set the log start of %q: %w", s.Topic, err)
		}
	}
	return nil
}
