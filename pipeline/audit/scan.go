package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// Row is what a source has of one leaf.
type Row struct {
	Offset int64
	Part   uint32
	// Whole is false where the source keeps the place alone: then nothing else is compared.
	Whole    bool
	Subject  Subject
	Appended int64
	Payload  []byte // valid until the next row
}

// Span is a stretch of a partition, the last offset included.
type Span struct {
	Topic       string
	TopicID     [16]byte
	Partition   int32
	First, Last int64
}

// Source is a copy of what the log commits to.
type Source interface {
	Name() string
	// Bounds returns which offsets of a partition it must have: from the first on, to in front
	// of the end. ok is false where it has nothing of the topic, or no such topic any more.
	Bounds(ctx context.Context, s Span) (first, end int64, ok bool, err error)
	// Demands says whether it must have this leaf, if it lies within the bounds.
	Demands(l *StoredLeaf) bool
	// Rows gives what it has in a span, in any order.
	Rows(ctx context.Context, s Span, each func(Row) error) error
	// Beyond gives what it has of partitions that the log does not cover so far, as findings
	// and as a number of rows that nothing is proved of yet.
	Beyond(ctx context.Context, covered map[string]map[source]Span) (added []Finding, unproved int64, err error)
}

// ScanOptions say what is compared.
type ScanOptions struct {
	Sources []Source
	// Since is a time before which sources may have forgotten. Default: none.
	Since time.Time
	// Each is told of every finding as it is found.
	Each func(Finding)
	// Progress is told how many of the chunks were compared.
	Progress func(done, total int64)
}

// Scanned is what a scan found.
type Scanned struct {
	Chunks   int64            `json:"chunks"`
	Leaves   int64            `json:"leaves"`
	Compared map[string]int64 `json:"compared"` // leaves, by source
	Unproved map[string]int64 `json:"unproved"` // rows that the log does not cover, by source
	Findings int64            `json:"findings"`
}

// scan is one scan under way.
type scan struct {
	*Log
	options ScanOptions
	result  Scanned
}

// Scan recomputes the whole log from its leaves and compares the sources with it.
func (l *Log) Scan(ctx context.Context, o ScanOptions) (Scanned, error) {
	s := &scan{Log: l, options: o, result: Scanned{Chunks: l.Size, Compared: map[string]int64{}, Unproved: map[string]int64{}}}
	s.tiles()
	s.trailsFile()
	parts, covered := s.recompute()
	done := int64(0)
	for _, chunks := range parts {
		for len(chunks) > 0 {
			n := s.stretch(chunks)
			if err := s.compare(ctx, chunks[:n]); err != nil {
				return s.result, err
			}
			chunks = chunks[n:]
			if done += int64(n); o.Progress != nil {
				o.Progress(done, l.Size)
			}
		}
	}
	for _, source := range o.Sources {
		added, unproved, err := source.Beyond(ctx, covered)
		if err != nil {
			return s.result, err
		}
		for _, f := range added {
			s.found(f)
		}
		s.result.Unproved[source.Name()] = unproved
	}
	return s.result, nil
}

func (s *scan) found(f Finding) {
	s.result.Findings++
	if s.options.Each != nil {
		s.options.Each(f)
	}
}

func (s *scan) broken(format string, args ...any) {
	s.found(Finding{Kind: Broken, Where: "log", Detail: fmt.Sprintf(format, args...)})
}

// tiles checks each tile of the checkpoint.
func (s *scan) tiles() {
	for _, t := range tlog.NewTiles(tileHeight, 0, s.Size) {
		want, err := tlog.ReadTileData(t, s.hashes)
		if err != nil {
			s.broken("%s: %v", tilePath(t), err)
			continue
		}
		if is, err := readTile(s.files, t); err != nil || !bytes.Equal(is, want) {
			s.broken("%s is not what its parents commit to", tilePath(t))
		}
	}
}

// trailsFile checks the files that a start begins with.
func (s *scan) trailsFile() {
	for _, name := range []string{stateFile, stateFileOld} {
		b, err := s.files.Read(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			_, err = parseState(b)
		}
		if err != nil {
			s.broken("%s: %v", name, err)
		}
	}
}

// numbered is a chunk whose leaves were found to be genuine.
type numbered struct {
	Chunk
	index int64
}

