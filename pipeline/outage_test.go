package pipeline_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/pipeline/archive"
	"github.com/estop-project/estop/pipeline/rig"
	"github.com/estop-project/estop/revoke/guard"
)

// load appends calls of honest agents at a rate until stop is called, which returns how
// many they were.
func load(t testing.TB, r *rig.Rig, perSecond int) (stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var sent atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		const burst = 20
		tick := time.NewTicker(time.Second * burst / time.Duration(perSecond))
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			for range burst {
				n := sent.Add(1)
				// So many agents that none of them calls often.
				c := rig.Call(fmt.Sprint("load-", n), fmt.Sprint("honest-", n%int64(20*perSecond)), fmt.Sprint("doc-", n%50), time.Now())
				r.Produce(rig.Record(c), func(err error) { t.Errorf("a call is lost: %v", err) })
			}
		}
	}()
	stopped := false
	stop = func() int {
		cancel()
		<-done
		if !stopped {
			r.Flush()
		}
		stopped = true
		return int(sent.Load())
	}
	t.Cleanup(func() { stop() })
	return stop
}

// onceInClickHouse checks that each call in Kafka is one row.
func onceInClickHouse(t testing.TB, r *rig.Rig, calls int) {
	t.Helper()
	rig.Await(t, 2*time.Minute, func() error { return r.Lag(archive.DefaultGroup, archive.Topics()...) })
	if n := len(r.Records(pipeline.TopicCalls)); n != calls {
		t.Errorf("%d calls in Kafka, %d were sent", n, calls)
	}
	rows := r.Number("SELECT count() FROM calls")
	places := r.Number("SELECT uniqExact(log, partition, offset, part) FROM calls")
	if rows != uint64(calls) || places != uint64(calls) {
		t.Errorf("%d rows at %d places, want each of %d calls once", rows, places, calls)
	}
	if n := r.Number("SELECT sum(calls) FROM access_edges WHERE kind = 'action'"); n != uint64(calls) {
		t.Errorf("the edges count %d calls, want %d", n, calls)
	}
}

func TestAnOutageOfClickHouseSlowsNoKillAndLosesNothing(t *testing.T) {
	if slower > 1 {
		t.Skip("the race detector slows the load and the engines by different amounts: this one is about latency")
	}
	outage := 30 * time.Second
	if testing.Short() {
		outage = 5 * time.Second
	}
	perSecond := 2000
	if slower > 1 {
		perSecond = 100
	}
	r := rig.New(t, rig.Options{ClickHouse: true})
	g := r.Guard("gate-1")
	r.Acks()
	r.Archive()
	r.Detect(rig.Plan(t, loop("loop", "enforce")))
	kills := 0
	kill := func(n int, until time.Time) (latencies []time.Duration) {
		for len(latencies) < n || time.Now().Before(until) {
			latencies = append(latencies, latencyOf(t, r, g, fmt.Sprint("bad-", kills)))
			kills++
		}
		return latencies
	}
	stop := load(t, r, perSecond)
	kill(10, time.Time{}) // warm
	before := kill(50, time.Now().Add(outage/5))
	rig.Await(t, time.Minute, func() error {
		if r.Number("SELECT count() FROM calls") == 0 {
			return fmt.Errorf("no rows yet")
		}
		return nil
	})

	r.StopClickHouse()
	from := time.Now()
	during := kill(50, from.Add(outage))
	down := time.Since(from)
	if n := r.Journal.Count("ClickHouse does not take rows"); n != 1 {
		t.Errorf("the outage is logged %d times, want once", n)
	}
	r.StartClickHouse()
	after := kill(20, time.Time{})
	sent := stop()
	calls := sent + kills*breachAt

	report := func(when string, ds []time.Duration) {
		t.Logf("append to denied %s: %d kills, p50 %v p99 %v max %v", when, len(ds), quantile(ds, 0.5), quantile(ds, 0.99), ds[len(ds)-1])
	}
	report("before", before)
	report(fmt.Sprintf("during %v without ClickHouse", down.Round(time.Second)), during)
	report("after", after)
	if p50 := quantile(during, 0.5); p50 > slower*50*time.Millisecond {
		t.Errorf("p50 without ClickHouse is %v", p50)
	}
	r.Judged()
	if n := len(detectionIDs(r.Detections())); n != kills {
		t.Errorf("%d detections of %d breaches", n, kills)
	}
	onceInClickHouse(t, r, calls)
	t.Logf("%d calls, %d a second sent, each is one row", calls, perSecond)
	for table, want := range map[string]int{"detections": kills, "revocations": kills} {
		if n := r.Number("SELECT count() FROM " + table); n != uint64(want) {
			t.Errorf("%d rows in %s, want %d", n, table, want)
		}
	}
	for i := range kills {
		if v := g.Check(guardCall(fmt.Sprint("bad-", i))).Verdict; v != guard.Deny {
			t.Errorf("bad-%d gets %v at the end", i, v)
		}
	}
}
