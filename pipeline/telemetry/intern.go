package telemetry

import (
	"encoding/binary"
	"hash/maphash"
	"unsafe"

	"github.com/cespare/xxhash/v2"
)

const (
	chunkBytes  = 64 << 10 // of one block of an Interner's arena
	headerBytes = 8        // before each string in the arena: its number and its length
	firstSlots  = 64

	// LongestString is the length of the longest string that an Interner takes.
	LongestString = chunkBytes - headerBytes
)

// Interner gives each different string a dense number, 0, 1, 2, …, and keeps the string
// once. A look-up that finds its string allocates nothing and touches two cache lines: the
// slot, and the string with its number before it. The strings lie in blocks without
// pointers, so a million of them cost the garbage collector nothing. One goroutine at a
// time.
//
// The strings come from those who are watched, who must not be able to choose ones that all
// fall into one slot. So the table hashes with a secret seed. The numbers follow from the
// order alone, and Hash has no seed, so a replay gets both again.
type Interner struct {
	seed   maphash.Seed
	max    int
	slots  []uint64 // tag of the hash | place+1; 0 is empty; a power of two, at most 3/4 full
	hashes []uint64 // by number, xxHash64
	places []uint64 // by number: block·chunkBytes + offset of the header
	chunks []*[chunkBytes]byte
	used   int // bytes of the last block
}

const (
	placeBits = 40
	placeMask = 1<<placeBits - 1
	tagMask   = ^uint64(placeMask)
)

// NewInterner returns an interner for at most max strings.
func NewInterner(max int) *Interner {
	return &Interner{seed: maphash.MakeSeed(), max: max, slots: make([]uint64, firstSlots)}
}

// Intern returns the number of b, and whether it is new. It returns ok false, and keeps
// nothing, where b is new and the interner is full or b is longer than LongestString. It
// does not retain b.
func (n *Interner) Intern(b []byte) (id uint32, fresh, ok bool) {
	h := maphash.Bytes(n.seed, b)
	slot, id, found := n.find(h, b)
	if found {
		return id, false, true
	}
	if len(n.places) >= n.max || len(b) > LongestString {
		return 0, false, false
	}
	id = uint32(len(n.places))
	place := n.keep(id, b)
	n.places = append(n.places, place)
	n.hashes = append(n.hashes, xxhash.Sum64(b))
	n.slots[slot] = h&tagMask | (place + 1)
	if len(n.places)*4 > len(n.slots)*3 {
		n.grow()
	}
	return id, true, true
}

// Lookup returns the number of b, and whether it has one.
func (n *Interner) Lookup(b []byte) (id uint32, ok bool) {
	_, id, ok = n.find(maphash.Bytes(n.seed, b), b)
	return id, ok
}

// String returns the string with the number id, which Intern gave. It stays valid for as
// long as anybody holds it.
func (n *Interner) String(id uint32) string {
	_, b := n.at(n.places[id])
	// The arena is written once and never again, which is what a string asks for.
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// Hash returns the xxHash64 of the string with the number id.
func (n *Interner) Hash(id uint32) uint64 { return n.hashes[id] }

// Len returns how many strings there are; the next new one gets this number.
func (n *Interner) Len() int { return len(n.places) }

// Reset forgets every string. Strings that String returned stay valid.
func (n *Interner) Reset() {
	clear(n.slots)
	n.hashes, n.places, n.chunks, n.used = n.hashes[:0], n.places[:0], nil, 0
}

// find returns the number of b, or the empty slot where it belongs. The slot's index comes
// from the low bits of the hash and its tag from the high ones.
func (n *Interner) find(h uint64, b []byte) (slot int, id uint32, found bool) {
	mask := len(n.slots) - 1
	for slot = int(h) & mask; ; slot = (slot + 1) & mask {
		v := n.slots[slot]
		if v == 0 {
			return slot, 0, false
		}
		if (v^h)&tagMask == 0 {
			if id, s := n.at(v&placeMask - 1); string(s) == string(b) {
				return slot, id, true
			}
		}
	}
}

// at returns the number and the string at a place of the arena.
func (n *Interner) at(place uint64) (id uint32, b []byte) {
	r := n.chunks[place/chunkBytes][place%chunkBytes:]
	return binary.LittleEndian.Uint32(r), r[headerBytes:][:binary.LittleEndian.Uint32(r[4:])]
}

// keep writes b behind its number and length at the end of the arena, in one block.
func (n *Interner) keep(id uint32, b []byte) (place uint64) {
	size := headerBytes + len(b)
	if len(n.chunks) == 0 || n.used+size > chunkBytes {
		n.chunks = append(n.chunks, new([chunkBytes]byte))
		n.used = 0
	}
	last := len(n.chunks) - 1
	r := n.chunks[last][n.used:]
	binary.LittleEndian.PutUint32(r, id)
	binary.LittleEndian.PutUint32(r[4:], uint32(len(b)))
	copy(r[headerBytes:], b)
	place = uint64(last)*chunkBytes + uint64(n.used)
	n.used += size
	return place
}

func (n *Interner) grow() {
	n.slots = make([]uint64, 2*len(n.slots))
	mask := len(n.slots) - 1
	for _, place := range n.places {
		_, b := n.at(place)
		h := maphash.Bytes(n.seed, b)
		slot := int(h) & mask
		for n.slots[slot] != 0 {
			slot = (slot + 1) & mask
		}
		n.slots[slot] = h&tagMask | (place + 1)
	}
}