// recompute computes all leaves and trails again. It returns the chunks of each partition
// whose leaves are what the log commits to, and which offsets the log covers.
func (s *scan) recompute() ([][]numbered, map[string]map[source]Span) {
	var order []source
	parts := map[source][]numbered{}
	covered := map[string]map[source]Span{}
	trails := newState() // nil once a chunk is broken: what follows cannot be checked against it
	for i := range s.Size {
		c, _, err := s.Entry(i)
		if err != nil {
			s.broken("chunk %d: %v", i, err)
			trails = nil
			continue
		}
		at := source{c.TopicID, c.Partition}
		if covered[c.Topic] == nil {
			covered[c.Topic] = map[source]Span{}
		}
		span, known := covered[c.Topic][at]
		if known && span.Last+1 != c.First {
			s.broken("chunk %d begins at offset %d of %s/%d, and the one before ends at %d", i, c.First, c.Topic, c.Partition, span.Last)
		}
		if !known {
			order = append(order, at)
			span = Span{c.Topic, c.TopicID, c.Partition, c.First, c.Last}
		}
		span.Last = c.Last
		covered[c.Topic][at] = span
		f, err := s.leaves(&c, i)
		if err == nil && trails != nil {
			if err = f.advance(trails.trails, i); err != nil {
				trails = nil
			}
		} else if err == nil {
			_, err = f.hashes()
		}
		if err != nil {
			s.broken("chunk %d: %v", i, err)
			trails = nil
			continue
		}
		s.result.Leaves += int64(c.Leaves)
		parts[at] = append(parts[at], numbered{c, i})
	}
	var all [][]numbered
	for _, at := range order {
		all = append(all, parts[at])
	}
	return all, covered
}

// stretchLeaves is how many leaves are compared at once.
const stretchLeaves = 1 << 16

// stretch returns how many of the chunks are compared at once.
func (s *scan) stretch(chunks []numbered) int {
	leaves := 0
	for i, c := range chunks {
		if leaves += c.Leaves; i > 0 && (leaves > stretchLeaves || c.First != chunks[i-1].Last+1) {
			return i
		}
	}
	return len(chunks)
}

// spot is where a row is in its partition.
type spot struct {
	offset int64
	part   uint32
}

// compare compares all sources with consecutive chunks of a partition.
func (s *scan) compare(ctx context.Context, chunks []numbered) error {
	leaves := map[spot]*StoredLeaf{}
	for i := range chunks {
		f, err := s.leaves(&chunks[i].Chunk, chunks[i].index)
		if err != nil {
			return err
		}
		if err := f.each(-1, func(l *StoredLeaf) error {
			leaf := *l
			leaves[spot{l.Offset, l.Part}] = &leaf
			return nil
		}); err != nil {
			return err
		}
	}
	c := chunks[0]
	span := Span{c.Topic, c.TopicID, c.Partition, c.First, chunks[len(chunks)-1].Last}
	for _, source := range s.options.Sources {
		if err := s.compareOne(ctx, source, span, leaves); err != nil {
			return err
		}
	}
	return nil
}

func (s *scan) compareOne(ctx context.Context, from Source, span Span, leaves map[spot]*StoredLeaf) error {
	first, end, ok, err := from.Bounds(ctx, span)
	if err != nil || !ok {
		return err
	}
	finding := func(kind Kind, at spot, detail string) {
		s.found(Finding{kind, from.Name(), span.Topic, Place{span.TopicID, span.Partition, at.offset, at.part}, detail})
	}
	seen := map[spot]bool{}
	if err := from.Rows(ctx, span, func(r Row) error {
		at := spot{r.Offset, r.Part}
		leaf := leaves[at]
		switch {
		case leaf == nil:
			finding(Added, at, "the log has no such leaf")
			return nil
		case seen[at]:
			finding(Added, at, "it is there twice")
			return nil
		}
		seen[at] = true
		if why := differs(leaf, &r); why != "" {
			finding(Altered, at, why)
		}
		return nil
	}); err != nil {
		return err
	}
	var gone []spot
	for at, leaf := range leaves {
		switch {
		case seen[at]:
			s.result.Compared[from.Name()]++
		case at.offset >= first && at.offset < end && leaf.Appended >= s.options.Since.UnixMilli() && from.Demands(leaf):
			gone = append(gone, at)
		}
	}
	slices.SortFunc(gone, func(a, b spot) int { return cmpSpot(a, b) })
	for _, at := range gone {
		finding(Missing, at, "the log has "+describe(leaves[at].Subject)+", appended "+milli(leaves[at].Appended))
	}
	return nil
}

func cmpSpot(a, b spot) int {
	return Place{Offset: a.offset, Part: a.part}.compare(Place{Offset: b.offset, Part: b.part})
}

// differs says in what a row is not what the leaf commits to; empty: in nothing.
func differs(l *StoredLeaf, r *Row) string {
	switch {
	case !r.Whole || l.Salt == Salt{}:
		return ""
	case r.Subject != l.Subject:
		return fmt.Sprintf("it is of %s, and was of %s", describe(r.Subject), describe(l.Subject))
	case r.Appended != l.Appended:
		return fmt.Sprintf("it was appended at %s, and not at %s", milli(l.Appended), milli(r.Appended))
	case Commit(l.Salt, r.Payload) != l.Commitment:
		return "its content is another"
	}
	return ""
}
