package telemetry

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
)

// Decoder makes calls out of the bytes of one message at a time. It keeps its buffers from
// message to message and allocates nothing for a good call once they have grown. The zero
// value is ready; it is not for use by several goroutines at once.
type Decoder struct {
	// Limits may be set before the first Start.
	Limits Limits

	scan   scanner
	gz     gunzipper
	format Format
	raw    []byte
	state  state
	index  int    // of the next call
	reason string // what Start found wrong, for the first Next
	detail string
}

// state is how far a decoder is in its message.
type state uint8

const (
	atStart   state = iota
	inRecords       // between two elements of a CloudTrail file
	atEnd
)

// Start begins with a message. raw may be gzip in every format; it must not change until
// the last call that points into it is done with. What is wrong with the message as a whole
// is the first Next's answer.
func (d *Decoder) Start(f Format, raw []byte) {
	d.scan.limits = d.Limits.withDefaults()
	d.raw, d.format, d.state, d.index = raw, f, atStart, 0
	d.reason, d.detail = "", ""
	l := &d.scan.limits
	most := l.MaxFile
	if f == JSON || f == Protobuf {
		most = l.MaxBytes
	}
	if gzipped(raw) {
		d.raw, d.reason = d.gz.unpack(raw, most, l.MaxRatio)
		d.detail = "in gzip"
	}
	if d.reason == "" && f == Auto {
		if d.format = d.scan.sniff(d.raw); d.format == Auto {
			d.reason, d.detail = ReasonUnknownFormat, "no content type, and not JSON"
		} else if d.format == JSON {
			most = l.MaxBytes
		}
	}
	if d.reason == "" && len(d.raw) > most {
		d.reason, d.detail = ReasonTooLarge, fmt.Sprintf("%d bytes, at most %d", len(d.raw), most)
	}
	if len(raw) == 0 {
		d.reason, d.detail = ReasonEmpty, "no bytes"
	}
	d.scan.reset(d.raw)
}

// Next fills c with the next call of the message. It returns io.EOF after the last one, and
// a *BadCall for a call that cannot be decoded; Next then goes on behind it.
func (d *Decoder) Next(c *Call) error {
	if d.state == atEnd {
		return io.EOF
	}
	c.Reset()
	if d.reason != "" {
		d.state = atEnd
		return &BadCall{Reason: d.reason, Detail: d.detail, Index: d.index}
	}
	if d.format == CloudTrail {
		return d.nextRecord(c)
	}
	d.state = atEnd
	if d.format == Protobuf {
		if reason, detail := decodeProto(d.raw, c, &d.scan.limits); reason != "" {
			return &BadCall{Reason: reason, Detail: detail, Index: d.index}
		}
	} else if !d.scan.native(c) || !d.scan.end() && !d.scan.fail(ReasonTrailingData) {
		return d.bad()
	}
	return d.finish(c, d.raw)
}

// More reports whether the message may hold a further call. Where it does not, the last call stays
// valid until the next Start.
func (d *Decoder) More() bool { return d.state != atEnd }

// finish refuses a call that could not be stopped and fills in what it did not say.
func (d *Decoder) finish(c *Call, raw []byte) error {
	d.index++
	if field := unstoppable(c); field != "" {
		return &BadCall{Reason: ReasonFieldTooLong, Detail: field + " is longer than a revocation can carry", Index: d.index - 1}
	}
	d.derive(c, raw)
	return nil
}

// unstoppable returns the name of the call that is too long for a revocation, if one is.
func unstoppable(c *Call) string {
	switch {
	case len(c.Tenant) > MaxTenant:
		return "tenant"
	case len(c.Agent) > MaxName:
		return "agent"
	case len(c.Identity) > MaxName:
		return "identity"
	case len(c.Session) > MaxName:
		return "session"
	}
	for _, member := range c.Chain {
		if len(member) > MaxName {
			return "chain member"
		}
	}
	return ""
}

// Format returns the format of the message, which after Start(Auto, …) is what its bytes
// told.
func (d *Decoder) Format() Format { return d.format }

// bad makes a BadCall out of the scanner's failure and counts the call.
func (d *Decoder) bad() *BadCall {
	s := &d.scan
	detail := fmt.Sprintf("at byte %d", s.i)
	if s.field != nil {
		detail += fmt.Sprintf(", field %.64q", s.field)
	}
	e := &BadCall{Reason: s.reason, Detail: detail, Index: d.index}
	s.reason = ""
	d.index++
	return e
}

// derive gives a call without an id the first half of the SHA-256 of its bytes, in hex: the
// same bytes get the same id at every replay. raw is the call as it was sent, unzipped.
func (d *Decoder) derive(c *Call, raw []byte) {
	if len(c.ID) > 0 {
		return
	}
	sum := sha256.Sum256(bytes.TrimSpace(raw))
	from := len(d.scan.arena)
	d.scan.arena = hex.AppendEncode(d.scan.arena, sum[:16])
	c.ID = d.scan.arena[from:len(d.scan.arena):len(d.scan.arena)]
}
