package telemetry

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// The field numbers of estop.v1.Call; estop.proto has the message.
const (
	protoID = iota + 1
	protoTime
	protoTenant
	protoAgent
	protoIdentity
	protoSession
	protoChain
	protoAction
	protoResource
	protoOutcome
	protoLatency
	protoBytesIn
	protoBytesOut
	protoContext
	protoTraceparent
	protoSig
)

// The field numbers of an entry of context.
const (
	protoKey   = 1
	protoValue = 2
)

// wire walks one protobuf message. As in protobuf, the last of several values of a field
// counts, and unknown fields pass; unlike it, a known field of another wire type is refused.
type wire struct {
	b      []byte
	limits *Limits
	seen   int
	num    protowire.Number // the field being read
	reason string
}

// decodeProto reads one estop.v1.Call. The call points into raw.
func decodeProto(raw []byte, c *Call, l *Limits) (reason, detail string) {
	w := wire{b: raw, limits: l}
	for len(w.b) > 0 && w.reason == "" {
		w.field(c)
	}
	if w.reason == "" {
		w.reason = incomplete(c, w.seen)
		w.num = 0
	}
	if w.reason != "" {
		detail = fmt.Sprintf("at byte %d, field %d", len(raw)-len(w.b), w.num)
	}
	return w.reason, detail
}

func (w *wire) fail(reason string) {
	if w.reason == "" {
		w.reason = reason
	}
}

// tag reads a field number and its wire type.
func (w *wire) tag() (t protowire.Type, ok bool) {
	if t := w.b[0]; t < 0x80 && t >= 8 {
		w.b = w.b[1:]
		w.num = protowire.Number(t >> 3)
		return protowire.Type(t & 7), true
	}
	num, t, n := protowire.ConsumeTag(w.b)
	if n < 0 {
		w.fail(ReasonBadProtobuf)
		return 0, false
	}
	w.b, w.num = w.b[n:], num
	return t, true
}

// field reads one field of a Call.
func (w *wire) field(c *Call) {
	t, ok := w.tag()
	if !ok {
		return
	}
	switch w.num {
	case protoID:
		w.text(t, &c.ID)
	case protoTime:
		w.time(t, c)
	case protoTenant:
		w.text(t, &c.Tenant)
	case protoAgent:
		w.text(t, &c.Agent)
	case protoIdentity:
		w.text(t, &c.Identity)
	case protoSession:
		w.text(t, &c.Session)
	case protoChain:
		w.member(t, c)
	case protoAction:
		w.text(t, &c.Action)
	case protoResource:
		w.text(t, &c.Resource)
	case protoOutcome:
		c.Outcome = Outcome(w.integer(t, int64(OutcomeError), ReasonBadValue))
	case protoLatency:
		c.Latency = time.Duration(w.integer(t, maxInt, ReasonNegativeTime))
	case protoBytesIn:
		c.BytesIn = w.integer(t, maxInt, ReasonNegativeBytes)
	case protoBytesOut:
		c.BytesOut = w.integer(t, maxInt, ReasonNegativeBytes)
	case protoContext:
		w.entry(t, c)
	case protoTraceparent:
		w.text(t, &c.Traceparent)
	case protoSig:
		w.text(t, &c.Sig)
	default:
		c.Unknown++
		w.skip(t)
	}
}

const maxInt = 1<<63 - 1

// bytes reads a length and as many bytes.
func (w *wire) bytes(t protowire.Type) []byte {
	if t != protowire.BytesType {
		w.wrongType(t)
		return nil
	}
	if len(w.b) > 0 && w.b[0] < 0x80 && int(w.b[0]) < len(w.b) {
		n := int(w.b[0]) + 1
		v := w.b[1:n:n]
		w.b = w.b[n:]
		return v
	}
	v, n := protowire.ConsumeBytes(w.b)
	if n < 0 {
		w.fail(ReasonBadProtobuf)
		return nil
	}
	w.b = w.b[n:]
	return v[:len(v):len(v)]
}

// text reads a string.
func (w *wire) text(t protowire.Type, dst *[]byte) {
	v := w.bytes(t)
	switch {
	case len(v) > w.limits.MaxField:
		w.fail(ReasonFieldTooLong)
	case plain(v):
	case !utf8.Valid(v):
		w.fail(ReasonInvalidUTF8)
	case bytes.IndexByte(v, 0) >= 0:
		w.fail(ReasonNullByte)
	}
	*dst = v
}

// plain tells bytes among which are neither U+0000 nor bytes above 127, eight at once.
func plain(b []byte) bool {
	m := uint64(0)
	for ; len(b) >= 8; b = b[8:] {
		w := binary.LittleEndian.Uint64(b)
		m |= w | (w - ones)
	}
	for _, c := range b {
		m |= uint64(c) | (uint64(c) - 1)
	}
	return m&highs == 0
}

// integer reads a varint from 0 to most; a negative one has a reason of its own.
func (w *wire) integer(t protowire.Type, most int64, negative string) int64 {
	if t != protowire.VarintType {
		w.wrongType(t)
		return 0
	}
	v, n := protowire.ConsumeVarint(w.b)
	if n < 0 {
		w.fail(ReasonBadProtobuf)
		return 0
	}
	w.b = w.b[n:]
	switch {
	case int64(v) < 0:
		w.fail(negative)
	case int64(v) > most:
		w.fail(ReasonBadValue)
	default:
		return int64(v)
	}
	return 0
}

func (w *wire) time(t protowire.Type, c *Call) {
	if t != protowire.Fixed64Type {
		w.wrongType(t)
		return
	}
	v, n := protowire.ConsumeFixed64(w.b)
	if n < 0 {
		w.fail(ReasonBadProtobuf)
		return
	}
	w.b = w.b[n:]
	w.seen |= haveTime
	c.Time = int64(v)
	if c.Time < 0 {
		w.fail(ReasonNegativeTime)
	}
}

func (w *wire) member(t protowire.Type, c *Call) {
	if len(c.Chain) >= w.limits.MaxChain {
		w.fail(ReasonChainTooDeep)
		return
	}
	var m []byte
	w.text(t, &m)
	if len(m) == 0 {
		w.fail(ReasonBadValue)
		return
	}
	c.Chain = append(c.Chain, m)
}

// entry reads a context entry; a later entry of the same key takes the place of an earlier.
func (w *wire) entry(t protowire.Type, c *Call) {
	in := wire{b: w.bytes(t), limits: w.limits}
	var p Pair
	for len(in.b) > 0 && in.reason == "" && w.reason == "" {
		t, ok := in.tag()
		switch {
		case !ok:
		case in.num == protoKey:
			in.text(t, &p.Key)
		case in.num == protoValue:
			in.text(t, &p.Value)
		default:
			in.skip(t)
		}
	}
	if in.reason != "" {
		w.fail(in.reason)
	}
	for i := range c.Context {
		if string(c.Context[i].Key) == string(p.Key) {
			c.Context[i].Value = p.Value
			return
		}
	}
	if len(c.Context) >= w.limits.MaxContext {
		w.fail(ReasonTooMuchContext)
		return
	}
	c.Context = append(c.Context, p)
}

func (w *wire) skip(t protowire.Type) {
	n := protowire.ConsumeFieldValue(w.num, t, w.b)
	if n < 0 {
		w.fail(ReasonBadProtobuf)
		return
	}
	w.b = w.b[n:]
}

// wrongType reads the value that is there, so that bytes that are no protobuf at all are
// named as that.
func (w *wire) wrongType(t protowire.Type) {
	w.skip(t)
	w.fail(ReasonWrongType)
}
