package telemetry

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// call returns a native JSON call with more members put into it.
func call(members string) []byte {
	return []byte(`{"ts":1,"tenant":"t","agent":"a"` + members + `}`)
}

// without returns a native JSON call that lacks one member.
func without(member string) []byte {
	return bytes.Replace(call(""), []byte(member), nil, 1)
}

// protoCall returns the smallest protobuf call with more fields behind it.
func protoCall(more ...byte) []byte {
	return append(AppendProto(nil, &Call{Time: 1, Tenant: []byte("t"), Agent: []byte("a")}), more...)
}

func protoText(num protowire.Number, v string) []byte {
	return protowire.AppendString(protowire.AppendTag(nil, num, protowire.BytesType), v)
}

func TestEachKindOfBadInputEndsWithItsReason(t *testing.T) {
	many := func(n int, each string) string { return strings.TrimSuffix(strings.Repeat(each+",", n), ",") }
	for name, in := range map[string]struct {
		format Format
		raw    []byte
		want   string
	}{
		// The ten kinds.
		"truncated JSON":   {JSON, call("")[:30], ReasonTruncatedJSON},
		"wrong type":       {JSON, call(`,"session":7`), ReasonWrongType},
		"50 MB line":       {JSON, call(`,"x":"` + strings.Repeat("x", 50<<20) + `"`), ReasonTooLarge},
		"invalid UTF-8":    {JSON, call(",\"session\":\"\xff\""), ReasonInvalidUTF8},
		"negative time":    {JSON, []byte(`{"ts":-1,"tenant":"t","agent":"a"}`), ReasonNegativeTime},
		"empty agent":      {JSON, []byte(`{"ts":1,"tenant":"t","agent":""}`), ReasonEmptyAgent},
		"chain 1,000 deep": {JSON, call(`,"chain":[` + many(1000, `"a"`) + `]`), ReasonChainTooDeep},
		"gzip bomb":        {JSON, gzipOf(t, make([]byte, 80<<20)), ReasonGzipBomb},
		"bad protobuf":     {Protobuf, []byte{0x0a, 0xff}, ReasonBadProtobuf},
		"null byte":        {JSON, call(",\"session\":\"a\x00b\""), ReasonNullByte},

		"no bytes":              {JSON, nil, ReasonEmpty},
		"blank":                 {JSON, []byte(" \n"), ReasonTruncatedJSON},
		"not an object":         {JSON, []byte(`[1]`), ReasonWrongType},
		"not JSON":              {JSON, []byte(`hello`), ReasonBadJSON},
		"two calls":             {JSON, []byte(lineA + lineB), ReasonTrailingData},
		"bad number":            {JSON, call(`,"bytes_in":01`), ReasonBadJSON},
		"half a number":         {JSON, call(`,"bytes_in":1.`), ReasonBadJSON},
		"fraction of a byte":    {JSON, call(`,"bytes_in":1.5`), ReasonBadValue},
		"more than 64 bits":     {JSON, call(`,"bytes_in":9223372036854775808`), ReasonBadValue},
		"far more than 64 bits": {JSON, call(`,"bytes_in":1e999999999999`), ReasonBadValue},
		"negative bytes":        {JSON, call(`,"bytes_out":-1`), ReasonNegativeBytes},
		"bytes as text":         {JSON, call(`,"bytes_out":"1"`), ReasonWrongType},
		"unknown outcome":       {JSON, call(`,"outcome":"fine"`), ReasonBadValue},
		"bad duration":          {JSON, call(`,"latency":"12"`), ReasonBadValue},
		"negative latency":      {JSON, call(`,"latency":"-1ms"`), ReasonNegativeTime},
		"both latencies":        {JSON, call(`,"latency":"1ms","latency_ns":1`), ReasonDuplicateKey},
		"agent twice":           {JSON, call(`,"agent":"b"`), ReasonDuplicateKey},
		"agent twice, escaped":  {JSON, call(`,"\u0061gent":"b"`), ReasonDuplicateKey},
		"context key twice":     {JSON, call(`,"context":{"k":1,"k":2}`), ReasonDuplicateKey},
		"context is text":       {JSON, call(`,"context":"k"`), ReasonWrongType},
		"no time":               {JSON, without(`"ts":1,`), ReasonMissingTime},
		"null time":             {JSON, []byte(`{"ts":null,"tenant":"t","agent":"a"}`), ReasonMissingTime},
		"bad time":              {JSON, []byte(`{"ts":"yesterday","tenant":"t","agent":"a"}`), ReasonBadTime},
		"time before 1970":      {JSON, []byte(`{"ts":"1969-12-31T23:59:59Z","tenant":"t","agent":"a"}`), ReasonNegativeTime},
		"no tenant":             {JSON, without(`"tenant":"t",`), ReasonEmptyTenant},
		"no agent":              {JSON, without(`,"agent":"a"`), ReasonEmptyAgent},
		"empty chain member":    {JSON, call(`,"chain":["a",""]`), ReasonBadValue},
		"number in the chain":   {JSON, call(`,"chain":[1]`), ReasonWrongType},
		"long field":            {JSON, call(`,"session":"` + strings.Repeat("x", DefaultMaxField+1) + `"`), ReasonFieldTooLong},
		"nested too deep":       {JSON, call(`,"x":` + strings.Repeat("[", 10000)), ReasonTooDeep},
		"escaped null byte":     {JSON, call(`,"session":"\u0000"`), ReasonNullByte},
		"hidden null byte":      {JSON, call(`,"x":[{"y":"\u0000"}]`), ReasonNullByte},
		"hidden invalid UTF-8":  {JSON, call(",\"x\":[\"\xc0\x80\"]"), ReasonInvalidUTF8},
		"bad escape":            {JSON, call(`,"session":"\x"`), ReasonBadJSON},
		"control character":     {JSON, call(",\"session\":\"\n\""), ReasonBadJSON},
		"trailing comma":        {JSON, call(`,`), ReasonBadJSON},
		"no content type":       {Auto, []byte("\x0a\x01x"), ReasonUnknownFormat},
		"bad gzip":              {JSON, []byte("\x1f\x8b\x08garbage"), ReasonBadGzip},
		"cut gzip":              {JSON, gzipOf(t, []byte(benchJSON))[:40], ReasonBadGzip},

		"protobuf: negative time":    {Protobuf, protoCall(0x11, 0, 0, 0, 0, 0, 0, 0, 0x80), ReasonNegativeTime},
		"protobuf: no time":          {Protobuf, protoCall()[9:], ReasonMissingTime},
		"protobuf: time as a varint": {Protobuf, protoCall(0x10, 1), ReasonWrongType},
		"protobuf: negative bytes":   {Protobuf, protoCall(0x60, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1), ReasonNegativeBytes},
		"protobuf: unknown outcome":  {Protobuf, protoCall(0x50, 9), ReasonBadValue},
		"protobuf: invalid UTF-8":    {Protobuf, protoCall(protoText(protoSession, "\xff")...), ReasonInvalidUTF8},
		"protobuf: null byte":        {Protobuf, protoCall(protoText(protoSession, "a\x00b")...), ReasonNullByte},
		"protobuf: long field":       {Protobuf, protoCall(protoText(protoSession, strings.Repeat("x", DefaultMaxField+1))...), ReasonFieldTooLong},
		"protobuf: deep chain":       {Protobuf, protoCall(bytes.Repeat(protoText(protoChain, "a"), 1000)...), ReasonChainTooDeep},
		"protobuf: bad entry":        {Protobuf, protoCall(protoText(protoContext, "\x0a\x05k")...), ReasonBadProtobuf},
		"protobuf: too large":        {Protobuf, protoCall(protoText(99, strings.Repeat("x", DefaultMaxBytes))...), ReasonTooLarge},

		"cloudtrail: no time":        {CloudTrail, []byte(`{"eventName":"x","eventSource":"s3.amazonaws.com"}`), ReasonMissingTime},
		"cloudtrail: time as number": {CloudTrail, []byte(`{"eventTime":1}`), ReasonWrongType},
		"cloudtrail: no account":     {CloudTrail, []byte(`{"eventTime":"2026-11-20T08:00:00Z","eventSource":"s3.amazonaws.com"}`), ReasonEmptyTenant},
		"cloudtrail: nobody":         {CloudTrail, []byte(`{"eventTime":"2026-11-20T08:00:00Z","recipientAccountId":"1"}`), ReasonEmptyAgent},
		"cloudtrail: truncated":      {CloudTrail, []byte(trailRecord[:700]), ReasonTruncatedJSON},
		"cloudtrail: null byte":      {CloudTrail, []byte(strings.Replace(trailRecord, "deployer", `\u0000`, 2)), ReasonNullByte},
		"cloudtrail: long resource":  {CloudTrail, []byte(strings.Replace(trailRecord, "invoices", strings.Repeat("x", 5000), 1)), ReasonFieldTooLong},
	} {
		t.Run(name, func(t *testing.T) {
			var d Decoder
			var c Call
			d.Start(in.format, in.raw)
			err := d.Next(&c)
			var bad *BadCall
			if !errors.As(err, &bad) || bad.Reason != in.want {
				t.Fatalf("got %v, want %s", err, in.want)
			}
			if bad.Detail == "" {
				t.Error("no detail")
			}
			if err := d.Next(&c); err != io.EOF {
				t.Errorf("after it: %v, want io.EOF", err)
			}
			d.Start(JSON, []byte(benchJSON))
			if err := d.Next(&c); err != nil {
				t.Errorf("the next message suffers from it: %v", err)
			}
		})
	}
}

