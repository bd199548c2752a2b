package audit

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// BundleFormat names the format in a bundle.
const BundleFormat = "estop audit bundle v1"

// Bundle is all that a stranger needs, beside the public key, to check what an agent did:
// trails that nothing is missing from, or one leaf.
type Bundle struct {
	Format     string `json:"format"`
	Checkpoint string `json:"checkpoint"`
	Subject
	Chunk  BundleChunk   `json:"chunk"`            // of the leaf; for trails the last of the log, which has the map
	Trails []BundleTrail `json:"trails,omitempty"` // one for each topic
	One    *BundleOne    `json:"one,omitempty"`
}

// BundleChunk is an entry of the log with the proof that it is one.
type BundleChunk struct {
	Index int64  `json:"index"`
	Entry string `json:"entry"`
	Proof []Hash `json:"proof"`
}

// BundleTrail is a trail with the proof of what the map says of it. Its leaves follow each
// other up to the last one of the trail.
type BundleTrail struct {
	Topic  string       `json:"topic"`
	Map    []Hash       `json:"map"`
	End    *BundleEnd   `json:"end,omitempty"`
	Leaves []BundleLeaf `json:"leaves"`
}

// BundleEnd is the entry that the path in the map ends at.
type BundleEnd struct {
	Key  Hash   `json:"key"`
	Seq  uint64 `json:"seq"`
	Last Hash   `json:"last"`
}

// BundleOne is one leaf with the proof that its chunk has it.
type BundleOne struct {
	Topic string     `json:"topic"`
	Index int64      `json:"index"` // among the leaves of the chunk
	Path  []Hash     `json:"path"`
	Leaf  BundleLeaf `json:"leaf"`
}

// BundleLeaf is a leaf. Prev and Clock are given for the first of several only; those of
// the others follow.
type BundleLeaf struct {
	Seq        uint64  `json:"seq"`
	Prev       *Hash   `json:"prev,omitempty"`
	Clock      *int64  `json:"clock,omitempty"`
	ID         hexID   `json:"id"` // of the topic
	Partition  int32   `json:"partition"`
	Offset     int64   `json:"offset"`
	Part       uint32  `json:"part"`
	Appended   int64   `json:"appended"`
	Commitment *Hash   `json:"commitment,omitempty"` // where the payload is not shown
	Salt       []byte  `json:"salt,omitempty"`
	Payload    *string `json:"payload,omitempty"`
	Payload64  []byte  `json:"payload64,omitempty"` // that is no text
}

// hexID is the id of a topic.
type hexID [16]byte

// MarshalText writes the id in hex.
func (h hexID) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(h[:])), nil }

// UnmarshalText reads the id.
func (h *hexID) UnmarshalText(b []byte) error {
	if n, err := hex.Decode(h[:], b); err != nil || n != len(h) || len(b) != 2*len(h) {
		return errors.New("not the id of a topic")
	}
	return nil
}

// Encode returns the bundle's bytes. A bundle has one encoding only.
func (b *Bundle) Encode() ([]byte, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(b); err != nil {
		return nil, fmt.Errorf("cannot encode the bundle: %w", err)
	}
	return out.Bytes(), nil
}

// MaxBundle bounds a bundle, in bytes.
const MaxBundle = 1 << 30

// ErrBundle says that a bundle proves nothing.
var ErrBundle = errors.New("the bundle is refused")

// ParseBundle reads a bundle. Bytes that differ from those that Encode returns are refused.
func ParseBundle(data []byte) (*Bundle, error) {
	var b Bundle
	if len(data) > MaxBundle {
		return nil, fmt.Errorf("%w: it is larger than %d bytes", ErrBundle, MaxBundle)
	}
	if err := json.Unmarshal(data, &b); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBundle, err)
	}
	if b.Format != BundleFormat {
		return nil, fmt.Errorf("%w: its format is %.40q and not %q", ErrBundle, b.Format, BundleFormat)
	}
	again, err := b.Encode()
	if err != nil || !bytes.Equal(again, data) {
		return nil, fmt.Errorf("%w: its bytes are not as they are written", ErrBundle)
	}
	return &b, nil
}

// show puts the payload into the leaf.
func (l *BundleLeaf) show(salt Salt, payload []byte) {
	l.Commitment, l.Salt = nil, salt[:]
	if utf8.Valid(payload) && len(payload) > 0 {
		text := string(payload)
		l.Payload = &text
		return
	}
	l.Payload64 = payload
}

// payload returns what the leaf shows, if it does.
func (l *BundleLeaf) payload() ([]byte, bool) {
	switch {
	case l.Payload != nil:
		return []byte(*l.Payload), true
	case len(l.Salt) > 0:
		return l.Payload64, true
	}
	return nil, false
}

// commitment returns the leaf's commitment, computed where the payload is shown.
func (l *BundleLeaf) commitment() (Hash, error) {
	payload, shown := l.payload()
	switch {
	case !shown && l.Commitment != nil:
		return *l.Commitment, nil
	case shown && l.Commitment == nil && len(l.Salt) == saltSize:
		return Commit(Salt(l.Salt), payload), nil
	}
	return Hash{}, fmt.Errorf("%w: leaf %d shows neither a payload with its salt nor a commitment alone", ErrBundle, l.Seq)
}

// leaf returns the leaf itself, behind one that had this hash and clock.
func (l *BundleLeaf) leaf(topic string, s Subject, prev Hash, clock int64) (Leaf, error) {
	c, err := l.commitment()
	return Leaf{
		Topic: topic, Subject: s, Place: Place{l.ID, l.Partition, l.Offset, l.Part},
		Seq: l.Seq, Prev: prev, Clock: max(clock, l.Appended), Appended: l.Appended, Commitment: c,
	}, err
}

func bundleLeaf(l *StoredLeaf) BundleLeaf {
	commitment := l.Commitment
	return BundleLeaf{
		Seq: l.Seq, ID: l.TopicID, Partition: l.Partition, Offset: l.Offset, Part: l.Part,
		Appended: l.Appended, Commitment: &commitment,
	}
}

func b64(h Hash) string { return base64.StdEncoding.EncodeToString(h[:]) }
