package main

import (
	"cmp"
	"slices"

	"github.com/estop-project/estop/bench/report"
)

// titles are those of the results, by the name of their file.
var titles = map[string]string{"spine": "Speed and memory", "backtest": "Backtests", "guard": "The kill switch"}

// results is the name of the file that the suite's figures go to.
func (s *suite) results() string { return cmp.Or(s.file, "spine") }

// backtest plays labelled data to the whole catalogue, beside the live way.
var backtest = suite{
	name: "backtest", pkg: "./pipeline/backtest", bench: "^BenchmarkBacktest$", time: "1x", count: 3, file: "backtest",
	figures: slices.Concat(backtestOf("DARPA June 1998", "darpa"), backtestOf("CloudTrail", "cloudtrail")),
}

// backtestOf are the figures of one log.
func backtestOf(log, name string) []figure {
	name = "BenchmarkBacktest/" + name
	return []figure{
		{name: "the live way, " + log + ", one core", bench: name, unit: "live-calls/s", as: "calls/s"},
		{name: "backtest of the catalogue, " + log + ", one core", bench: name, unit: "calls/s", as: "calls/s"},
		{name: "backtest beside the live way, " + log, bench: name, unit: "x-live", as: "times", goal: report.AtLeast(0.8)},
		{name: "backtest of a file, " + log + ", one core", bench: name, unit: "file-calls/s", as: "calls/s"},
		{name: "backtest of a file beside the live way, " + log, bench: name, unit: "file-x-live", as: "times", goal: report.AtLeast(0.8)},
	}
}
