package detector_test

import (
	"slices"
	"testing"

	"github.com/estop-project/estop/detector"
)

// What a shard learns from Presence it need not ask Classify for each value.
func TestPresenceIsWhatClassifySaysOfAnyValue(t *testing.T) {
	f := func(match string, field detector.Field, further bool) {
		t.Helper()
		p := load(t, head+"match: "+match+"\n").Plan
		present := make([]uint64, p.Words)
		if got := p.Presence(field, present); got != further {
			t.Errorf("%s: further conditions: %v, want %v", match, got, further)
		}
		if further {
			return
		}
		for _, value := range []string{"a", "s3:GetObject"} {
			bits := make([]uint64, p.Words)
			if p.Classify(field, value, bits); !slices.Equal(bits, present) {
				t.Errorf("%s: Classify of %q gives %b, Presence %b", match, value, bits, present)
			}
		}
		bits := make([]uint64, p.Words)
		if p.Classify(field, "", bits); !slices.Equal(bits, make([]uint64, p.Words)) {
			t.Errorf("%s: an empty value meets %b", match, bits)
		}
	}
	f("{action|exists: true}", detector.FieldAction, false)
	f("{action|exists: false}", detector.FieldAction, false)
	f("{action|exists|not: true, resource: x}", detector.FieldAction, false)
	f("{action|exists: true, resource: x}", detector.FieldResource, true)
	f("{all: [{action|exists: true}, {action: x}]}", detector.FieldAction, true)
	f("{action|exists: true}", detector.FieldContext+7, false)
}
