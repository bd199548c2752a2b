package revoke

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
)

// idEncoding is the alphabet of IDs: lower case, no padding, in the order of RFC 4648
// base32hex, so that it is safe in subjects, file names and URLs.
var idEncoding = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)

// ID returns the deterministic id of what a detector decided about an entity because of
// the call at topic, partition and offset. index tells several decisions of one call
// apart. A replay of the same log repeats the same id.
//
// It is the first 130 bits of a SHA-256, 26 characters of base32hex.
func ID(detector, entity, topic string, partition int32, offset int64, index int) string {
	// Lengths go first: ("ab", "c") and ("a", "bc") must not collide.
	b := make([]byte, 0, 64+len(detector)+len(entity)+len(topic))
	for _, s := range []string{detector, entity, topic} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(partition))
	b = binary.BigEndian.AppendUint64(b, uint64(offset))
	b = binary.BigEndian.AppendUint64(b, uint64(index))
	return shortHash(b)
}

func shortHash(b []byte) string {
	sum := sha256.Sum256(b)
	return idEncoding.EncodeToString(sum[:])[:26]
}
