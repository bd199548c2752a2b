package models

import (
	"fmt"
	"math"
	"testing"
)

var sizeKind = kind{
	name:  "SizeBaseline",
	fresh: func() stateful { return pointer(NewSizeBaseline(60)) },
	other: func() stateful { return pointer(NewSizeBaseline(61)) },
	step: func(s stateful, a, b uint64) string {
		c := s.(*SizeBaseline)
		var seen string
		for i := range uint64(1 + b%40) { // peaks take many values
			x := math.Exp(float64((mix(b+i)%1000)+a)/100) - 1
			seen = fmt.Sprint(seen, c.LogTail(x))
			c.Learn(x)
		}
		return fmt.Sprint(seen, c.Median(), c.Slots(), c.Quantile(0.99), c.Quantile(0.2))
	},
}

var conformalKind = kind{
	name:  "Conformal",
	fresh: func() stateful { return pointer(NewConformal(20)) },
	other: func() stateful { return pointer(NewConformal(21)) },
	step: func(s stateful, a, b uint64) string {
		c := s.(*Conformal)
		score := float64(b%97) - 40
		p := c.LogP(score)
		c.Add(score)
		return fmt.Sprint(p, c.N(), c.LogP(float64(a)))
	},
}

func init() { kinds = append(kinds, sizeKind, conformalKind) }

func FuzzDecodeSizeBaseline(f *testing.F) { fuzzDecode(f, sizeKind) }
func FuzzDecodeConformal(f *testing.F)    { fuzzDecode(f, conformalKind) }
