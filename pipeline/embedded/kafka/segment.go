package kafka

import (
	"encoding/binary"
	"hash/crc32"
)

// batch is what recovery needs of one record batch (Kafka's message format v2).
type batch struct {
	firstOffset   int64
	size          int64 // bytes in the segment file
	leaderEpoch   int32
	attributes    uint16
	producerID    int64
	producerEpoch int16
	firstSequence int32
	records       int32
}

const (
	batchHeader = 61 // bytes before the records
	batchPrefix = 12 // first offset and length, which the length does not count

	attrTransactional = 1 << 4
	attrControl       = 1 << 5
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// nextBatch reads the batch at the start of raw. It is false at the end of the whole and undamaged part, which is
// where kfake cuts a segment too.
func nextBatch(raw []byte) (batch, bool) {
	if len(raw) < batchHeader {
		return batch{}, false
	}
	be := binary.BigEndian
	size := batchPrefix + int64(int32(be.Uint32(raw[8:])))
	if size < batchHeader || size > int64(len(raw)) {
		return batch{}, false
	}
	if crc32.Checksum(raw[21:size], castagnoli) != be.Uint32(raw[17:]) {
		return batch{}, false
	}
	return batch{
		firstOffset:   int64(be.Uint64(raw)),
		size:          size,
		leaderEpoch:   int32(be.Uint32(raw[12:])),
		attributes:    be.Uint16(raw[21:]),
		producerID:    int64(be.Uint64(raw[43:])),
		producerEpoch: int16(be.Uint16(raw[51:])),
		firstSequence: int32(be.Uint32(raw[53:])),
		records:       int32(be.Uint32(raw[57:])),
	}, true
}

// readBatches returns the whole batches at the start of a segment.
func readBatches(raw []byte) []batch {
	var batches []batch
	for {
		b, ok := nextBatch(raw)
		if !ok {
			return batches
		}
		batches = append(batches, b)
		raw = raw[b.size:]
	}
}

// indexEntrySize is the size of kfake's index entry, one for each batch of a segment: version, checksum, leader
// epoch, a timestamp that it computes anew, and whether the batch was part of an open transaction.
const indexEntrySize = 15

func indexEntry(b batch) [indexEntrySize]byte {
	var e [indexEntrySize]byte
	e[0] = 1
	binary.LittleEndian.PutUint32(e[2:], uint32(b.leaderEpoch))
	if b.attributes&attrTransactional != 0 && b.attributes&attrControl == 0 {
		e[14] = 1
	}
	e[1] = byte(crc32.Checksum(e[2:], castagnoli))
	return e
}

// wholeEntries returns the length of the undamaged part of one of kfake's entry logs (groups.log, pids.log):
// length, CRC of the rest, version, data.
func wholeEntries(raw []byte) int {
	const header, minimum = 8, 2
	at := 0
	for len(raw)-at >= header+minimum {
		length := int64(binary.LittleEndian.Uint32(raw[at:]))
		if length < minimum || length > int64(len(raw)-at-header) {
			break
		}
		end := at + header + int(length)
		if crc32.Checksum(raw[at+header:end], castagnoli) != binary.LittleEndian.Uint32(raw[at+4:]) {
			break
		}
		at = end
	}
	return at
}
