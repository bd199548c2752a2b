package models

import (
	"testing"
	"unsafe"
)

// The sizes are those that the types' comments state, on a 64-bit machine.
func TestBaselinesAreAsSmallAsTheySay(t *testing.T) {
	for _, c := range []struct {
		name      string
		got, want uintptr
	}{
		{"season", unsafe.Sizeof(season{}), 344},
		{"SeasonalCount", unsafe.Sizeof(SeasonalCount{}), 512},
		{"SizeBaseline", unsafe.Sizeof(SizeBaseline{}), 368},
		{"Conformal", unsafe.Sizeof(Conformal{}), 40},
		{"Spot", unsafe.Sizeof(Spot{}), 88},
	} {
		if c.got != c.want {
			t.Errorf("%s takes %d bytes, its comment says %d", c.name, c.got, c.want)
		}
	}
}
