package kafka

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/twmb/franz-go/pkg/kfake"
)

// kfake compacts by removing a partition's files and then writing new ones: a kill between the two would lose the
// topic. So the broker keeps hard links to the old files until the new ones are whole, and puts them back at the
// next start if it finds them. Nothing may be appended between the links and the compaction; see exclusively.

func backupDir(dir string) string { return filepath.Join(dir, "compaction") }

func compacted(t *kfake.TopicInfo) bool {
	policy := t.Configs["cleanup.policy"]
	return policy != nil && strings.Contains(*policy, "compact")
}

var (
	errOpenTransaction = errors.New("a transaction is open")
	errTorn            = errors.New("compaction wrote less than it counted")
)

// compactedPartition is a partition of a compacted topic.
type compactedPartition struct {
	topic string
	*kfake.PartitionInfo
}

// compactIfDue compacts when a partition has doubled since the last time.
func (b *Broker) compactIfDue(ctx context.Context) error {
	names, err := b.compactedTopics(ctx)
	if err != nil || !b.compactionDue(names) {
		return err
	}
	var failed error
	err = b.exclusively(ctx, func() {
		failed = b.compact(names)
		if errors.Is(failed, errTorn) {
			// What kfake holds is wrong now, and the links on disk are right: end before anybody builds on it.
			// Nothing was acknowledged since the links were made.
			b.cluster.Close()
			go b.fail(failed)
		}
	})
	switch {
	case err != nil:
		return err
	case errors.Is(failed, errOpenTransaction):
		return nil // kfake would count its records as final; the next pass tries again
	case failed == nil:
		b.compactions.Add(1)
	}
	return failed
}

func (b *Broker) compactedTopics(ctx context.Context) ([]string, error) {
	topics, err := b.admin.ListTopics(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot list topics: %w", err)
	}
	var names []string
	for _, name := range topics.Names() {
		if info := b.cluster.TopicInfo(name); info != nil && compacted(info) {
			names = append(names, name)
		}
	}
	return names, nil
}

func (b *Broker) compactedPartitions(topics []string) []compactedPartition {
	var all []compactedPartition
	for _, topic := range topics {
		for _, p := range b.cluster.PartitionInfos(topic) {
			all = append(all, compactedPartition{topic, p})
		}
	}
	return all
}

func (b *Broker) compactionDue(topics []string) bool {
	for _, p := range b.compactedPartitions(topics) {
		before := b.compactedBytes[partitionDir("", p.topic, p.Partition)]
		if p.NumBytes > max(2*before, b.opts.Retention.segmentBytes()) {
			return true
		}
	}
	return false
}

// compact runs while no request is served.
func (b *Broker) compact(topics []string) error {
	partitions := b.compactedPartitions(topics)
	var need int64
	for _, p := range partitions {
		if p.LastStableOffset != p.HighWatermark {
			return errOpenTransaction
		}
		need += p.NumBytes
	}
	if err := needSpace(b.opts.Dir, need); err != nil {
		return err
	}
	if err := b.linkBackup(partitions); err != nil {
		return errors.Join(err, os.RemoveAll(backupDir(b.opts.Dir)+".new"))
	}
	b.cluster.Compact()
	if err := b.checkCompacted(partitions); err != nil {
		return err
	}
	return dropBackup(b.opts.Dir)
}

// linkBackup links the files of the partitions into the backup, which appears whole or not at all.
func (b *Broker) linkBackup(partitions []compactedPartition) error {
	backup := backupDir(b.opts.Dir)
	for _, p := range partitions {
		from := partitionDir(b.opts.Dir, p.topic, p.Partition)
		to := filepath.Join(backup+".new", filepath.Base(from))
		if err := os.MkdirAll(to, 0o700); err != nil {
			return fmt.Errorf("cannot make a backup: %w", err)
		}
		if err := linkFiles(from, to); err != nil {
			return err
		}
	}
	if err := os.Rename(backup+".new", backup); err != nil {
		return fmt.Errorf("cannot make a backup: %w", err)
	}
	return nil
}

// linkFiles links the segments and indexes of one folder into another.
func linkFiles(from, to string) error {
	segs, err := segments(from)
	if err != nil {
		return err
	}
	for _, s := range segs {
		for _, path := range []string{s.path, indexOf(s.path)} {
			if err := os.Link(path, filepath.Join(to, filepath.Base(path))); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("cannot link a segment: %w", err)
			}
		}
	}
	return nil
}

// checkCompacted compares what kfake counts with what is on disk: it logs failed writes and goes on.
func (b *Broker) checkCompacted(before []compactedPartition) error {
	for _, p := range before {
		now := b.cluster.PartitionInfo(p.topic, p.Partition)
		segs, err := segments(partitionDir(b.opts.Dir, p.topic, p.Partition))
		if err != nil {
			return errors.Join(errTorn, err)
		}
		var onDisk int64
		for _, s := range segs {
			onDisk += s.size
		}
		if onDisk != now.NumBytes || now.HighWatermark != p.HighWatermark {
			return fmt.Errorf("%w: partition %d of %q counts %d bytes, %d are on disk", errTorn, p.Partition, p.topic, now.NumBytes, onDisk)
		}
		b.compactedBytes[partitionDir("", p.topic, p.Partition)] = now.NumBytes
	}
	return nil
}

func dropBackup(dir string) error {
	backup := backupDir(dir)
	if err := os.Rename(backup, backup+".old"); err != nil { // at once: a part of a backup must never be restored
		return fmt.Errorf("cannot drop the backup: %w", err)
	}
	if err := os.RemoveAll(backup + ".old"); err != nil {
		return fmt.Errorf("cannot remove the dropped backup: %w", err)
	}
	return nil
}

// restoreCompaction undoes a compaction that was cut short. It may be cut short itself and run again.
func restoreCompaction(dir string) error {
	backup := backupDir(dir)
	if err := errors.Join(os.RemoveAll(backup+".new"), os.RemoveAll(backup+".old")); err != nil {
		return fmt.Errorf("cannot remove an old backup: %w", err)
	}
	folders, err := os.ReadDir(backup)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot read the backup: %w", err)
	}
	for _, folder := range folders {
		pdir := filepath.Join(partitionsDir(dir), folder.Name())
		if err := removeSegments(pdir); err != nil {
			return err
		}
		if err := linkFiles(filepath.Join(backup, folder.Name()), pdir); err != nil {
			return err
		}
	}
	return dropBackup(dir)
}

// removeSegments removes every file of a partition, indexes without their segment too.
func removeSegments(pdir string) error {
	for _, pattern := range []string{"*.dat", "*.idx", "snapshot.json"} {
		names, err := fs.Glob(os.DirFS(pdir), pattern)
		if err != nil {
			return fmt.Errorf("cannot list torn segments: %w", err)
		}
		for _, name := range names {
			if err := removeIfThere(filepath.Join(pdir, name)); err != nil {
				return fmt.Errorf("cannot remove a torn segment: %w", err)
			}
		}
	}
	return nil
}
