package pipeline

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/shard"
	"github.com/estop-project/estop/pipeline/telemetry"
)

func sentFrom(what traffic, part int32) sent {
	_, src := packedCall(7)
	return sent{originOf(detector.ByTenant, src), stream{what, detector.ByTenant, 5}, reached{1 << 40, 3, part}}
}

func TestARecordOfSignsIsReadBackAsItWasWritten(t *testing.T) {
	var p packer
	c, src := packedCall(7)
	signs := []shard.Sign{{Detector: "a", ID: "0123", FirstBad: "call-1", At: 17}, {Detector: "b", ID: "4567"}}
	from := sentFrom(signsOfGroups, 2)
	r := p.signs(c, from, signs)
	got, back, ok, err := parseSigns(r)
	if !ok || err != nil || got != from {
		t.Errorf("%+v, %v, %v, want %+v", got, ok, err, from)
	}
	if diff := cmp.Diff(signs, back); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(src, got.source()); diff != "" || string(r.Key) != "\x04t" {
		t.Errorf("key %q: %s", r.Key, diff)
	}
	var d telemetry.Decoder
	var call telemetry.Call
	if d.Start(FormatOf(r), r.Value); d.Next(&call) != nil || string(call.ID) != "call-7" {
		t.Errorf("the call is %q", call.ID)
	}
	// Whoever knows no signs does not take it for a call.
	if _, err := parseOrigin(r); !errors.Is(err, errOrigin) {
		t.Errorf("it passes for an exchanged call: %v", err)
	}
	if _, _, ok, _ := parseSigns(p.record(detector.ByTenant, c, src)); ok {
		t.Error("an exchanged call passes for signs")
	}
}

func TestEachPartOfSignsPassesOnceAndStreamsAreApart(t *testing.T) {
	w := watermarks{}
	for i, s := range []sent{sentFrom(signsOfCalls, 0), sentFrom(signsOfCalls, 1), sentFrom(signsOfGroups, 0), sentFrom(signsOfGroups, 1)} {
		if w.passed(s.from, s.at) || !w.passed(s.from, s.at) {
			t.Errorf("%d: want it once", i)
		}
	}
	if s := sentFrom(signsOfCalls, 0); !w.passed(s.from, s.at) {
		t.Error("the first part counts again")
	}
}

func FuzzParseSignsHeader(f *testing.F) {
	f.Add(shard.AppendSigns(sentFrom(signsOfCalls, 0).append(nil), []shard.Sign{{Detector: "a", ID: "0123", FirstBad: "call-1", At: 17}}))
	f.Add(sentFrom(exchangedCalls, 0).append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		from, signs, ok, err := parseSigns(&kgo.Record{Headers: []kgo.RecordHeader{{Key: headerSigns, Value: b}}})
		if !ok {
			t.Fatal("the header is not seen")
		}
		if err != nil {
			return
		}
		again, back, _, err := parseSigns(&kgo.Record{Headers: []kgo.RecordHeader{{Key: headerSigns, Value: shard.AppendSigns(from.append(nil), signs)}}})
		if err != nil || again != from || !slices.Equal(back, signs) {
			t.Errorf("%+v %+v, %v, want %+v %+v", again, back, err, from, signs)
		}
	})
}
