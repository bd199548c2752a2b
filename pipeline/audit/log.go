package audit

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// The files of a log.
const (
	checkpointFile = "checkpoint"
	tileHeight     = 8
	tileWidth      = 1 << tileHeight
)

// tilePath returns where C2SP wants a tile; level -1 is that of the entries.
func tilePath(t tlog.Tile) string {
	path := strings.TrimPrefix(t.Path(), "tile/8/")
	if entries, ok := strings.CutPrefix(path, "data/"); ok {
		path = "entries/" + entries
	}
	return "tile/" + path
}

// leavesPath returns where the leaves of a chunk are.
func leavesPath(index int64) string {
	return "leaves/" + strings.TrimPrefix(tlog.Tile{H: tileHeight, L: -1, N: index, W: tileWidth}.Path(), "tile/8/data/")
}

// ErrTampered says that a file of the log is not what its checkpoint commits to.
var ErrTampered = errors.New("the log is not what its checkpoint commits to")

// Log reads a log at one checkpoint. Everything that it returns was checked against that.
type Log struct {
	Checkpoint
	files  Files
	hashes tlog.HashReader
	tile   int64 // the entries that are kept: the number of their tile
	kept   [][]byte
}

// OpenLog opens a log at its newest checkpoint.
func OpenLog(files Files, key note.Verifier, witnesses ...note.Verifier) (*Log, error) {
	msg, err := files.Read(checkpointFile)
	if err != nil {
		return nil, fmt.Errorf("cannot read the checkpoint of the log: %w", err)
	}
	c, err := ParseCheckpoint(msg, key, witnesses...)
	if err != nil {
		return nil, err
	}
	return c.Open(files), nil
}

// Open opens a log at this checkpoint.
func (c Checkpoint) Open(files Files) *Log {
	return &Log{Checkpoint: c, files: files, hashes: tlog.TileHashReader(c.tree(), tiles{files}), tile: -1}
}

// tiles gives tiles to the library that checks them.
type tiles struct{ files Files }

func (t tiles) Height() int { return tileHeight }

func (t tiles) SaveTiles([]tlog.Tile, [][]byte) {}

func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	all := make([][]byte, len(wanted))
	for i, tile := range wanted {
		b, err := readTile(t.files, tile)
		if err != nil {
			return nil, err
		}
		if len(b) != tile.W*tlog.HashSize {
			return nil, fmt.Errorf("%w: %s has not its size", ErrTampered, tilePath(tile))
		}
		all[i] = b
	}
	return all, nil
}

// readTile reads a tile, or its part of the full one where it is gone.
func readTile(files Files, tile tlog.Tile) ([]byte, error) {
	b, err := files.Read(tilePath(tile))
	if errors.Is(err, fs.ErrNotExist) && tile.W < tileWidth {
		whole := tile
		whole.W = tileWidth
		if full, err := files.Read(tilePath(whole)); err == nil {
			return cutTile(full, tile)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read a tile of the log: %w", err)
	}
	return b, nil
}

// cutTile returns the beginning of a full tile.
func cutTile(full []byte, to tlog.Tile) ([]byte, error) {
	end := to.W * tlog.HashSize
	if to.L < 0 {
		_, rest, err := splitEntries(full, to.W)
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrTampered, tilePath(to), err)
		}
		end = len(full) - len(rest)
	}
	if end > len(full) {
		return nil, fmt.Errorf("%w: %s is too short", ErrTampered, tilePath(to))
	}
	return full[:end], nil
}

// Entry returns the chunk with this index, and its text.
func (l *Log) Entry(index int64) (Chunk, []byte, error) {
	if index < 0 || index >= l.Size {
		return Chunk{}, nil, fmt.Errorf("the log has no chunk %d: it has %d", index, l.Size)
	}
	if n := index / tileWidth; n != l.tile {
		if err := l.readEntries(n); err != nil {
			return Chunk{}, nil, err
		}
	}
	text := l.kept[index%tileWidth]
	c, err := ParseChunk(text)
	return c, text, err
}

// readEntries reads the entries of a tile and checks each against the tree.
func (l *Log) readEntries(n int64) error {
	tile := tlog.Tile{H: tileHeight, L: -1, N: n, W: int(min(tileWidth, l.Size-n*tileWidth))}
	b, err := readTile(l.files, tile)
	if err != nil {
		return err
	}
	entries, rest, err := splitEntries(b, tile.W)
	if err == nil && len(rest) > 0 {
		err = errEntries
	}
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrTampered, tilePath(tile), err)
	}
	indexes := make([]int64, tile.W)
	for i := range indexes {
		indexes[i] = tlog.StoredHashIndex(0, n*tileWidth+int64(i))
	}
	hashes, err := l.hashes.ReadHashes(indexes)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrTampered, err)
	}
	for i, e := range entries {
		if tlog.RecordHash(e) != hashes[i] {
			return fmt.Errorf("%w: entry %d", ErrTampered, n*tileWidth+int64(i))
		}
	}
	l.tile, l.kept = n, entries
	return nil
}

var errEntries = errors.New("not so many entries")

func splitEntries(b []byte, n int) (entries [][]byte, rest []byte, err error) {
	entries = make([][]byte, 0, n)
	for range n {
		if len(b) < 2 || len(b)-2 < int(binary.BigEndian.Uint16(b)) {
			return nil, nil, errEntries
		}
		end := 2 + int(binary.BigEndian.Uint16(b))
		entries = append(entries, b[2:end])
		b = b[end:]
	}
	return entries, b, nil
}

func appendEntry(b, entry []byte) ([]byte, error) {
	if len(entry) > math.MaxUint16 {
		return nil, fmt.Errorf("an entry of %d bytes does not fit into the log", len(entry))
	}
	return append(binary.BigEndian.AppendUint16(b, uint16(len(entry))), entry...), nil
}

// Leaves returns the file of a chunk's leaves. What it gives is not checked before hashes
// or advance has been called.
func (l *Log) leaves(c *Chunk, index int64) (*leafFile, error) {
	b, err := l.files.Read(leavesPath(index))
	if err != nil {
		return nil, fmt.Errorf("cannot read the leaves of chunk %d: %w", index, err)
	}
	f, err := parseLeaves(c, b)
	if err != nil {
		return nil, fmt.Errorf("chunk %d: %w", index, err)
	}
	return f, nil
}

// Prove returns the inclusion proof of a chunk.
func (l *Log) Prove(index int64) ([]Hash, error) {
	p, err := tlog.ProveRecord(l.Size, index, l.hashes)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTampered, err)
	}
	return p, nil
}

// Extends checks that the log still holds all that it held at an older checkpoint.
func (l *Log) Extends(old Checkpoint) error {
	if old.Size == 0 {
		return nil
	}
	if old.Size > l.Size {
		return fmt.Errorf("%w: it has %d chunks, and had %d", ErrInconsistent, l.Size, old.Size)
	}
	p, err := tlog.ProveTree(l.Size, old.Size, l.hashes)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrTampered, err)
	}
	if old.Size == l.Size && old.Root != l.Root || tlog.CheckTree(p, l.Size, l.Root, old.Size, old.Root) != nil {
		return fmt.Errorf("%w: what it held at size %d is another history", ErrInconsistent, old.Size)
	}
	return nil
}

// ErrInconsistent says that two checkpoints cannot both be of one log.
var ErrInconsistent = errors.New("two checkpoints contradict each other: the log was rewritten, or shows different histories to different readers")
