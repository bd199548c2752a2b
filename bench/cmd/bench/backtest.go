package main

import (
	"cmp"

	"github.com/estop-project/estop/bench/report"
)

// titles are those of the results, by the name of their file.
var titles = map[string]string{"spine": "Speed and memory", "backtest": "Backtests"}

// results is the name of the file that the suite's figures go to.
func (s *suite) results() string { return cmp.Or(s.file, "spine") }

// backtest plays labelled data to the whole catalogue, beside the live way.
var backtest = suite{
	name: "backtest", pkg: "./pipeline/backtest", bench: "^BenchmarkBacktest$", time: "1x", count: 3, file: "backtest",
	figures: []figure{
		{name: "backtest of the catalogue, DARPA June 1998, one core", bench: "BenchmarkBacktest/darpa", unit: "calls/s", as: "calls/s"},
		{name: "the live way, DARPA June 1998, one core", bench: "BenchmarkBacktest/darpa", unit: "live-calls/s", as: "calls/s"},
		{name: "backtest beside the live way, DARPA June 1998", bench: "BenchmarkBacktest/darpa", unit: "x-live", as: "times", goal: report.AtLeast(0.8)},
		{name: "backtest of the catalogue, CloudTrail, one core", bench: "BenchmarkBacktest/cloudtrail", unit: "calls/s", as: "calls/s"},
		{name: "the live way, CloudTrail, one core", bench: "BenchmarkBacktest/cloudtrail", unit: "live-calls/s", as: "calls/s"},
		{name: "backtest beside the live way, CloudTrail", bench: "BenchmarkBacktest/cloudtrail", unit: "x-live", as: "times", goal: report.AtLeast(0.8)},
	},
}
