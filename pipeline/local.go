package pipeline

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/shard"
	"github.com/estop-project/estop/pipeline/statefile"
)

// local is the local file with a copy of a worker's part of the state topic: a restart reads it instead of the topic,
// and entities for which there is no room are read back from it. It is written when the topic has a checkpoint, so it
// is never ahead, and any place of it where it was torn is a checkpoint that the topic completes.
type local struct {
	file *statefile.File
	// others are the places of the last records that are no entity's, by key; the marker's is "".
	others map[string]int64
	broken bool // it could not be written, and is not written again before the next start
}

// mark is a marker in the local file: the file has what the topic has up to the marker's offset in the state topic.
type mark struct {
	offset int64
	marker []byte
}

func (m mark) record() statefile.Record {
	return statefile.Record{Value: append(binary.AppendVarint(nil, m.offset), m.marker...)}
}

func parseMark(b []byte) (mark, error) {
	offset, n := binary.Varint(b)
	if n <= 0 || offset < 0 {
		return mark{}, errMarker
	}
	return mark{offset, b[n:]}, nil
}

// errLocal is wrapped where the local file cannot be used. The topic has all that it has.
var errLocal = errors.New("the local state file is of no use")

// openLocal opens the worker's file, and gives what it holds to r. It returns nil where there is to be none.
func (w *worker) openLocal(ctx context.Context, r *restoring) (*local, error) {
	dir := w.detect.opt.StateDir
	if dir == "" {
		return nil, nil
	}
	owner, err := w.owner(ctx)
	if err != nil {
		return nil, err
	}
	l := &local{others: map[string]int64{}}
	path := filepath.Join(dir, w.topic+"-"+strconv.Itoa(int(w.partition)))
	var refused error // of the first record that is of no use
	l.file, err = statefile.Open(path, owner, func(rec statefile.Record, place int64) error {
		if refused == nil {
			refused = r.keep(l, rec, place)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errLocal, err)
	}
	if w.detect.opt.slack > 0 {
		l.file.Slack = w.detect.opt.slack
	}
	if refused != nil {
		return l, fmt.Errorf("%w: %s: %w", errLocal, path, refused)
	}
	return l, nil
}

// owner says whose state a file holds.
func (w *worker) owner(ctx context.Context) (string, error) {
	cl, err := kgo.NewClient(w.detect.opt.Kafka...)
	if err != nil {
		return "", fmt.Errorf("cannot ask for the state topic: %w", err)
	}
	defer cl.Close()
	topics, err := kadm.NewClient(cl).ListTopics(ctx, TopicState)
	if err == nil {
		err = topics[TopicState].Err
	}
	if err != nil {
		return "", fmt.Errorf("cannot ask for the state topic: %w", err)
	}
	return fmt.Sprintf("%s %s/%d", topics[TopicState].ID, w.topic, w.partition), nil
}

// write appends records and returns their places.
func (l *local) write(states []shard.EntityState, m *mark) ([]int64, error) {
	records := make([]statefile.Record, 0, len(states)+1)
	for _, st := range states {
		records = append(records, statefile.Record{Key: []byte(st.Key), Value: st.Value})
	}
	if m != nil {
		records = append(records, m.record())
	}
	places, err := l.file.Append(records...)
	if err != nil {
		return nil, err
	}
	for i, r := range records {
		l.note(string(r.Key), places[i])
	}
	return places[:len(states)], nil
}

// note remembers where the last record of a key lies that is no entity's.
func (l *local) note(key string, place int64) {
	if key == "" || int(key[0]) >= detector.Entities {
		l.others[key] = place
	}
}

// compact writes the file anew, without what others have followed: stored are the places of the shard's entities, and
// fresh those of the states that were written last. It changes both to the places in the new file.
func (l *local) compact(stored, fresh []int64) (*statefile.File, error) {
	places := append(append([]int64(nil), stored...), fresh...)
	keys := make([]string, 0, len(l.others))
	known := map[int64]bool{}
	for _, place := range fresh {
		known[place] = true
	}
	for key, place := range l.others {
		if !known[place] {
			keys, places = append(keys, key), append(places, place)
		}
	}
	file, moved, err := l.file.Compact(places)
	if err != nil {
		return nil, err
	}
	at := map[int64]int64{} // of the others among the fresh
	for i, place := range fresh {
		at[place] = moved[len(stored)+i]
	}
	for key, place := range l.others {
		if known[place] {
			l.others[key] = at[place]
		}
	}
	for i, key := range keys {
		l.others[key] = moved[len(stored)+len(fresh)+i]
	}
	copy(stored, moved)
	copy(fresh, moved[len(stored):])
	return file, nil
}

// fetch reads the state of an entity back.
func (w *worker) fetch(place int64) (shard.EntityState, error) {
	r, err := w.local.file.Read(place)
	return shard.EntityState{Key: string(r.Key), Value: r.Value}, err
}
