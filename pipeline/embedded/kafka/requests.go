package kafka

import (
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A topic's retention.ms and retention.bytes go under these names, which clients see when they describe the topic:
// under its own names kfake would act on them, and delete what nobody has read.
const (
	retentionMs    = "retention.ms"
	retentionBytes = "retention.bytes"
	renamed        = "embedded."
)

// interceptRequests changes requests that would harm the log on their way in. kfake handles them as changed.
func interceptRequests(c *kfake.Cluster) {
	on := func(key kmsg.Key, change func(kmsg.Request)) {
		c.ControlKey(int16(key), func(req kmsg.Request) (kmsg.Response, error, bool) {
			change(req)
			return nil, nil, false
		})
	}
	on(kmsg.CreateTopics, func(req kmsg.Request) {
		for _, t := range req.(*kmsg.CreateTopicsRequest).Topics {
			for i := range t.Configs {
				renameRetention(&t.Configs[i].Name)
			}
		}
	})
	on(kmsg.AlterConfigs, func(req kmsg.Request) {
		for _, r := range req.(*kmsg.AlterConfigsRequest).Resources {
			for i := range r.Configs {
				renameRetention(&r.Configs[i].Name)
			}
		}
	})
	on(kmsg.IncrementalAlterConfigs, func(req kmsg.Request) {
		for _, r := range req.(*kmsg.IncrementalAlterConfigsRequest).Resources {
			for i := range r.Configs {
				renameRetention(&r.Configs[i].Name)
			}
		}
	})
	on(kmsg.DeleteRecords, func(req kmsg.Request) {
		keepLastRecord(c, req.(*kmsg.DeleteRecordsRequest))
	})
}

func renameRetention(name *string) {
	if *name == retentionMs || *name == retentionBytes {
		*name = renamed + *name
	}
}

// keepLastRecord lets a deletion leave the last record of each partition: kfake finds the end of a log by its last
// batch, so an emptied partition would start again at offset 0 after a restart, and committed offsets would be lost.
func keepLastRecord(c *kfake.Cluster, req *kmsg.DeleteRecordsRequest) {
	for _, t := range req.Topics {
		for i := range t.Partitions {
			p := &t.Partitions[i]
			info := c.PartitionInfo(t.Topic, p.Partition)
			if info == nil || info.HighWatermark == 0 {
				continue
			}
			if p.Offset == -1 || p.Offset == info.HighWatermark {
				p.Offset = info.HighWatermark - 1
			}
		}
	}
}
