package detector_test

import (
	"bytes"
	"io/fs"
	"runtime"
	"testing"
	"time"

	"github.com/estop-project/estop/bench/fleet"
	"github.com/estop-project/estop/bench/stopwatch"
	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/detector/catalog"
	"github.com/estop-project/estop/pipeline/shard"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// work are the calls of a fleet, to measure with.
type work struct {
	calls  []*telemetry.Call
	agents float64
}

func fleetWork() work {
	f := fleet.New(fleet.Options{Seed: 1, Agents: 300, Tenants: 2})
	var w work
	var c telemetry.Call
	seen := map[string]bool{}
	for at := range f.Calls(time.Time{}, fleet.DefaultStart.Add(3*24*time.Hour)) {
		at.Telemetry(&c)
		w.calls = append(w.calls, c.Clone())
		seen[at.Agent] = true
	}
	w.agents = float64(len(seen))
	return w
}

// measure returns what judging the calls with a plan takes, the better time of two.
func (w work) measure(plan *detector.Plan) detector.Cost {
	cost := w.play(plan)
	cost.NsCall = min(cost.NsCall, w.play(plan).NsCall)
	return cost
}

func (w work) play(plan *detector.Plan) detector.Cost {
	defer stopwatch.Pin()()
	before := heap()
	o := shard.Options{RestAfter: 365 * 24 * time.Hour}
	calls, exchange := shard.New(plan, o), shard.New(plan, o)
	var src shard.Source
	var c telemetry.Call
	start := stopwatch.Now()
	for i, call := range w.calls {
		c = *call
		src.Offset++
		src.Appended = c.Time
		groups := calls.Call(&c, src)
		for by := range groups.All() {
			exchange.Grouped(by, &c, src, src.Offset)
		}
		for _, s := range []*shard.Shard{calls, exchange} {
			s.Samples, s.Detections = s.Samples[:0], s.Detections[:0]
			if i%50_000 == 0 || i == len(w.calls)-1 {
				s.Dirty()
			}
		}
	}
	took := stopwatch.Now() - start
	cost := detector.Cost{NsCall: float64(took) / float64(len(w.calls)), BytesAgent: float64(heap()-before) / w.agents}
	runtime.KeepAlive(calls)
	runtime.KeepAlive(exchange)
	runtime.KeepAlive(w)
	return cost
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func within(got, want, factor float64) bool { return got < want*factor && want < got*factor }

// An estimate is no measurement, but it must be good enough to decide by. Times are compared as
// ratios to what one detector takes, since machines differ.
func TestEstimatedCostsAreNearWhatTheShardTakes(t *testing.T) {
	if testing.Short() {
		t.Skip("it plays 60,000 calls over and over")
	}
	w := fleetWork()
	load := func(fsys fs.FS) (*detector.Plan, detector.Cost) {
		set, errs := detector.Load(fsys)
		if len(errs) > 0 {
			t.Fatal(errs)
		}
		_, total := detector.EstimateCosts(set.Plan, detector.Usage{})
		return set.Plan, total
	}
	plan, estimated := load(catalog.FS)
	all := w.measure(plan)
	t.Logf("catalogue: estimated %.0f ns and %.0f bytes, measured %.0f and %.0f", estimated.NsCall, estimated.BytesAgent, all.NsCall, all.BytesAgent)
	if !within(estimated.BytesAgent, all.BytesAgent, 2) {
		t.Errorf("catalogue: estimated %.0f bytes an agent, measured %.0f", estimated.BytesAgent, all.BytesAgent)
	}
	entries, err := fs.ReadDir(catalog.FS, ".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		data, err := fs.ReadFile(catalog.FS, e.Name())
		if err != nil {
			t.Fatal(err)
		}
		plan, estimate := load(files(e.Name(), string(data)))
		took := w.measure(plan)
		t.Logf("%s: estimated %.0f ns and %.0f bytes, measured %.0f and %.0f", e.Name(), estimate.NsCall, estimate.BytesAgent, took.NsCall, took.BytesAgent)
		if bytes.Contains(data, []byte("\nmatch:")) {
			// How many calls it meets is guessed, and of these agents often none. What its match says of a
			// value is kept once for all agents, 2000 bytes for each of so few.
			continue
		}
		if !within(estimate.BytesAgent, took.BytesAgent, 3) {
			t.Errorf("%s: estimated %.0f bytes an agent, measured %.0f", e.Name(), estimate.BytesAgent, took.BytesAgent)
		}
		if got, want := estimate.NsCall/estimated.NsCall, took.NsCall/all.NsCall; !within(got, want, 3) {
			t.Errorf("%s: estimated at %.3f of the time of all, measured %.3f", e.Name(), got, want)
		}
	}
}
