package main

import "github.com/estop-project/estop/bench/report"

// guard are the suites of the kill switch. Checks are work, on one core; the others have a server in
// the same process.
var guard = []suite{
	{
		name: "guard", pkg: "./revoke/guard", bench: "^Benchmark(Check|CheckAllKinds|GuardHTTP)$", time: "0.3s", count: 5, file: "guard",
		figures: []figure{
			{name: "guard check of an innocent agent, 1,000,000 revocations", bench: "BenchmarkCheck/1000000/innocent", unit: "ns/check", as: "ns"},
			{name: "guard check of a revoked agent, 1,000,000 revocations", bench: "BenchmarkCheck/1000000/revoked", unit: "ns/check", as: "ns"},
			{name: "guard check under a global stop, 1,000,000 revocations", bench: "BenchmarkCheck/1000000/global", unit: "ns/check", as: "ns"},
			{name: "guard check beside a map look-up, innocent agent", bench: "BenchmarkCheck/1000000/innocent", unit: "ratio", as: "times", goal: report.AtMost(2)},
			{name: "guard check beside a map look-up, revoked agent", bench: "BenchmarkCheck/1000000/revoked", unit: "ratio", as: "times", goal: report.AtMost(2)},
			{name: "guard check beside a map look-up, under a global stop", bench: "BenchmarkCheck/1000000/global", unit: "ratio", as: "times", goal: report.AtMost(2)},
			{name: "guard check, all scopes and a chain", bench: "BenchmarkCheckAllKinds", unit: "ns/op", as: "ns"},
			{name: "guard check, all scopes and a chain, allocations", bench: "BenchmarkCheckAllKinds", unit: "allocs/op", as: "for each check", goal: report.AtMost(0)},
			{name: "HTTP middleware, a request that passes", bench: "BenchmarkGuardHTTP", unit: "ns/op", as: "ns"},
		},
	},
	{
		name: "guard scaling", pkg: "./revoke/guard", bench: "^BenchmarkGuardScaling$", time: "20x", count: 5, file: "guard",
		figures: []figure{
			{name: "guard checks of one goroutine", bench: "BenchmarkGuardScaling", unit: "checks/s-one", as: "checks/s"},
			{name: "guard checks of two goroutines", bench: "BenchmarkGuardScaling", unit: "checks/s-two", as: "checks/s"},
			{name: "guard checks of two goroutines beside one", bench: "BenchmarkGuardScaling", unit: "x-one", as: "times", goal: report.AtLeast(1.6)},
		},
	},
	{
		name: "guard start", pkg: "./revoke/guard", bench: "^BenchmarkGuard(LateJoiner|Restart)$", time: "3x", count: 3, file: "guard",
		figures: []figure{
			{name: "late joiner with 100,000 revocations, ready", bench: "BenchmarkGuardLateJoiner", unit: "s/ready", as: "s", goal: report.AtMost(1)},
			{name: "late joiner with 100,000 revocations, all signatures verified", bench: "BenchmarkGuardLateJoiner", unit: "s/verified", as: "s"},
			{name: "restart from disk with 100,000 revocations, ready", bench: "BenchmarkGuardRestart", unit: "s/ready", as: "s", goal: report.AtMost(1)},
		},
	},
	{
		name: "guard thousand", pkg: "./revoke/guard", bench: "^BenchmarkGuardThousand$", time: "200x", count: 1, file: "guard",
		figures: []figure{
			{name: "publish to the last of 1,000 guards enforces, p50", bench: "BenchmarkGuardThousand", unit: "ms/p50", as: "ms"},
			{name: "publish to the last of 1,000 guards enforces, p99", bench: "BenchmarkGuardThousand", unit: "ms/p99", as: "ms"},
			{name: "publish to the last of 1,000 guards enforces, worst of 200", bench: "BenchmarkGuardThousand", unit: "ms/worst", as: "ms"},
		},
	},
	{
		name: "guard bound", pkg: "./revoke/guard", bench: "^BenchmarkGuardBound$", time: "1x", count: 1, file: "guard", flags: []string{"-bound.seeds", "400"},
		figures: []figure{
			{name: "allowed after the revocation, faulty network, p50", bench: "BenchmarkGuardBound", unit: "ms/p50", as: "ms"},
			{name: "allowed after the revocation, faulty network, p99", bench: "BenchmarkGuardBound", unit: "ms/p99", as: "ms"},
			{name: "allowed after the revocation, faulty network, worst", bench: "BenchmarkGuardBound", unit: "ms/worst", as: "ms"},
			{name: "the worst beside the stated bound", bench: "BenchmarkGuardBound", unit: "x-bound", as: "times", goal: report.AtMost(1)},
		},
	},
	{
		name: "guard envoy", pkg: "./revoke/gate/envoygate", bench: "^BenchmarkCheck$", time: "0.5s", count: 3, file: "guard",
		figures: []figure{
			{name: "ext_authz, the work for a question that is answered with yes", bench: "BenchmarkCheck/process", unit: "ns/op", as: "ns"},
			{name: "ext_authz, the same over gRPC on loopback", bench: "BenchmarkCheck/loopback", unit: "ns/op", as: "ns"},
		},
	},
}
