package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// trail is how far one trail is.
type trail struct {
	key   Hash
	seq   uint64 // of its last leaf; 0: it has none yet and is not in the map
	last  Hash   // of its last leaf
	clock int64
	chunk int64 // index of the chunk that its last leaf is in
}

// trails is the map of all trails: a sparse Merkle tree over the bits of their keys, in
// which a subtree with a single trail is that trail's leaf. It is recomputed only where
// something changed.
type trails struct {
	index map[Hash]int32
	all   []trail
	nodes []node // the first is unused, so that ref 0 is the empty subtree
	root  ref
	count int // trails in the map
}

// ref is a subtree: 0 is empty, n > 0 is node n, n < 0 is trail -n-1.
type ref int32

type node struct {
	child [2]ref
	hash  Hash
	stale bool
}

func newTrails() *trails {
	return &trails{index: map[Hash]int32{}, nodes: make([]node, 1)}
}

// find returns the number of the trail with this key; it is new where there was none.
func (t *trails) find(key Hash) int32 {
	i, ok := t.index[key]
	if !ok {
		i = int32(len(t.all))
		t.all = append(t.all, trail{key: key})
		t.index[key] = i
	}
	return i
}

// lookup returns the trail with this key; ok is false where it has no leaf.
func (t *trails) lookup(key Hash) (trail, bool) {
	i, ok := t.index[key]
	if !ok || t.all[i].seq == 0 {
		return trail{}, false
	}
	return t.all[i], true
}

// touch marks as stale what the trail's leaf is below, and puts it into the map where it is
// not in it.
func (t *trails) touch(i int32) {
	key := &t.all[i].key
	parent, side, at := int32(0), 0, t.root
	for depth := 0; ; depth++ {
		switch {
		case at > 0:
			t.nodes[at].stale = true
			parent, side = int32(at), bit(key, depth)
			at = t.nodes[at].child[side]
			continue
		case at == 0:
			t.set(parent, side, ref(-i-1))
			t.count++
		case int32(-at-1) != i:
			t.set(parent, side, t.fork(at, ref(-i-1), depth))
			t.count++
		}
		return
	}
}

func (t *trails) set(parent int32, side int, to ref) {
	if parent == 0 {
		t.root = to
		return
	}
	t.nodes[parent].child[side] = to
}

// fork returns the subtree at a depth that holds two trails.
func (t *trails) fork(a, b ref, depth int) ref {
	keyA, keyB := &t.all[-a-1].key, &t.all[-b-1].key
	n := ref(len(t.nodes))
	t.nodes = append(t.nodes, node{stale: true})
	sideA, sideB := bit(keyA, depth), bit(keyB, depth)
	if sideA == sideB {
		below := t.fork(a, b, depth+1)
		t.nodes[n].child[sideA] = below
		return n
	}
	t.nodes[n].child[sideA], t.nodes[n].child[sideB] = a, b
	return n
}

// bit returns the bit of a key that decides at a depth, the most significant first.
func bit(key *Hash, depth int) int { return int(key[depth/8]>>(7-depth%8)) & 1 }

// hash returns the root of the map.
func (t *trails) hash() Hash { return t.hashOf(t.root) }

func (t *trails) hashOf(r ref) Hash {
	switch {
	case r == 0:
		return Hash{}
	case r < 0:
		l := &t.all[-r-1]
		return mapLeaf(l.key, l.seq, l.last)
	}
	n := &t.nodes[r]
	if n.stale {
		n.hash = nodeHash(t.hashOf(n.child[0]), t.hashOf(n.child[1]))
		n.stale = false
	}
	return n.hash
}

func mapLeaf(key Hash, seq uint64, last Hash) Hash {
	var b [1 + 32 + 8 + 32]byte
	copy(b[1:], key[:])
	binary.BigEndian.PutUint64(b[33:], seq)
	copy(b[41:], last[:])
	return sha256.Sum256(b[:])
}

// MapEntry is what the map says of one trail.
type MapEntry struct {
	Key  Hash
	Seq  uint64
	Last Hash
}

// MapProof proves what the map says of a key: the entry that its path ends at, or that it
// ends at nothing.
type MapProof struct {
	Siblings []Hash    // from the root down
	End      *MapEntry // nil: the path ends at an empty subtree
}

// prove returns the proof of what the map says of a key.
func (t *trails) prove(key Hash) MapProof {
	var p MapProof
	at := t.root
	for depth := 0; at > 0; depth++ {
		side := bit(&key, depth)
		p.Siblings = append(p.Siblings, t.hashOf(t.nodes[at].child[1-side]))
		at = t.nodes[at].child[side]
	}
	if at < 0 {
		l := &t.all[-at-1]
		p.End = &MapEntry{l.key, l.seq, l.last}
	}
	return p
}

var errMapProof = errors.New("the proof does not lead to the map's root")

// Check checks the proof against the map's root. It returns the trail's entry, or nil where
// the proof shows that there is none.
func (p MapProof) Check(root, key Hash) (*MapEntry, error) {
	if len(p.Siblings) > 8*len(key) {
		return nil, fmt.Errorf("%w: it is longer than a key", errMapProof)
	}
	var h Hash
	if p.End != nil {
		for depth := range p.Siblings {
			if bit(&p.End.Key, depth) != bit(&key, depth) {
				return nil, fmt.Errorf("%w: it is another key's", errMapProof)
			}
		}
		h = mapLeaf(p.End.Key, p.End.Seq, p.End.Last)
	}
	for depth, sibling := range slices.Backward(p.Siblings) {
		if bit(&key, depth) == 0 {
			h = nodeHash(h, sibling)
		} else {
			h = nodeHash(sibling, h)
		}
	}
	if !bytes.Equal(h[:], root[:]) {
		return nil, errMapProof
	}
	if p.End == nil || p.End.Key != key {
		return nil, nil
	}
	return p.End, nil
}
