package models

import (
	"fmt"
	"testing"
)

var seasonalKind = kind{
	name:  "SeasonalCount",
	fresh: func() stateful { return pointer(NewSeasonalCount(CountPrior{3, 10, 50})) },
	other: func() stateful { return pointer(NewSeasonalCount(CountPrior{3, 10, 51})) },
	step: func(s stateful, a, b uint64) string {
		c := s.(*SeasonalCount)
		t := at(a) + int64(b%200)*hourOfTime // every hour of the week
		p := c.LogTail(float64(b%100), t)
		c.Learn(float64(b%40), t)
		return fmt.Sprint(p, c.Mean(t+5*hourOfTime), c.slots, c.Quantile(0.99, t))
	},
}

func init() { kinds = append(kinds, seasonalKind) }

func FuzzDecodeSeasonalCount(f *testing.F) { fuzzDecode(f, seasonalKind) }
