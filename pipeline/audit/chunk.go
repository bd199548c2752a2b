package audit

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Chunk is an entry of the log: the records of consecutive offsets of one partition.
type Chunk struct {
	Topic     string
	TopicID   [16]byte
	Partition int32
	First     int64 // the first and the last offset that it covers
	Last      int64
	Leaves    int
	Root      Hash // of the leaves
	Trails    int  // in the map behind this chunk
	Map       Hash // root of the map behind this chunk
}

const chunkHead = "estop chunk v1"

// Text returns the chunk as the log holds it.
func (c *Chunk) Text() []byte {
	return fmt.Appendf(nil, "%s\ntopic %s\nid %x\npartition %d\noffsets %d %d\nleaves %d\nroot %s\ntrails %d\nmap %s\n",
		chunkHead, c.Topic, c.TopicID, c.Partition, c.First, c.Last, c.Leaves, c.Root, c.Trails, c.Map)
}

var errChunk = errors.New("not an entry of this log")

// ParseChunk reads an entry of the log. A chunk has one text only: whatever differs from it
// is refused.
func ParseChunk(text []byte) (Chunk, error) {
	var c Chunk
	lines := strings.Split(string(text), "\n")
	if len(lines) != 10 || lines[0] != chunkHead {
		return c, fmt.Errorf("%w: it does not begin with %q", errChunk, chunkHead)
	}
	fields := map[string]string{}
	for _, line := range lines[1:9] {
		name, value, _ := strings.Cut(line, " ")
		fields[name] = value
	}
	first, last, _ := strings.Cut(fields["offsets"], " ")
	var p parser
	c.Topic = fields["topic"]
	p.id(&c.TopicID, fields["id"])
	c.Partition = int32(p.number(fields["partition"], math.MaxInt32))
	c.First, c.Last = p.number(first, math.MaxInt64), p.number(last, math.MaxInt64)
	c.Leaves = int(p.number(fields["leaves"], math.MaxInt32))
	p.hash(&c.Root, fields["root"])
	c.Trails = int(p.number(fields["trails"], math.MaxInt32))
	p.hash(&c.Map, fields["map"])
	if p.failed || c.Leaves == 0 || c.First > c.Last || string(c.Text()) != string(text) {
		return Chunk{}, fmt.Errorf("%w: %.300q", errChunk, text)
	}
	return c, nil
}

// parser reads values and remembers whether one was wrong.
type parser struct{ failed bool }

func (p *parser) number(text string, most int64) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	p.failed = p.failed || err != nil || n < 0 || n > most
	return n
}

func (p *parser) hash(to *Hash, text string) {
	b, err := base64.StdEncoding.DecodeString(text)
	p.failed = p.failed || err != nil || len(b) != len(to)
	copy(to[:], b)
}

func (p *parser) id(to *[16]byte, text string) {
	b, err := hex.DecodeString(text)
	p.failed = p.failed || err != nil || len(b) != len(to)
	copy(to[:], b)
}
