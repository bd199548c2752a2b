package kafka

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
)

// recoverDir makes the directory right for kfake to open after a kill. kfake writes each batch and each commit with
// a write call before it acknowledges, so the kernel has all of it; what a kill can leave is the end of a file:
//
//   - a torn entry at the end of groups.log or pids.log. kfake skips it but appends behind it, where the next start
//     does not read. It is cut off.
//   - a batch without its index entry, or with a part of one: all later entries would belong to the wrong batch, and
//     a record of an open transaction would show as committed. The entry is written anew from the batch.
//   - the sequence numbers of idempotent producers, which kfake saves at a clean stop only: a producer's retry
//     over the restart would be stored twice. They are read off the batches.
//
// A torn batch is kfake's own business: it checks the CRC and cuts.
func recoverDir(dir string) error {
	if err := restoreCompaction(dir); err != nil {
		return err
	}
	if _, err := os.Stat(sequencesFile(dir)); err == nil {
		return nil // the last stop was a clean one: see forgetCleanStop
	}
	for _, name := range []string{"groups.log", "pids.log"} {
		if err := cutTornEntry(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	topics, err := storedTopics(dir)
	if err != nil || topics == nil {
		return err
	}
	var all []sequences
	for _, t := range topics {
		for p := range t.Partitions {
			found, err := recoverPartition(partitionDir(dir, t.Name, p))
			if err != nil {
				return fmt.Errorf("cannot recover partition %d of %q: %w", p, t.Name, err)
			}
			if t.compacted() {
				continue // compaction removes records from batches, so their sequences say nothing
			}
			for _, s := range found {
				s.Topic, s.Partition = t.Name, p
				all = append(all, *s)
			}
		}
	}
	return writeSequences(dir, all)
}

// forgetCleanStop removes what kfake saved at the last stop. It is true for the moment of that stop only: found after
// a later kill it would be taken for the present.
func forgetCleanStop(dir string) error {
	if err := removeIfThere(sequencesFile(dir)); err != nil {
		return fmt.Errorf("cannot remove the sequences of the last stop: %w", err)
	}
	snapshots, err := fs.Glob(os.DirFS(partitionsDir(dir)), "*/snapshot.json")
	if err != nil {
		return fmt.Errorf("cannot list snapshots: %w", err)
	}
	for _, name := range snapshots {
		if err := removeIfThere(filepath.Join(partitionsDir(dir), name)); err != nil {
			return fmt.Errorf("cannot remove the snapshot of the last stop: %w", err)
		}
	}
	return nil
}

func cutTornEntry(path string) error {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot read %q: %w", path, err)
	}
	whole := wholeEntries(raw)
	if whole == len(raw) {
		return nil
	}
	if err := os.Truncate(path, int64(whole)); err != nil {
		return fmt.Errorf("cannot cut a torn entry: %w", err)
	}
	return nil
}

// recoverPartition completes the indexes of a partition and returns its producers' sequences.
func recoverPartition(pdir string) (map[int64]*sequences, error) {
	segs, err := segments(pdir)
	if err != nil {
		return nil, err
	}
	found := make(map[int64]*sequences)
	for _, s := range segs {
		raw, err := os.ReadFile(s.path)
		if err != nil {
			return nil, fmt.Errorf("cannot read a segment: %w", err)
		}
		batches := readBatches(raw)
		if err := completeIndex(indexOf(s.path), batches); err != nil {
			return nil, err
		}
		for _, b := range batches {
			if b.producerID < 0 || b.attributes&attrControl != 0 {
				continue
			}
			if found[b.producerID] == nil {
				found[b.producerID] = &sequences{ProducerID: b.producerID}
			}
			found[b.producerID].add(b)
		}
	}
	return found, nil
}

// completeIndex appends the entries that the index of these batches lacks. Those that it has stay: they know of
// transactions that have ended since.
func completeIndex(path string, batches []batch) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("cannot open an index: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("cannot look at an index: %w", err)
	}
	whole := min(int(info.Size()/indexEntrySize), len(batches))
	if err := f.Truncate(int64(whole) * indexEntrySize); err != nil {
		return fmt.Errorf("cannot cut an index: %w", err)
	}
	var missing []byte
	for _, b := range batches[whole:] {
		e := indexEntry(b)
		missing = append(missing, e[:]...)
	}
	if _, err := f.WriteAt(missing, int64(whole)*indexEntrySize); err != nil {
		return fmt.Errorf("cannot complete an index: %w", err)
	}
	return nil
}

// sequences is what kfake remembers of one producer in one partition: its last five batches.
type sequences struct {
	ProducerID int64       `json:"pid"`
	Topic      string      `json:"topic"`
	Partition  int32       `json:"partition"`
	Entries    [5]sequence `json:"entries"`
	Count      uint8       `json:"count"`
	At         uint8       `json:"at"` // where the next entry goes
	Epoch      int16       `json:"epoch"`
	Seen       bool        `json:"seen"`
	Next       int32       `json:"next_seq"`
}

type sequence struct {
	First  int32 `json:"first_seq"`
	Next   int32 `json:"next_seq"`
	Offset int64 `json:"offset"`
}

func (s *sequences) add(b batch) {
	if !s.Seen || s.Epoch != b.producerEpoch {
		s.Entries, s.Count, s.At = [5]sequence{}, 0, 0
		s.Seen, s.Epoch = true, b.producerEpoch
	}
	s.Next = int32((int64(b.firstSequence) + int64(b.records)) % math.MaxInt32)
	s.Entries[s.At] = sequence{First: b.firstSequence, Next: s.Next, Offset: b.firstOffset}
	s.At = (s.At + 1) % uint8(len(s.Entries))
	s.Count = min(s.Count+1, uint8(len(s.Entries)))
}

func writeSequences(dir string, all []sequences) error {
	raw, err := json.Marshal(struct {
		Version int         `json:"version"`
		Windows []sequences `json:"windows"`
	}{1, all})
	if err != nil {
		return fmt.Errorf("cannot encode the sequences: %w", err)
	}
	return writeFileAtomic(sequencesFile(dir), raw)
}
