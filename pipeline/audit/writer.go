package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/mod/sumdb/tlog"
)

// The bounds of chunks.
const (
	DefaultMaxLeaves = 1 << 14
	DefaultMaxWait   = 10 * time.Second

	maxPending  = 1 << 16 // leaves of all partitions
	stateEvery  = 1 << 10 // chunks between two files of trails
	freshHashes = 1 << 14 // kept before the tiles are read again
)

// WriterOptions say where a log is and how large its chunks are.
type WriterOptions struct {
	Dir string
	Key string // file of the log's private key
	// A chunk is cut when it has MaxLeaves leaves, or its first record has waited for MaxWait.
	MaxLeaves int
	MaxWait   time.Duration
	Clock     func() time.Time // default: time.Now
}

// Writer appends to a log. Once a method has failed the writer is done with: another one
// goes on at the last checkpoint.
type Writer struct {
	options WriterOptions
	store   *store
	lock    *os.File
	signer  *signer

	now     *state // behind the last checkpoint
	root    Hash
	bundle  []byte         // entries of the last tile, which is not full
	fresh   map[int64]Hash // hashes of the tree since it was opened
	onDisk  tlog.HashReader
	pending map[source]*pending
	leaves  int // in pending
	oldest  time.Time
	sealer  sealer
	kept    int64 // size of the last file of trails
	failed  error
}

// ErrLocked says that another writer has the log.
var ErrLocked = errors.New("another process writes this audit log")

// OpenWriter opens a log for appending, at its last checkpoint. A log has one writer.
func OpenWriter(o WriterOptions) (*Writer, error) {
	return openWriter(o, openStore(o.Dir))
}

func openWriter(o WriterOptions, store *store) (*Writer, error) {
	if o.MaxLeaves <= 0 {
		o.MaxLeaves = DefaultMaxLeaves
	}
	if o.MaxWait <= 0 {
		o.MaxWait = DefaultMaxWait
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	w := &Writer{options: o, store: store, pending: map[source]*pending{}}
	var err error
	if w.signer, err = loadSigner(o.Key, LogRole); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("cannot make the folder of the audit log: %w", err)
	}
	if w.lock, err = lockFolder(o.Dir); err != nil {
		return nil, err
	}
	if err := w.load(); err != nil {
		w.lock.Close()
		return nil, err
	}
	return w, nil
}

