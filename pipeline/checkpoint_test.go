package pipeline

import (
	"encoding/hex"
	"errors"
	"maps"
	"math"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/shard"
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

// A marker of each version that is read, as an estop of that version wrote it. A further version needs a further one.
func TestTheMarkersOfThisVersionAndTheOneBeforeAreRead(t *testing.T) {
	written := map[byte]string{
		3: "038080808080400200010e808080808040808080800800020402080604",
	}
	want := checkpoint{next: 1 << 40, origins: watermarks{
		{exchangedCalls, detector.ByIdentity, 7}: {1 << 40, 1 << 30, 0},
		{signsOfGroups, detector.ByTenant, 1}:    {4, 3, 2},
	}}
	for v := byte(oldestMarker); v <= markerVersion; v++ {
		b, err := hex.DecodeString(written[v])
		if err != nil || len(b) == 0 {
			t.Fatalf("no marker of version %d (%v): this test must hold one of each version that is read", v, err)
		}
		if got, err := parseMarker(b); err != nil || got.next != want.next || !maps.Equal(got.origins, want.origins) {
			t.Errorf("version %d: %+v, %v, want %+v", v, got, err, want)
		}
	}
	if _, err := parseMarker([]byte{markerVersion + 1}); !errors.Is(err, shard.ErrStateVersion) {
		t.Errorf("the marker of a newer version: %v", err)
	}
	one := checkpoint{next: 5, origins: watermarks{{exchangedCalls, detector.ByIdentity, 7}: {9, 8, 6}}}
	if got, want := hex.EncodeToString(appendMarker(nil, one)), "030a0100010e12100c"; got != want {
		t.Errorf("a marker is written as %s, in version %d it was %s so far: raise markerVersion, and read the one before too", got, markerVersion, want)
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
