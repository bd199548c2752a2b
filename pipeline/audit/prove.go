package audit

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// Payloads finds what leaves hide.
type Payloads interface {
	// Payloads returns the payloads of the places of a topic; those that it has not are missing.
	Payloads(ctx context.Context, topic string, s Subject, places []Place) (map[Place][]byte, error)
}

// Request says what is to be proved of a subject.
type Request struct {
	Subject
	Topics []string
	// The leaves whose clock lies between are shown with their payloads; zero: from the first, to the last.
	From, To time.Time
}

// Proved is a bundle, and what could not be shown in it.
type Proved struct {
	Bundle *Bundle
	Shown  int
	// Hidden are the leaves without a payload although it was asked for: nobody has it any more, or what they have is not
	// what the log commits to.
	Hidden []Finding
}

func (r *Request) bounds() (from, to int64) {
	from, to = 0, math.MaxInt64
	if !r.From.IsZero() {
		from = r.From.UnixMilli()
	}
	if !r.To.IsZero() {
		to = r.To.UnixMilli()
	}
	return from, to
}

// Trails proves what a subject did: all of it.
func (l *Log) Trails(ctx context.Context, r Request, sources ...Payloads) (*Proved, error) {
	if l.Size == 0 {
		return nil, errors.New("cannot prove anything: the log is empty")
	}
	s, err := l.state()
	if err != nil {
		return nil, err
	}
	p := &Proved{Bundle: &Bundle{Format: BundleFormat, Checkpoint: string(l.Note), Subject: r.Subject}}
	if err := l.proveChunk(p.Bundle, l.Size-1); err != nil {
		return nil, err
	}
	for _, topic := range r.Topics {
		key := TrailKey(topic, r.Subject)
		proof := s.trails.prove(key)
		t := BundleTrail{Topic: topic, Map: proof.Siblings}
		if proof.End != nil {
			t.End = &BundleEnd{proof.End.Key, proof.End.Seq, proof.End.Last}
		}
		if known, ok := s.trails.lookup(key); ok {
			from, to := r.bounds()
			leaves, err := l.back(topic, r.Subject, known.chunk, from)
			if err != nil {
				return nil, err
			}
			t.Leaves = p.trail(leaves)
			if err := p.fill(ctx, topic, leaves, t.Leaves, from, to, sources); err != nil {
				return nil, err
			}
		}
		p.Bundle.Trails = append(p.Bundle.Trails, t)
	}
	return p, nil
}

func (l *Log) proveChunk(b *Bundle, index int64) error {
	_, text, err := l.Entry(index)
	if err != nil {
		return err
	}
	proof, err := l.Prove(index)
	if err != nil {
		return err
	}
	b.Chunk = BundleChunk{Index: index, Entry: string(text), Proof: proof}
	return nil
}

// back follows a trail back from the chunk with its last leaf, until a leaf that lies before
// a time.
func (l *Log) back(topic string, s Subject, chunk, from int64) ([]StoredLeaf, error) {
	var leaves []StoredLeaf // the last first
	for chunk >= 0 {
		c, _, err := l.Entry(chunk)
		if err != nil {
			return nil, err
		}
		f, err := l.leaves(&c, chunk)
		if err != nil {
			return nil, err
		}
		no := slices.IndexFunc(f.starts, func(t trailStart) bool { return t.Subject == s })
		if no < 0 || c.Topic != topic || f.starts[no].chunk >= chunk {
			return nil, fmt.Errorf("chunk %d: %w: it lacks the trail of %s %q", chunk, errLeaves, s.Scope, s.Name)
		}
		var here []StoredLeaf
		if err := f.each(no, func(leaf *StoredLeaf) error {
			here = append(here, *leaf)
			return nil
		}); err != nil {
			return nil, fmt.Errorf("chunk %d: %w", chunk, err)
		}
		for _, leaf := range slices.Backward(here) {
			leaves = append(leaves, leaf)
			if leaf.Clock < from {
				chunk = -1
				break
			}
		}
		if chunk >= 0 {
			chunk = f.starts[no].chunk
		}
	}
	slices.Reverse(leaves)
	return leaves, nil
}

// trail returns the leaves as a bundle has them, without their payloads.
func (p *Proved) trail(leaves []StoredLeaf) []BundleLeaf {
	all := make([]BundleLeaf, len(leaves))
	for i := range leaves {
		all[i] = bundleLeaf(&leaves[i])
	}
	first := &leaves[0]
	all[0].Prev, all[0].Clock = &first.Prev, &first.Clock
	return all
}

