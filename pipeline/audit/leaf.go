package audit

import (
	"crypto/sha256"
	"encoding/binary"
)

// Subject is whom or what a leaf is about: a trail is the leaves of one subject in one
// topic. docs/audit.md says which subject a record has.
type Subject struct {
	Tenant string `json:"tenant"`
	Scope  string `json:"scope"` // agent, identity, session, chain, tenant, revocation or detectors; empty: none could be read
	Name   string `json:"subject"`
}

// maxName bounds each text of a subject. A record whose subject is longer has none.
const maxName = 1 << 10

func (s Subject) fits() bool {
	return len(s.Tenant) <= maxName && len(s.Scope) <= maxName && len(s.Name) <= maxName
}

// The first bytes of what is hashed, so that nothing can be taken for something else.
const (
	leafPrefix  = "estop leaf v1\n"
	trailPrefix = "estop trail v1\n"
)

// saltSize is the size of a leaf's salt: whoever lacks it cannot guess what the leaf hides.
const saltSize = 16

// Salt hides the payload behind a leaf's commitment.
type Salt [saltSize]byte

// Place is where in Kafka a leaf comes from.
type Place struct {
	TopicID   [16]byte
	Partition int32
	Offset    int64
	Part      uint32 // of the calls in one record
}

// Leaf is one record, or one call of a record, as the log commits to it.
type Leaf struct {
	Topic string
	Subject
	Place
	Seq        uint64 // in its trail, from 1
	Prev       Hash   // of the leaf before it in the trail; zero if it is the first
	Clock      int64  // milliseconds: the latest Appended of the trail so far
	Appended   int64  // Kafka's timestamp, Unix milliseconds
	Commitment Hash   // of salt and payload
}

// Commit returns the commitment to a payload.
func Commit(salt Salt, payload []byte) Hash {
	return sha256.Sum256(append(salt[:], payload...))
}

// Append appends the leaf's encoding: what its hash is of.
func (l *Leaf) Append(b []byte) []byte {
	b = append(b, leafPrefix...)
	b = binary.BigEndian.AppendUint64(b, l.Seq)
	b = append(b, l.Prev[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(l.Clock))
	b = append(b, l.TopicID[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(l.Partition))
	b = binary.BigEndian.AppendUint64(b, uint64(l.Offset))
	b = binary.BigEndian.AppendUint32(b, l.Part)
	b = binary.BigEndian.AppendUint64(b, uint64(l.Appended))
	b = append(b, l.Commitment[:]...)
	return appendNames(b, l.Topic, l.Subject)
}

// Hash returns the leaf's RFC 6962 hash.
func (l *Leaf) Hash() Hash {
	var room [512]byte // the first byte, 0, is the prefix of a leaf
	return sha256.Sum256(l.Append(room[:1]))
}

func appendNames(b []byte, topic string, s Subject) []byte {
	for _, name := range []string{topic, s.Tenant, s.Scope, s.Name} {
		b = binary.BigEndian.AppendUint16(b, uint16(len(name)))
		b = append(b, name...)
	}
	return b
}

// TrailKey returns the key of a trail in the map.
func TrailKey(topic string, s Subject) Hash {
	var room [256]byte
	return sha256.Sum256(appendNames(append(room[:0], trailPrefix...), topic, s))
}
