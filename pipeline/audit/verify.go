package audit

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/estop-project/estop/pipeline"
)

// VerifyOptions say whom the verifier trusts and what it wants.
type VerifyOptions struct {
	Log       note.Verifier
	Witnesses []note.Verifier
	// Quorum is how many of the witnesses must have cosigned. Default: none.
	Quorum int
	// From and To are times that the trails must be complete between, payloads and all. Zero:
	// what the bundle shows will do.
	From, To time.Time
}

// Step is one thing that was checked.
type Step struct {
	OK   bool   `json:"ok"`
	What string `json:"what"`
}

// Verified is what a bundle proves.
type Verified struct {
	Genuine    bool          `json:"genuine"`
	Steps      []Step        `json:"steps"`
	Origin     string        `json:"origin,omitempty"`
	Size       int64         `json:"size"`
	Witnesses  []Cosignature `json:"witnesses"`
	Shown      int           `json:"shown"`    // leaves with their payloads
	Withheld   int           `json:"withheld"` // leaves of the range that only their commitments are known of
	Topics     []ProvedTrail `json:"trails,omitempty"`
	checkpoint Checkpoint
}

// ProvedTrail is what is proved of one trail.
type ProvedTrail struct {
	Topic string    `json:"topic"`
	Total uint64    `json:"total"` // leaves of the trail in the log
	First uint64    `json:"first"` // from here on nothing is missing
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"`
}

// Verify checks a bundle, offline. The error says what is wrong; the steps until there
// are told in any case.
func Verify(b *Bundle, o VerifyOptions) (Verified, error) {
	v := Verified{Witnesses: []Cosignature{}}
	err := v.verify(b, o)
	if err != nil {
		v.Steps = append(v.Steps, Step{false, err.Error()})
	}
	v.Genuine = err == nil
	return v, err
}

func (v *Verified) ok(format string, args ...any) {
	v.Steps = append(v.Steps, Step{true, fmt.Sprintf(format, args...)})
}

func (v *Verified) verify(b *Bundle, o VerifyOptions) error {
	if err := v.signatures(b, o); err != nil {
		return err
	}
	c, err := v.chunk(b)
	if err != nil {
		return err
	}
	if b.One != nil {
		if len(b.Trails) > 0 {
			return fmt.Errorf("%w: it is of one leaf, and has trails", ErrBundle)
		}
		return v.one(b, c)
	}
	if b.Chunk.Index != v.Size-1 {
		return fmt.Errorf("%w: the map is that of chunk %d and not of the last one, %d", ErrBundle, b.Chunk.Index, v.Size-1)
	}
	if len(b.Trails) == 0 {
		return fmt.Errorf("%w: there is nothing in it", ErrBundle)
	}
	for i := range b.Trails {
		if err := v.trail(b, &b.Trails[i], c, o); err != nil {
			return fmt.Errorf("%s: %w", b.Trails[i].Topic, err)
		}
	}
	return nil
}

func (v *Verified) signatures(b *Bundle, o VerifyOptions) error {
	c, err := ParseCheckpoint([]byte(b.Checkpoint), o.Log, o.Witnesses...)
	if err != nil {
		return err
	}
	v.checkpoint, v.Origin, v.Size = c, c.Origin, c.Size
	v.ok("%q signed the checkpoint of %d chunks", c.Origin, c.Size)
	for _, w := range c.Witnesses {
		v.Witnesses = append(v.Witnesses, w)
		v.ok("witness %q cosigned it at %s", w.Name, w.At.Format(time.RFC3339))
	}
	if len(c.Witnesses) < o.Quorum {
		return fmt.Errorf("%w: %d of the known witnesses cosigned it, and %d must: the log may show others another history", ErrCheckpoint, len(c.Witnesses), o.Quorum)
	}
	return nil
}

func (v *Verified) chunk(b *Bundle) (Chunk, error) {
	c, err := ParseChunk([]byte(b.Chunk.Entry))
	if err != nil {
		return c, err
	}
	if b.Chunk.Index < 0 || b.Chunk.Index >= v.Size {
		return c, fmt.Errorf("%w: the log has no chunk %d", ErrBundle, b.Chunk.Index)
	}
	if err := tlog.CheckRecord(b.Chunk.Proof, v.Size, v.checkpoint.Root, b.Chunk.Index, tlog.RecordHash([]byte(b.Chunk.Entry))); err != nil {
		return c, fmt.Errorf("%w: chunk %d is not in the log: %w", ErrBundle, b.Chunk.Index, err)
	}
	v.ok("the log has chunk %d: %s/%d, offsets %d to %d", b.Chunk.Index, c.Topic, c.Partition, c.First, c.Last)
	return c, nil
}

// one checks a single leaf.
func (v *Verified) one(b *Bundle, c Chunk) error {
	o := b.One
	l, err := first(o.Topic, b.Subject, &o.Leaf)
	if err != nil {
		return err
	}
	if o.Topic != c.Topic || l.TopicID != c.TopicID || l.Partition != c.Partition || l.Offset < c.First || l.Offset > c.Last {
		return fmt.Errorf("%w: the leaf is not of the partition and the offsets of its chunk", ErrBundle)
	}
	if o.Index < 0 || o.Index >= int64(c.Leaves) {
		return fmt.Errorf("%w: the chunk has no leaf %d", ErrBundle, o.Index)
	}
	if err := tlog.CheckRecord(o.Path, int64(c.Leaves), c.Root, o.Index, l.Hash()); err != nil {
		return fmt.Errorf("%w: the leaf is not in its chunk: %w", ErrBundle, err)
	}
	v.ok("the chunk has the leaf: %s, number %d of its trail, appended %s", describe(l.Subject), l.Seq, milli(l.Appended))
	return v.count(b, o.Topic, &o.Leaf)
}

