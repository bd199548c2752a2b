package chaos

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// FaultKind is a way to fail.
type FaultKind string

// The kinds of faults.
const (
	Kill    FaultKind = "kill -9"         // and started again after a while
	Pause   FaultKind = "pause"           // SIGSTOP, and SIGCONT after a while
	Restart FaultKind = "restart"         // SIGTERM, and started again at once
	Rolling FaultKind = "rolling restart" // of a whole tier, one after the other
	Full    FaultKind = "full disk"       // no file of the process can grow
	Refuse  FaultKind = "refuse"          // Kafka takes detections and revocations only while all brokers are there
	Drop    FaultKind = "drop"            // every connection through the proxy ends, twice a second
	Stall   FaultKind = "stall"           // no byte passes the proxy
	Lossy   FaultKind = "lossy"           // messages are lost, doubled and reordered
	Slow    FaultKind = "slow"            // messages are held up
)

// Fault is one thing that is done to the installation.
type Fault struct {
	At     time.Duration `json:"at_ns"` // since the faults began
	For    time.Duration `json:"for_ns"`
	Kind   FaultKind     `json:"kind"`
	Target string        `json:"target"` // a process, a tier, network or decisions
}

// String writes a fault on one line.
func (f Fault) String() string {
	return fmt.Sprintf("%6.1fs  %-15s  %-12s  for %.1fs", f.At.Seconds(), f.Kind, f.Target, f.For.Seconds())
}

// lane is a sequence of faults of which one begins when the one before is over, so that no two meddle with one
// process. Faults of several lanes meet as they come.
type lane struct {
	tier     string
	targets  []string
	kinds    []FaultKind // one that is there twice comes twice as often
	gap      time.Duration
	longest  time.Duration
	together float64 // share of the faults that hit the whole tier at once
}

// The tiers.
const (
	tierKafka      = "kafka"
	tierNATS       = "nats"
	tierClickHouse = "clickhouse"
	tierDetect     = "detect"
	tierArchive    = "archive"
	tierAcks       = "acks"
	network        = "network" // of the guard behind the proxy
	decisions      = "decisions"
)

// lanes are what fails how. Gaps and lengths are such that each tier has time to come back, and is mostly there: an
// installation that is always down shows nothing.
func lanes() []lane {
	return []lane{
		{tierKafka, numbered(tierKafka, brokers), []FaultKind{Kill, Kill, Pause, Restart, Rolling}, 12 * time.Second, 8 * time.Second, 0.15},
		{tierNATS, numbered(tierNATS, natsServers), []FaultKind{Kill, Kill, Pause, Pause, Rolling, Full}, 8 * time.Second, 8 * time.Second, 0.15},
		{tierClickHouse, []string{tierClickHouse}, []FaultKind{Kill, Pause, Full, Restart}, 12 * time.Second, 8 * time.Second, 0},
		{tierDetect, numbered(tierDetect, detects), []FaultKind{Kill, Kill, Kill, Pause, Rolling}, 4 * time.Second, 12 * time.Second, 0.2},
		{tierArchive, numbered(tierArchive, archives), []FaultKind{Kill, Kill, Pause, Restart}, 6 * time.Second, 8 * time.Second, 0.3},
		{tierAcks, numbered(tierAcks, 1), []FaultKind{Kill, Pause}, 15 * time.Second, 8 * time.Second, 0},
		{network, []string{network}, []FaultKind{Drop, Stall, Lossy, Lossy, Slow}, 3 * time.Second, 10 * time.Second, 0},
		{decisions, []string{decisions}, []FaultKind{Refuse}, 15 * time.Second, 8 * time.Second, 0},
	}
}

// numbered are the names of the processes of a tier.
func numbered(tier string, n int) []string {
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf("%s-%d", tier, i+1))
	}
	return names
}

// Schedule returns the faults of a campaign, in the order in which they begin. It is a pure function of its arguments.
func Schedule(seed uint64, span time.Duration) []Fault {
	var all []Fault
	for i, l := range lanes() {
		all = append(all, l.faults(rand.New(rand.NewPCG(seed, uint64(i))), span)...)
	}
	slices.SortStableFunc(all, func(a, b Fault) int { return cmp.Compare(a.At, b.At) })
	return all
}

// faults fills the span. None lasts beyond it.
func (l *lane) faults(r *rand.Rand, span time.Duration) []Fault {
	var all []Fault
	for at := between(r, 0, l.gap); ; {
		f := Fault{At: at, For: between(r, l.longest/8, l.longest), Kind: l.kinds[r.IntN(len(l.kinds))], Target: l.targets[r.IntN(len(l.targets))]}
		if f.Kind == Rolling || r.Float64() < l.together {
			f.Target = l.tier
		}
		if f.At+f.For > span {
			return all
		}
		all = append(all, f)
		at += f.For + between(r, l.gap/2, 2*l.gap)
	}
}

// between draws from a range, in tenths of a second.
func between(r *rand.Rand, from, to time.Duration) time.Duration {
	const grain = 100 * time.Millisecond
	return from.Truncate(grain) + time.Duration(r.Int64N(int64((to-from)/grain)+1))*grain
}

// Killing returns a schedule that does nothing but to kill a detect process every so often, one after the other.
func Killing(every, span time.Duration) []Fault {
	var all []Fault
	names := numbered(tierDetect, detects)
	for at := every; at+every/2 <= span; at += every {
		all = append(all, Fault{At: at, For: every / 10, Kind: Kill, Target: names[len(all)%len(names)]})
	}
	return all
}
