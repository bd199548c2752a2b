package telemetry

import (
	"unsafe"

	"github.com/cespare/xxhash/v2"
)

const (
	chunkBytes = 64 << 10 // of one block of an Interner's arena; no string is longer
	firstSlots = 64
	lengthBits = 17 // of span: chunkBytes fits
)

// Interner gives each different string a dense number, 0, 1, 2, …, and keeps the string
// once. It is open addressing over 4-byte slots; the strings lie in blocks without
// pointers, so that a million of them cost the garbage collector nothing. A look-up that
// finds its string allocates nothing. One goroutine at a time.
type Interner struct {
	max    int
	slots  []uint32 // id+1; 0 is empty; a power of two, at most three quarters full
	hashes []uint64 // by id
	spans  []uint64 // by id: position in the arena << lengthBits | length
	chunks [][]byte
}

// NewInterner returns an interner for at most max strings.
func NewInterner(max int) *Interner {
	return &Interner{max: max, slots: make([]uint32, firstSlots)}
}

// Intern returns the number of b, and whether it is new. It returns ok false, and keeps
// nothing, where b is new and the interner is full or b is longer than 64 KiB. It does not
// retain b.
func (n *Interner) Intern(b []byte) (id uint32, fresh, ok bool) {
	h := xxhash.Sum64(b)
	slot, id, found := n.find(h, b)
	if found {
		return id, false, true
	}
	if len(n.spans) >= n.max || len(b) > chunkBytes {
		return 0, false, false
	}
	id = uint32(len(n.spans))
	n.spans = append(n.spans, n.keep(b))
	n.hashes = append(n.hashes, h)
	n.slots[slot] = id + 1
	if len(n.spans)*4 > len(n.slots)*3 {
		n.grow()
	}
	return id, true, true
}

// Lookup returns the number of b, and whether it has one.
func (n *Interner) Lookup(b []byte) (id uint32, ok bool) {
	_, id, ok = n.find(xxhash.Sum64(b), b)
	return id, ok
}

// String returns the string with the number id, which Intern gave. It stays valid for as
// long as anybody holds it.
func (n *Interner) String(id uint32) string {
	b := n.bytes(id)
	// The arena is written once and never again, which is what a string asks for.
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// Hash returns the xxHash64 of the string with the number id.
func (n *Interner) Hash(id uint32) uint64 { return n.hashes[id] }

// Len returns how many strings there are; the next new one gets this number.
func (n *Interner) Len() int { return len(n.spans) }

// Reset forgets every string. Strings that String returned stay valid.
func (n *Interner) Reset() {
	clear(n.slots)
	n.hashes, n.spans, n.chunks = n.hashes[:0], n.spans[:0], nil
}

// find returns the id of b, or the empty slot where it belongs.
func (n *Interner) find(h uint64, b []byte) (slot int, id uint32, found bool) {
	mask := len(n.slots) - 1
	for slot = int(h) & mask; ; slot = (slot + 1) & mask {
		v := n.slots[slot]
		if v == 0 {
			return slot, 0, false
		}
		if n.hashes[v-1] == h && string(n.bytes(v-1)) == string(b) {
			return slot, v - 1, true
		}
	}
}

func (n *Interner) bytes(id uint32) []byte {
	span := n.spans[id]
	at, length := span>>lengthBits, span&(1<<lengthBits-1)
	return n.chunks[at/chunkBytes][at%chunkBytes:][:length]
}

// keep copies b to the end of the arena, in one block.
func (n *Interner) keep(b []byte) (span uint64) {
	last := len(n.chunks) - 1
	if last < 0 || len(n.chunks[last])+len(b) > chunkBytes {
		n.chunks = append(n.chunks, make([]byte, 0, chunkBytes))
		last++
	}
	at := last*chunkBytes + len(n.chunks[last])
	n.chunks[last] = append(n.chunks[last], b...)
	return uint64(at)<<lengthBits | uint64(len(b))
}

func (n *Interner) grow() {
	n.slots = make([]uint32, 2*len(n.slots))
	mask := len(n.slots) - 1
	for id, h := range n.hashes {
		slot := int(h) & mask
		for n.slots[slot] != 0 {
			slot = (slot + 1) & mask
		}
		n.slots[slot] = uint32(id) + 1
	}
}
