package telemetry

import (
	"io"
	"testing"
)

func TestAppendJSONDecodesToTheSameCall(t *testing.T) {
	const line = `{"id":"1","ts":"2026-11-20T08:00:00.5Z","tenant":"t","agent":"a","chain":["r","a"],"action":"x","outcome":"denied","latency_ns":12,"bytes_in":3,"context":{"k":"v"}}`
	var d Decoder
	var c Call
	d.Start(Auto, []byte(line))
	if err := d.Next(&c); err != nil {
		t.Fatal(err)
	}
	if got := string(AppendJSON(nil, &c)); got != line {
		t.Errorf("got  %s\nwant %s", got, line)
	}
	if err := d.Next(&c); err != io.EOF {
		t.Errorf("second Next: %v, want io.EOF", err)
	}
}
