package main

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// measurements are what benchmarks reported, by name and unit, in order.
type measurements map[[2]string][]float64

var processors = regexp.MustCompile(`-[0-9]+$`)

// add takes in a line that go test wrote, if it is a benchmark's:
//
//	BenchmarkName/sub-2   1234   56.7 ns/op   8 unit …
//
// The number of processors behind the name, which is there if it is not 1, is left out.
func (m measurements) add(line string) {
	words := strings.Fields(line)
	if len(words) < 4 || len(words)%2 != 0 || !strings.HasPrefix(words[0], "Benchmark") {
		return
	}
	name := processors.ReplaceAllString(words[0], "")
	for i := 2; i < len(words); i += 2 {
		value, err := strconv.ParseFloat(words[i], 64)
		if err != nil {
			return
		}
		at := [2]string{name, words[i+1]}
		m[at] = append(m[at], value)
	}
}

// median returns the median of what a benchmark reported in a unit, and whether it did.
func (m measurements) median(bench, unit string) (float64, bool) {
	all := slices.Clone(m[[2]string{bench, unit}])
	if len(all) == 0 {
		return 0, false
	}
	slices.Sort(all)
	n := len(all)
	return (all[(n-1)/2] + all[n/2]) / 2, true
}