func TestAnEntryTooManyIsTooMuchContext(t *testing.T) {
	var b strings.Builder
	raw := protoCall()
	for i := range DefaultMaxContext + 1 {
		k := string(rune('A' + i))
		b.WriteString(`,"` + strings.ReplaceAll(k, `\`, `\\`) + `":1`)
		raw = append(raw, protoText(protoContext, "\x0a"+string(rune(len(k)))+k)...)
	}
	var d Decoder
	var c Call
	for f, raw := range map[Format][]byte{JSON: call(`,"context":{` + b.String()[1:] + `}`), Protobuf: raw} {
		d.Start(f, raw)
		var bad *BadCall
		if err := d.Next(&c); !errors.As(err, &bad) || bad.Reason != ReasonTooMuchContext {
			t.Errorf("%s: got %v, want %s", f, err, ReasonTooMuchContext)
		}
	}
}

func TestOneBadRecordDoesNotTakeItsFileAlong(t *testing.T) {
	bad := `{"eventTime":"never","userIdentity":{}}`
	file := `{"Records":[` + trailRecord + `,` + bad + `,7,` + trailRecord + `]}`
	for name, raw := range map[string][]byte{"plain": []byte(file), "gzip": gzipOf(t, []byte(file))} {
		t.Run(name, func(t *testing.T) {
			var d Decoder
			var c Call
			var got []string
			d.Start(Auto, raw)
			for {
				err := d.Next(&c)
				if err == io.EOF {
					break
				}
				if bad := (*BadCall)(nil); errors.As(err, &bad) {
					if bad.Index != len(got) {
						t.Errorf("index %d, want %d", bad.Index, len(got))
					}
					got = append(got, bad.Reason)
					continue
				}
				got = append(got, string(c.Agent))
			}
			want := "role/ci/deployer bad_time wrong_type role/ci/deployer"
			if s := strings.Join(got, " "); s != want {
				t.Errorf("got %q, want %q", s, want)
			}
		})
	}
}