// fill shows the payloads of the leaves between two times.
func (p *Proved) fill(ctx context.Context, topic string, leaves []StoredLeaf, to []BundleLeaf, from, until int64, sources []Payloads) error {
	wanted := map[Place]int{}
	for i := range leaves {
		if c := leaves[i].Clock; c >= from && c <= until && leaves[i].Salt != (Salt{}) {
			wanted[leaves[i].Place] = i
		}
	}
	altered := map[Place]bool{}
	for _, source := range sources {
		places := make([]Place, 0, len(wanted))
		for at := range wanted {
			places = append(places, at)
		}
		if len(places) == 0 {
			return nil
		}
		found, err := source.Payloads(ctx, topic, p.Bundle.Subject, places)
		if err != nil {
			return err
		}
		for at, payload := range found {
			i, ok := wanted[at]
			if !ok {
				continue
			}
			if Commit(leaves[i].Salt, payload) != leaves[i].Commitment {
				altered[at] = true
				continue
			}
			to[i].show(leaves[i].Salt, payload)
			p.Shown++
			delete(wanted, at)
		}
	}
	for at := range wanted {
		kind := Missing
		if altered[at] {
			kind = Altered
		}
		p.Hidden = append(p.Hidden, Finding{Kind: kind, Topic: topic, Place: at})
	}
	slices.SortFunc(p.Hidden, Finding.compare)
	return nil
}

// One proves one leaf: that the log has it.
func (l *Log) One(ctx context.Context, topic string, at Place, sources ...Payloads) (*Proved, error) {
	index, c, err := l.find(topic, at)
	if err != nil {
		return nil, err
	}
	f, err := l.leaves(&c, index)
	if err != nil {
		return nil, err
	}
	hashes, err := f.hashes()
	if err != nil {
		return nil, err
	}
	var leaf *StoredLeaf
	n, i := 0, 0
	if err := f.each(-1, func(l *StoredLeaf) error {
		if l.Place == at {
			found := *l
			leaf, n = &found, i
		}
		i++
		return nil
	}); err != nil {
		return nil, err
	}
	if leaf == nil {
		return nil, fmt.Errorf("the log has no leaf of %s/%d at offset %d, part %d: Kafka had no such record", topic, at.Partition, at.Offset, at.Part)
	}
	p := &Proved{Bundle: &Bundle{Format: BundleFormat, Checkpoint: string(l.Note), Subject: leaf.Subject}}
	if err := l.proveChunk(p.Bundle, index); err != nil {
		return nil, err
	}
	shown := p.trail([]StoredLeaf{*leaf})
	if err := p.fill(ctx, topic, []StoredLeaf{*leaf}, shown, 0, math.MaxInt64, sources); err != nil {
		return nil, err
	}
	p.Bundle.One = &BundleOne{Topic: topic, Index: int64(n), Path: treePath(hashes, n), Leaf: shown[0]}
	return p, nil
}

// ErrNotInLog says that no chunk covers a record.
var ErrNotInLog = errors.New("not in the log yet")

// find returns the chunk that covers an offset, the newest topic of that name first.
func (l *Log) find(topic string, at Place) (int64, Chunk, error) {
	for i := l.Size - 1; i >= 0; i-- {
		c, _, err := l.Entry(i)
		if err != nil {
			return 0, c, err
		}
		if c.Topic == topic && c.Partition == at.Partition && c.First <= at.Offset && at.Offset <= c.Last && (c.TopicID == at.TopicID) {
			return i, c, nil
		}
	}
	return 0, Chunk{}, fmt.Errorf("%w: offset %d of %s/%d", ErrNotInLog, at.Offset, topic, at.Partition)
}

// TopicID returns the id of the topic that the newest chunk of this name and partition is of.
func (l *Log) TopicID(topic string, partition int32) ([16]byte, error) {
	for i := l.Size - 1; i >= 0; i-- {
		c, _, err := l.Entry(i)
		if err != nil {
			return [16]byte{}, err
		}
		if c.Topic == topic && c.Partition == partition {
			return c.TopicID, nil
		}
	}
	return [16]byte{}, fmt.Errorf("%w: nothing of %s/%d", ErrNotInLog, topic, partition)
}
