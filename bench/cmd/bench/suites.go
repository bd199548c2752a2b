package main

import (
	"strconv"
	"strings"

	"github.com/estop-project/estop/bench/report"
)

// suite is a set of benchmarks of one package that run in one process.
type suite struct {
	name    string
	pkg     string
	bench   string // pattern of go test -bench
	time    string // -benchtime
	count   int
	figures []figure
	file    string   // of the results; empty: spine
	flags   []string // of the package's own
}

// figure is the median of what a benchmark reports.
type figure struct {
	name  string
	bench string
	unit  string // as the benchmark reports it
	as    string // as people read it
	goal  report.Goal
}

// args are those of the go command. One processor: ratios are of work, not of idle cores.
func (s *suite) args() []string {
	args := []string{"test", "-run", "^$", "-bench", s.bench, "-benchtime", s.time, "-count", strconv.Itoa(s.count), "-timeout", "30m"}
	if s.oneCore() {
		args = append(args, "-cpu", "1")
	}
	return append(append(args, s.pkg), s.flags...)
}

// oneCore says whether a suite measures work; the others measure engines that run beside.
func (s *suite) oneCore() bool {
	return s.name == "detect" || s.name == "guard" || s.name == "memory" || s.name == "backtest"
}

// command is the suite as one would type it.
func (s *suite) command() string {
	line := "go"
	for _, a := range s.args() {
		if strings.ContainsAny(a, "^$/ ") && !strings.HasPrefix(a, "./") {
			a = "'" + a + "'"
		}
		line += " " + a
	}
	return line
}

// noAllocation lets a table grow now and then, and nothing be allocated call by call.
const noAllocation = 0.001

var suites = append([]suite{
	{
		name: "detect", pkg: "./pipeline/shard", bench: "^BenchmarkDetect$", time: "2s", count: 5,
		figures: []figure{
			{name: "decode JSON, one core", bench: "BenchmarkDetect/json", unit: "decoded/s", as: "calls/s"},
			{name: "decode and judge JSON, one core", bench: "BenchmarkDetect/json", unit: "detected/s", as: "calls/s"},
			{name: "decode and judge beside decode, JSON", bench: "BenchmarkDetect/json", unit: "x-decode", as: "times", goal: report.AtMost(2)},
			{name: "allocations, JSON", bench: "BenchmarkDetect/json", unit: "allocs/call", as: "for each call", goal: report.AtMost(noAllocation)},
			{name: "decode protobuf, one core", bench: "BenchmarkDetect/protobuf", unit: "decoded/s", as: "calls/s"},
			{name: "decode and judge protobuf, one core", bench: "BenchmarkDetect/protobuf", unit: "detected/s", as: "calls/s"},
			{name: "decode and judge beside decode, protobuf", bench: "BenchmarkDetect/protobuf", unit: "x-decode", as: "times", goal: report.AtMost(2)},
			{name: "decode CloudTrail, one core", bench: "BenchmarkDetect/cloudtrail", unit: "decoded/s", as: "calls/s"},
			{name: "decode and judge CloudTrail, one core", bench: "BenchmarkDetect/cloudtrail", unit: "detected/s", as: "calls/s"},
			{name: "decode and judge beside decode, CloudTrail", bench: "BenchmarkDetect/cloudtrail", unit: "x-decode", as: "times", goal: report.AtMost(2)},
			{name: "decode and judge beside decode, JSON, with the bytes of the exchange", bench: "BenchmarkDetect/json-relayed", unit: "x-decode", as: "times"},
		},
	},
	{
		name: "kill", pkg: "./pipeline", bench: "^BenchmarkAppendToDenied$", time: "400x", count: 3,
		figures: []figure{
			{name: "append to denied, p50", bench: "BenchmarkAppendToDenied", unit: "denied-p50-µs", as: "µs"},
			{name: "append to denied, p99", bench: "BenchmarkAppendToDenied", unit: "denied-p99-µs", as: "µs"},
			{name: "the bare way, p50", bench: "BenchmarkAppendToDenied", unit: "bare-p50-µs", as: "µs"},
			{name: "the bare way, p99", bench: "BenchmarkAppendToDenied", unit: "bare-p99-µs", as: "µs"},
			{name: "append to denied beside the bare way, p50", bench: "BenchmarkAppendToDenied", unit: "x-bare-p50", as: "times"},
			{name: "append to denied beside the bare way, p99", bench: "BenchmarkAppendToDenied", unit: "x-bare-p99", as: "times", goal: report.AtMost(1.5)},
		},
	},
	{
		name: "memory", pkg: "./pipeline/shard", bench: "^BenchmarkMemory$", time: "1x", count: 1,
		figures: []figure{
			{name: "memory of an idle agent", bench: "BenchmarkMemory/idle", unit: "B/agent", as: "bytes", goal: report.AtMost(1024)},
			{name: "memory of an active agent", bench: "BenchmarkMemory/active", unit: "B/agent", as: "bytes", goal: report.AtMost(4096)},
		},
	},
	{
		name: "archive", pkg: "./pipeline/archive", bench: "^BenchmarkArchive$", time: "1x", count: 3,
		figures: []figure{
			{name: "archive to the embedded ClickHouse", bench: "BenchmarkArchive", unit: "rows/s", as: "rows/s"},
		},
	},
	backtest,
}, guard...)
