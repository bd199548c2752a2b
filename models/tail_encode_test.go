package models

import (
	"fmt"
	"testing"
)

var spotKind = kind{
	name:  "Spot",
	fresh: func() stateful { return pointer(NewSpot(0.9, 50)) },
	other: func() stateful { return pointer(NewSpot(0.9, 51)) },
	step: func(s stateful, a, b uint64) string {
		c := s.(*Spot)
		x := float64(mix(b)%1000) / float64(1+mix(a)%50)
		p := c.LogTail(x)
		for i := range b % 20 {
			c.Learn(x + float64(i))
		}
		return fmt.Sprint(p, c.Quantile(0.999), c.seen)
	},
}

var dSpotKind = kind{
	name:  "DSpot",
	fresh: func() stateful { return pointer(NewDSpot(0.9, 30, 7)) },
	other: func() stateful { return pointer(NewDSpot(0.9, 30, 8)) },
	step: func(s stateful, a, b uint64) string {
		c := s.(*DSpot)
		x := float64(a) + float64(mix(b)%1000)/float64(1+mix(a)%50)
		p := c.LogTail(x)
		for i := range b % 20 {
			c.Learn(x + float64(i))
		}
		return fmt.Sprint(p, c.Quantile(0.999), c.spot.seen, c.Mean())
	},
}

func init() { kinds = append(kinds, spotKind, dSpotKind) }

func FuzzDecodeSpot(f *testing.F)  { fuzzDecode(f, spotKind) }
func FuzzDecodeDSpot(f *testing.F) { fuzzDecode(f, dSpotKind) }
