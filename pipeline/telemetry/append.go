package telemetry

import (
	"strconv"
	"time"
	"unicode/utf8"
)

// AppendJSON appends the call in native JSON, on one line and without a line break. Empty
// fields are left out, except ts, tenant and agent. Bytes that are not UTF-8 become U+FFFD.
// What it writes of a call that a Decoder filled decodes to the same call.
func AppendJSON(b []byte, c *Call) []byte {
	b = append(b, '{')
	b = appendField(b, "id", c.ID)
	b = append(b, `"ts":"`...)
	b = time.Unix(0, c.Time).UTC().AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","tenant":`...)
	b = appendString(b, c.Tenant)
	b = append(b, `,"agent":`...)
	b = append(appendString(b, c.Agent), ',')
	b = appendField(b, "identity", c.Identity)
	b = appendField(b, "session", c.Session)
	b = appendChain(b, c.Chain)
	b = appendField(b, "action", c.Action)
	b = appendField(b, "resource", c.Resource)
	b = append(b, `"outcome":"`...)
	b = append(b, c.Outcome.String()...)
	b = append(b, `",`...)
	b = appendNumber(b, "latency_ns", int64(c.Latency))
	b = appendNumber(b, "bytes_in", c.BytesIn)
	b = appendNumber(b, "bytes_out", c.BytesOut)
	b = appendContext(b, c.Context)
	b = appendField(b, "traceparent", c.Traceparent)
	b = appendField(b, "sig", c.Sig)
	b[len(b)-1] = '}'
	return b
}

// Each of the append functions below leaves a comma behind what it wrote.

func appendField(b []byte, name string, v []byte) []byte {
	if len(v) == 0 {
		return b
	}
	b = appendName(b, name)
	return append(appendString(b, v), ',')
}

func appendNumber(b []byte, name string, v int64) []byte {
	if v == 0 {
		return b
	}
	b = appendName(b, name)
	return append(strconv.AppendInt(b, v, 10), ',')
}

func appendName(b []byte, name string) []byte {
	b = append(b, '"')
	b = append(b, name...)
	return append(b, '"', ':')
}

func appendChain(b []byte, chain [][]byte) []byte {
	if len(chain) == 0 {
		return b
	}
	b = append(b, `"chain":[`...)
	for _, m := range chain {
		b = append(appendString(b, m), ',')
	}
	b[len(b)-1] = ']'
	return append(b, ',')
}

func appendContext(b []byte, pairs []Pair) []byte {
	if len(pairs) == 0 {
		return b
	}
	b = append(b, `"context":{`...)
	for _, p := range pairs {
		b = append(appendString(b, p.Key), ':')
		b = append(appendString(b, p.Value), ',')
	}
	b[len(b)-1] = '}'
	return append(b, ',')
}

// appendString appends v as a JSON string.
func appendString(b, v []byte) []byte {
	b = append(b, '"')
	for i := 0; ; {
		run := i
		i = special(v, i, ^uint64(0))
		b = append(b, v[run:i]...)
		if i >= len(v) {
			return append(b, '"')
		}
		switch c := v[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
			i++
		case c < ' ':
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			i++
		default:
			r, size := utf8.DecodeRune(v[i:])
			b = utf8.AppendRune(b, r)
			i += size
		}
	}
}

const hexDigits = "0123456789abcdef"
