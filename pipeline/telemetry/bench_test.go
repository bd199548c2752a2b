package telemetry

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// benchJSON is a call of common size: 455 bytes, and 272 in protobuf.
const benchJSON = `{"id":"01JD3Z8Q6N7W2V5X9Y0ABCDEFG","ts":"2026-11-20T08:15:30.123456789Z","tenant":"acme-corp","agent":"billing-reconciler-7","identity":"arn:aws:iam::123456789012:role/billing","session":"run-8842-a91f","chain":["orchestrator-1","planner-3","billing-reconciler-7"],"action":"s3:GetObject","resource":"arn:aws:s3:::acme-invoices/2026/11/inv-000123.pdf","outcome":"ok","latency_ns":12345678,"bytes_in":512,"bytes_out":48213,"context":{"region":"eu-west-1"}}`

// benchCall decodes benchJSON.
func benchCall(b testing.TB) *Call {
	var d Decoder
	var c Call
	d.Start(JSON, []byte(benchJSON))
	if err := d.Next(&c); err != nil {
		b.Fatal(err)
	}
	return c.Clone()
}

func benchDecode(b *testing.B, f Format, raw []byte) {
	var d Decoder
	var c Call
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		d.Start(f, raw)
		if err := d.Next(&c); err != nil {
			b.Fatal(err)
		}
	}
	reportCalls(b)
}

func reportCalls(b *testing.B) {
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
}

func BenchmarkDecodeJSON(b *testing.B) { benchDecode(b, JSON, []byte(benchJSON)) }

func BenchmarkDecodeCloudTrail(b *testing.B) { benchDecode(b, CloudTrail, []byte(trailRecord)) }

func BenchmarkSplit(b *testing.B) {
	stream := []byte(strings.Repeat(benchJSON+"\n", 1000))
	b.SetBytes(int64(len(stream)))
	b.ReportAllocs()
	for b.Loop() {
		for _, err := range Split(bytes.NewReader(stream), Auto, Limits{}) {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.N)*1000/b.Elapsed().Seconds(), "calls/s")
}

func BenchmarkDecodeProto(b *testing.B) {
	benchDecode(b, Protobuf, AppendProto(nil, benchCall(b)))
}

// BenchmarkDecodeEncodingJSON decodes the same bytes with the standard library.
func BenchmarkDecodeEncodingJSON(b *testing.B) {
	raw := []byte(benchJSON)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		var c struct {
			ID, Tenant, Agent, Identity, Session, Action, Resource, Outcome string

			TS         time.Time `json:"ts"`
			Chain      []string
			Latency    int64 `json:"latency_ns"`
			BytesIn    int64 `json:"bytes_in"`
			BytesOut   int64 `json:"bytes_out"`
			Context    map[string]string
			Trace, Sig string
		}
		if err := json.Unmarshal(raw, &c); err != nil {
			b.Fatal(err)
		}
	}
	reportCalls(b)
}

func BenchmarkAppendJSON(b *testing.B)  { benchAppend(b, AppendJSON) }
func BenchmarkAppendProto(b *testing.B) { benchAppend(b, AppendProto) }

func benchAppend(b *testing.B, f func([]byte, *Call) []byte) {
	c := benchCall(b)
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = f(buf[:0], c)
	}
	b.SetBytes(int64(len(buf)))
	reportCalls(b)
}
