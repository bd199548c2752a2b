package telemetry

import "google.golang.org/protobuf/encoding/protowire"

// AppendProto appends the call as an estop.v1.Call message. What it writes of a call that a
// Decoder filled decodes to the same call.
func AppendProto(b []byte, c *Call) []byte {
	b = appendText(b, protoID, c.ID)
	b = protowire.AppendTag(b, protoTime, protowire.Fixed64Type)
	b = protowire.AppendFixed64(b, uint64(c.Time))
	b = appendText(b, protoTenant, c.Tenant)
	b = appendText(b, protoAgent, c.Agent)
	b = appendText(b, protoIdentity, c.Identity)
	b = appendText(b, protoSession, c.Session)
	for _, m := range c.Chain {
		b = appendText(b, protoChain, m)
	}
	b = appendText(b, protoAction, c.Action)
	b = appendText(b, protoResource, c.Resource)
	b = appendVarint(b, protoOutcome, int64(c.Outcome))
	b = appendVarint(b, protoLatency, int64(c.Latency))
	b = appendVarint(b, protoBytesIn, c.BytesIn)
	b = appendVarint(b, protoBytesOut, c.BytesOut)
	for _, p := range c.Context {
		size := protowire.SizeTag(protoKey) + protowire.SizeBytes(len(p.Key)) +
			protowire.SizeTag(protoValue) + protowire.SizeBytes(len(p.Value))
		b = protowire.AppendTag(b, protoContext, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(size))
		b = protowire.AppendTag(b, protoKey, protowire.BytesType)
		b = protowire.AppendBytes(b, p.Key)
		b = protowire.AppendTag(b, protoValue, protowire.BytesType)
		b = protowire.AppendBytes(b, p.Value)
	}
	b = appendText(b, protoTraceparent, c.Traceparent)
	return appendText(b, protoSig, c.Sig)
}

func appendText(b []byte, num protowire.Number, v []byte) []byte {
	if len(v) == 0 {
		return b
	}
	b = protowire.AppendTag(b, num, protowire.BytesType)
	return protowire.AppendBytes(b, v)
}

func appendVarint(b []byte, num protowire.Number, v int64) []byte {
	if v == 0 {
		return b
	}
	b = protowire.AppendTag(b, num, protowire.VarintType)
	return protowire.AppendVarint(b, uint64(v))
}