// load reads what the last checkpoint says.
func (w *Writer) load() error {
	w.fresh, w.now, w.root, w.bundle = map[int64]Hash{}, newState(), Hash{}, nil
	w.onDisk = tlog.HashReaderFunc(func([]int64) ([]Hash, error) { return nil, errors.New("the log is empty") })
	if err := w.finish(); err != nil {
		return err
	}
	log, err := OpenLog(folder(w.store.dir), &w.signer.verifier)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if w.now, err = log.state(); err != nil {
		return err
	}
	w.root, w.onDisk, w.kept = log.Root, log.hashes, w.now.size
	for i := w.now.size - w.now.size%tileWidth; i < w.now.size; i++ {
		_, text, err := log.Entry(i)
		if err == nil {
			w.bundle, err = appendEntry(w.bundle, text)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// finish publishes a checkpoint that was signed and not published any more.
func (w *Writer) finish() error {
	files := folder(w.store.dir)
	next, err := files.Read(nextFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot read the checkpoint that was signed last: %w", err)
	}
	signed, err := ParseCheckpoint(next, &w.signer.verifier)
	if err != nil {
		return err
	}
	log, err := OpenLog(files, &w.signer.verifier)
	if err == nil && log.Size >= signed.Size {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := w.store.write(checkpointFile, next); err != nil {
		return err
	}
	return w.store.sync()
}

// Close releases the log. What was not published is forgotten: Kafka still has it.
func (w *Writer) Close() error {
	var err error
	if w.failed == nil && w.now.size > w.kept {
		err = w.saveState()
	}
	w.failed = errors.New("the writer was closed")
	return errors.Join(err, w.lock.Close())
}

// Size returns how many chunks the log has.
func (w *Writer) Size() int64 { return w.now.size }

// Next returns the offset that the log goes on at in a partition; ok is false where it has
// nothing of it.
func (w *Writer) Next(topicID [16]byte, partition int32) (offset int64, ok bool) {
	offset, ok = w.now.positions[source{topicID, partition}]
	return offset, ok
}

// Add takes the next record of a partition into a chunk. One that the log has already is
// passed over.
func (w *Writer) Add(topicID [16]byte, r *kgo.Record) {
	at := source{topicID, r.Partition}
	p := w.pending[at]
	if p == nil {
		first, known := w.now.positions[at]
		if !known {
			first = r.Offset
		}
		p = &pending{topic: r.Topic, id: topicID, partition: r.Partition, first: first, next: first, local: map[string]int{}}
		p.began = w.options.Clock()
		if len(w.pending) == 0 {
			w.oldest = p.began
		}
		w.pending[at] = p
	}
	if r.Offset < p.next {
		return
	}
	before := len(p.leaves)
	w.sealer.add(p, r)
	w.leaves += len(p.leaves) - before
}

// Due says how long the pending chunks may still wait; 0 or less: not at all.
func (w *Writer) Due() time.Duration {
	if w.leaves == 0 {
		return w.options.MaxWait
	}
	if w.leaves >= maxPending {
		return 0
	}
	for _, p := range w.pending {
		if len(p.leaves) >= w.options.MaxLeaves {
			return 0
		}
	}
	return w.options.MaxWait - w.options.Clock().Sub(w.oldest)
}

// Publish closes the pending chunks and publishes a checkpoint of the log with them. After
// it has failed, nothing of them was published, or all.
func (w *Writer) Publish() error {
	if w.failed != nil {
		return fmt.Errorf("cannot go on with the audit log: %w", w.failed)
	}
	if w.leaves == 0 {
		return nil
	}
	err := w.publish()
	w.failed = err
	return err
}

func (w *Writer) publish() error {
	size := w.now.size
	var entries [][]byte
	for at, p := range w.pending {
		if len(p.leaves) == 0 {
			continue
		}
		c, leaves := p.close(w.now.trails, size)
		if err := w.store.write(leavesPath(size), leaves); err != nil {
			return err
		}
		text := c.Text()
		hashes, err := tlog.StoredHashes(size, text, tlog.HashReaderFunc(w.readHashes))
		if err != nil {
			return fmt.Errorf("cannot append to the audit log: %w", err)
		}
		for i, h := range hashes {
			w.fresh[tlog.StoredHashIndex(0, size)+int64(i)] = h
		}
		entries = append(entries, text)
		w.now.positions[at] = p.next
		size++
	}
	full, err := w.writeTiles(size, entries)
	if err != nil {
		return err
	}
	if err := w.store.sync(); err != nil {
		return err
	}
	if err := w.sign(size); err != nil {
		return err
	}
	clear(w.pending)
	w.leaves = 0
	return w.tidy(full)
}

// writeTiles writes the tiles that a log of this size has, and the one in front has not. It
// returns the folders of parts of tiles that are full now.
func (w *Writer) writeTiles(size int64, entries [][]byte) (full []string, err error) {
	reader := tlog.HashReaderFunc(w.readHashes)
	put := func(t tlog.Tile, data []byte) error {
		if t.W == tileWidth {
			full = append(full, tilePath(t)+".p")
		}
		return w.store.write(tilePath(t), data)
	}
	for _, t := range tlog.NewTiles(tileHeight, w.now.size, size) {
		data, err := tlog.ReadTileData(t, reader)
		if err != nil {
			return nil, fmt.Errorf("cannot make a tile of the audit log: %w", err)
		}
		if err := put(t, data); err != nil {
			return nil, err
		}
	}
	for i, e := range entries {
		if w.bundle, err = appendEntry(w.bundle, e); err != nil {
			return nil, err
		}
		n := w.now.size + int64(i) + 1
		t := tlog.Tile{H: tileHeight, L: -1, N: (n - 1) / tileWidth, W: int((n-1)%tileWidth) + 1}
		if t.W == tileWidth || n == size {
			if err := put(t, w.bundle); err != nil {
				return nil, err
			}
		}
		if t.W == tileWidth {
			w.bundle = nil
		}
	}
	return full, nil
}

// nextFile has the checkpoint that is about to be published. It is durable before anyone
// can see it: what a reader saw must not be forgotten, and signed anew with other chunks,
// when the power fails.
const nextFile = "checkpoint.next"

// sign publishes the checkpoint: from here on the log has the chunks.
func (w *Writer) sign(size int64) error {
	root, err := tlog.TreeHash(size, tlog.HashReaderFunc(w.readHashes))
	if err != nil {
		return fmt.Errorf("cannot compute the root of the audit log: %w", err)
	}
	msg, err := w.signer.checkpoint(size, root)
	if err != nil {
		return err
	}
	for _, file := range []string{nextFile, checkpointFile} {
		if err := w.store.write(file, msg); err != nil {
			return err
		}
		if err := w.store.sync(); err != nil {
			return err
		}
	}
	w.now.size, w.root = size, root
	return nil
}

// tidy removes what a full tile replaces, keeps how far the trails are, and forgets hashes
// that tiles have.
func (w *Writer) tidy(full []string) error {
	for _, path := range full {
		if err := w.store.remove(path); err != nil {
			return fmt.Errorf("cannot remove the parts of a full tile: %w", err)
		}
	}
	if w.now.size-w.kept >= stateEvery {
		if err := w.saveState(); err != nil {
			return err
		}
	}
	if len(w.fresh) > freshHashes {
		w.onDisk = tlog.TileHashReader(tlog.Tree{N: w.now.size, Hash: w.root}, tiles{folder(w.store.dir)})
		clear(w.fresh)
	}
	return nil
}

// saveState writes down how far the trails are. The file before stays: proofs at an older
// checkpoint begin there.
func (w *Writer) saveState() error {
	old, err := folder(w.store.dir).Read(stateFile)
	if err == nil {
		err = w.store.write(stateFileOld, old)
	} else if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err == nil {
		err = w.store.write(stateFile, w.now.encode())
	}
	if err == nil {
		err = w.store.sync()
	}
	if err != nil {
		return fmt.Errorf("cannot keep how far the trails are: %w", err)
	}
	w.kept = w.now.size
	return nil
}

// readHashes gives hashes of the tree: those of late from memory, the others from tiles.
func (w *Writer) readHashes(indexes []int64) ([]Hash, error) {
	all := make([]Hash, len(indexes))
	var missing []int64
	var places []int
	for i, index := range indexes {
		h, ok := w.fresh[index]
		if !ok {
			missing, places = append(missing, index), append(places, i)
			continue
		}
		all[i] = h
	}
	if len(missing) == 0 {
		return all, nil
	}
	hashes, err := w.onDisk.ReadHashes(missing)
	if err != nil {
		return nil, err
	}
	for i, h := range hashes {
		all[places[i]] = h
	}
	return all, nil
}

// Pending returns the offset that the writer goes on at in a partition, with what is not
// published yet.
func (w *Writer) Pending(topicID [16]byte, partition int32) (offset int64, ok bool) {
	if p := w.pending[source{topicID, partition}]; p != nil {
		return p.next, true
	}
	return w.Next(topicID, partition)
}
