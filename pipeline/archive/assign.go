package archive

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// assigned starts a worker for each new partition, with the batch in doubt that the
// committed offset tells of. It runs before anything of those partitions is fetched.
func (a *Archiver) assigned(ctx context.Context, _ *kgo.Client, fetched *kmsg.OffsetFetchResponse) error {
	<-a.connected
	topics, err := kadm.NewClient(a.kafka).ListTopics(ctx, a.options.Topics...)
	if err != nil {
		return fmt.Errorf("cannot read the topics' ids: %w", err)
	}
	names := map[kadm.TopicID]string{}
	for _, t := range topics {
		names[t.ID] = t.Topic
	}
	for _, group := range fetched.Groups {
		for _, t := range group.Topics {
			name := t.Topic
			if name == "" {
				name = names[t.TopicID]
			}
			detail, ok := topics[name]
			if !ok || detail.Err != nil {
				return fmt.Errorf("cannot tell the id of topic %q", name)
			}
			for _, p := range t.Partitions {
				if p.ErrorCode != 0 {
					continue // the client says so as an error of the fetch
				}
				if err := a.start(place{name, p.Partition}, detail.ID, p.Offset, p.Metadata); err != nil {
					a.fail(err)
					return err
				}
			}
		}
	}
	return nil
}

func (a *Archiver) start(at place, id kadm.TopicID, committed int64, metadata *string) error {
	was := intent{end: -1}
	if metadata != nil {
		var err error
		if was, err = parseIntent(*metadata); err != nil {
			return fmt.Errorf("cannot archive %v: %w", at, err)
		}
	}
	w := newWorker(a, at, id)
	switch {
	case committed < 0:
	case was.log != "" && was.log != w.log:
		a.log.Warn("topic was made again; archiving the new one from its start", "topic", at.topic, "partition", at.partition)
		w.restart = true
	default:
		w.next, w.doubt, w.pushed = committed, was.end, committed
	}
	a.stop(a.remove(map[string][]int32{at.topic: {at.partition}}), false) // left over from a session that ended early
	a.kafka.ResumeFetchPartitions(map[string][]int32{at.topic: {at.partition}})
	a.mu.Lock()
	a.workers[at] = w
	a.count.Store(int32(len(a.workers)))
	a.mu.Unlock()
	go w.run()
	return nil
}

// adjust lets the partitions of a topic that was made again begin at their start.
func (a *Archiver) adjust(_ context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	for topic, partitions := range offsets {
		for partition := range partitions {
			if w := a.worker(place{topic, partition}); w != nil && w.restart {
				partitions[partition] = kgo.NewOffset().AtStart()
			}
		}
	}
	return offsets, nil
}

// revoked ends the workers of partitions that go to others, or of all when this member
// leaves. They finish the insert under way: the successor then has nothing to repeat. Until
// it returns nobody else gets the partitions, so no worker ever commits for another's.
func (a *Archiver) revoked(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
	a.stop(a.remove(partitions), true)
}

// lost ends the workers of partitions that others may have already.
func (a *Archiver) lost(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
	a.stop(a.remove(partitions), false)
}

// remove takes the workers of the partitions out; nil means all.
func (a *Archiver) remove(partitions map[string][]int32) []*worker {
	a.mu.Lock()
	defer a.mu.Unlock()
	var removed []*worker
	take := func(at place) {
		if w := a.workers[at]; w != nil {
			removed = append(removed, w)
			delete(a.workers, at)
			a.metrics.lag.DeleteLabelValues(at.topic, w.label)
		}
	}
	for topic, numbers := range partitions {
		for _, n := range numbers {
			take(place{topic, n})
		}
	}
	if partitions == nil {
		for at := range a.workers {
			take(at)
		}
	}
	a.count.Store(int32(len(a.workers)))
	return removed
}

// stop ends workers and waits for them. With grace they may finish what is under way.
func (a *Archiver) stop(workers []*worker, grace bool) {
	for _, w := range workers {
		close(w.stopping)
		if !grace {
			w.cancel()
		}
	}
	timer := time.NewTimer(revokeGrace)
	defer timer.Stop()
	for _, w := range workers {
		select {
		case <-w.done:
		case <-timer.C:
			for _, late := range workers {
				late.cancel()
			}
			<-w.done
		}
		w.cancel()
	}
}
