package pipeline

import (
	"maps"
	"math"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/detector"
)

func TestAMarkerIsReadBackAsItWasWritten(t *testing.T) {
	for _, c := range []checkpoint{
		{next: 0, origins: watermarks{}},
		{next: 1 << 40, origins: watermarks{
			{exchangedCalls, detector.ByIdentity, 0}:     {0, 0, 0},
			{exchangedCalls, detector.ByIdentity, 7}:     {1 << 45, math.MaxInt32, 0}, // a record may hold millions of calls
			{exchangedCalls, detector.ByResource, 10000}: {3, 1 << 21, 0},
			{signsOfCalls, detector.ByResource, 10000}:   {3, 1 << 21, 9},
			{signsOfGroups, detector.ByTenant, 1}:        {4, 0, 1},
		}},
	} {
		got, err := parseMarker(appendMarker(nil, c))
		if err != nil || got.next != c.next || !maps.Equal(got.origins, c.origins) {
			t.Errorf("%+v, %v, want %+v", got, err, c)
		}
	}
}

func TestEachCallOfARecordPassesOnce(t *testing.T) {
	w := watermarks{}
	at := func(offset int64, index int32) origin {
		return origin{by: detector.ByIdentity, partition: 1, offset: offset, index: index}
	}
	for _, o := range []origin{at(5, 0), at(5, 1), at(5, 1<<21), at(6, 0)} {
		if w.passed(o.place()) {
			t.Errorf("%+v counts as a repetition", o)
		}
	}
	for _, o := range []origin{at(6, 0), at(5, 1<<21), at(4, 9)} {
		if !w.passed(o.place()) {
			t.Errorf("%+v counts again", o)
		}
	}
	if other := (origin{by: detector.BySession, partition: 1, offset: 1}); w.passed(other.place()) {
		t.Error("another grouping is another stream")
	}
}

func FuzzParseMarker(f *testing.F) {
	f.Add(appendMarker(nil, checkpoint{next: 9, origins: watermarks{{signsOfCalls, detector.ByIdentity, 3}: {4, 5, 6}}}))
	f.Add([]byte{markerVersion})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseMarker(b)
		if err != nil {
			return
		}
		again, err := parseMarker(appendMarker(nil, c))
		if err != nil || again.next != c.next || !maps.Equal(again.origins, c.origins) {
			t.Errorf("%+v, %v, want %+v", again, err, c)
		}
	})
}

func FuzzParseOrigin(f *testing.F) {
	f.Add(origin{by: detector.ByIdentity, partition: 1, offset: 2, index: 3, appended: 4}.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := parseOrigin(&kgo.Record{Headers: []kgo.RecordHeader{{Key: headerOrigin, Value: b}}})
		if err == nil && string(o.append(nil)) != string(b) {
			t.Errorf("%x reads as %+v", b, o)
		}
	})
}