// count counts a leaf of the range, and checks that what it shows is about the subject.
func (v *Verified) count(b *Bundle, topic string, l *BundleLeaf) error {
	payload, shown := l.payload()
	if !shown {
		v.Withheld++
		return nil
	}
	v.Shown++
	if topic != pipeline.TopicCalls || b.Subject == (Subject{}) {
		return nil
	}
	var call struct{ Tenant, Agent string }
	if err := json.Unmarshal(payload, &call); err != nil || call.Tenant != b.Tenant || call.Agent != b.Name {
		return fmt.Errorf("%w: leaf %d is in the trail of %s, and its call is of another", ErrBundle, l.Seq, describe(b.Subject))
	}
	return nil
}

// first returns the first leaf of several.
func first(topic string, s Subject, l *BundleLeaf) (Leaf, error) {
	if l.Prev == nil || l.Clock == nil {
		return Leaf{}, fmt.Errorf("%w: leaf %d does not say what it follows", ErrBundle, l.Seq)
	}
	leaf, err := l.leaf(topic, s, *l.Prev, *l.Clock)
	leaf.Clock = *l.Clock
	if leaf.Seq == 0 || leaf.Clock < leaf.Appended || leaf.Seq == 1 && (leaf.Prev != (Hash{}) || leaf.Clock != leaf.Appended) {
		err = errors.Join(err, fmt.Errorf("%w: leaf %d cannot be the first", ErrBundle, l.Seq))
	}
	return leaf, err
}

// trail checks one trail: that its leaves follow each other, and that the map ends it there.
func (v *Verified) trail(b *Bundle, t *BundleTrail, c Chunk, o VerifyOptions) error {
	proof := MapProof{Siblings: t.Map}
	if t.End != nil {
		proof.End = &MapEntry{t.End.Key, t.End.Seq, t.End.Last}
	}
	entry, err := proof.Check(c.Map, TrailKey(t.Topic, b.Subject))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBundle, err)
	}
	if entry == nil {
		if len(t.Leaves) > 0 {
			return fmt.Errorf("%w: it has leaves of a trail that the map has not", ErrBundle)
		}
		v.Topics = append(v.Topics, ProvedTrail{Topic: t.Topic})
		v.ok("the map has no trail of %s in %s: there was nothing", describe(b.Subject), t.Topic)
		return nil
	}
	p, err := v.follow(b, t, entry, o)
	if err != nil {
		return err
	}
	v.Topics = append(v.Topics, p)
	v.ok("%s: leaves %d to %d of %s follow each other without a gap, from %s to %s, and the map has no later one", t.Topic, p.First, p.Total,
		describe(b.Subject), p.Since.Format(timeFormat), p.Until.Format(timeFormat))
	return nil
}

func (v *Verified) follow(b *Bundle, t *BundleTrail, entry *MapEntry, o VerifyOptions) (ProvedTrail, error) {
	if len(t.Leaves) == 0 {
		return ProvedTrail{}, fmt.Errorf("%w: the map has a trail of %d leaves, and the bundle none", ErrBundle, entry.Seq)
	}
	r := Request{From: o.From, To: o.To}
	from, to := r.bounds()
	var hash Hash
	var clock int64
	for i := range t.Leaves {
		l := &t.Leaves[i]
		leaf, err := first(t.Topic, b.Subject, l)
		if i > 0 {
			if l.Prev != nil || l.Clock != nil || l.Seq != t.Leaves[i-1].Seq+1 {
				return ProvedTrail{}, fmt.Errorf("%w: leaf %d does not follow leaf %d", ErrBundle, l.Seq, t.Leaves[i-1].Seq)
			}
			leaf, err = l.leaf(t.Topic, b.Subject, hash, clock)
		}
		if err != nil {
			return ProvedTrail{}, err
		}
		hash, clock = leaf.Hash(), leaf.Clock
		if i == 0 && leaf.Seq > 1 && !o.From.IsZero() && clock >= from {
			return ProvedTrail{}, fmt.Errorf("%w: it begins with leaf %d, of %s: whether there were others since %s it does not show", ErrBundle, leaf.Seq, milli(clock), o.From.Format(timeFormat))
		}
		if _, shown := l.payload(); shown || clock >= from && clock <= to && (!o.From.IsZero() || !o.To.IsZero()) {
			if err := v.count(b, t.Topic, l); err != nil {
				return ProvedTrail{}, err
			}
		}
	}
	last := t.Leaves[len(t.Leaves)-1].Seq
	if last != entry.Seq || hash != entry.Last {
		return ProvedTrail{}, fmt.Errorf("%w: the leaves end at number %d with another hash than the map's, which has %d: something was changed or left out", ErrBundle, last, entry.Seq)
	}
	return ProvedTrail{
		Topic: t.Topic, Total: entry.Seq, First: t.Leaves[0].Seq,
		Since: time.UnixMilli(t.firstClock()).UTC(), Until: time.UnixMilli(clock).UTC(),
	}, nil
}

func (t *BundleTrail) firstClock() int64 { return *t.Leaves[0].Clock }

const timeFormat = "2006-01-02T15:04:05.000Z07:00"

func milli(ms int64) string { return time.UnixMilli(ms).UTC().Format(timeFormat) }

func describe(s Subject) string {
	if s == (Subject{}) {
		return "what could not be read"
	}
	return fmt.Sprintf("%s %q of tenant %q", s.Scope, s.Name, s.Tenant)
}
