package pipeline_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/pipeline/archive"
	"github.com/estop-project/estop/pipeline/backtest"
	"github.com/estop-project/estop/pipeline/kafkatest"
	"github.com/estop-project/estop/pipeline/rig"
	"github.com/estop-project/estop/pipeline/shard"
	"github.com/estop-project/estop/pipeline/telemetry"
	"github.com/estop-project/estop/revoke"
)

// reference judges what stands in the topic of calls, partition by partition, with the
// runner of backtests, and returns what it detects as detector, entity and call.
func reference(t testing.TB, r *rig.Rig, plan *detector.Plan) map[string]int {
	t.Helper()
	want := map[string]int{}
	var decoder telemetry.Decoder
	var call telemetry.Call
	runner, of := backtest.NewRunner(plan, shard.Options{}), int32(0)
	for _, record := range r.Records(pipeline.TopicCalls) {
		if record.Partition != of {
			runner, of = backtest.NewRunner(plan, shard.Options{}), record.Partition
		}
		decoder.Start(telemetry.JSON, record.Value)
		if err := decoder.Next(&call); err != nil {
			t.Fatal(err)
		}
		for _, d := range runner.Call(&call) {
			want[breachOf(d.Detection)]++
		}
	}
	return want
}

// breachOf names a detection by what it is about; ids add the place in the log.
func breachOf(d detector.Detection) string { return d.Detector + " " + d.Entity + " " + d.CallID }

// onceEach checks that what was detected is what the reference detects, under one id each.
func onceEach(t testing.TB, r *rig.Rig, plan *detector.Plan) (breaches int) {
	t.Helper()
	want := reference(t, r, plan)
	idsOf := map[string]map[string]bool{}
	found := r.Detections()
	for _, d := range found {
		if idsOf[breachOf(d)] == nil {
			idsOf[breachOf(d)] = map[string]bool{}
		}
		idsOf[breachOf(d)][d.ID] = true
	}
	got := map[string]int{}
	for breach, ids := range idsOf {
		got[breach] = len(ids)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("detections differ from the reference:\n%s", diff)
	}
	t.Logf("%d breaches, %d records of detections", len(want), len(found))
	return len(want)
}

func TestRebalancesAndACrashOfApacheKafkaLoseAndDoubleNothing(t *testing.T) {
	cluster := kafkatest.Start(t)
	r := rig.New(t, rig.Options{Brokers: cluster.Brokers(), Partitions: 4, ClickHouse: true})
	g := r.Guard("gate-1")
	r.Acks()
	r.Archive()
	// Everything is of one agent and its identity, so that one partition has all of an entity. Where loop and shared
	// go on firing, how often both do depends on how far one is ahead; the first time does not.
	plan := rig.Plan(t, loop("loop", "enforce"), spree, `id: shared
title: An identity makes more calls than its agents do
mode: alert
group_by: identity
when: count(calls, 10s) > 3
quiet: 1s
`, `id: both
title: An agent and its identity make more calls than ever
mode: alert
group_by: session
correlation: {of: [loop, shared], within: 1h, condition: temporal}
quiet: 12h
`)
	first := r.Detect(plan)
	kills, rate := 20, 500
	if slower > 1 {
		kills, rate = 4, 50
	}

	var latencies []time.Duration
	for i := range 30 {
		latencies = append(latencies, latencyOf(t, r, g, fmt.Sprint("early-", i)))
	}
	t.Logf("append to denied over Apache Kafka, %d kills: p50 %v p99 %v", len(latencies), quantile(latencies, 0.5), quantile(latencies, 0.99))
	if p50 := quantile(latencies, 0.5); p50 > slower*100*time.Millisecond {
		t.Errorf("p50 from append to denied is %v", p50)
	}

	past := time.Now().Add(-time.Minute)
	var crawlers []string
	for i := range 12 {
		agent := fmt.Sprint("crawler-", i)
		crawlers = append(crawlers, agent)
		r.Send(habits(agent, past)...)
	}
	stop := load(t, r, rate)
	breach := func(what string) {
		for i := range kills {
			agent := fmt.Sprint(what, "-", i)
			r.Send(loopCalls(agent, time.Now())...)
			awaitDenied(t, g, agent)
		}
	}
	second := r.Detect(plan)
	breach("joining")
	members(t, r, 2)
	breach("shared")
	for _, agent := range crawlers[:4] {
		r.Send(crawl(agent, 30, past)...)
	}

	// The broker dies in the middle of it and comes back.
	for i := range 20 {
		for _, c := range loopCalls(fmt.Sprint("torn-", i), time.Now()) {
			r.Produce(rig.Record(c), func(err error) { t.Errorf("a call is lost: %v", err) })
		}
		if i == 10 {
			cluster.Kill(t)
		}
	}
	cluster.Restart(t)
	for i := range 20 {
		awaitDenied(t, g, fmt.Sprint("torn-", i))
	}
	breach("back")
	for _, agent := range crawlers[4:8] {
		r.Send(crawl(agent, 30, past)...)
	}
	first.Stop()
	breach("leaving")
	for _, agent := range crawlers[8:] {
		r.Send(crawl(agent, 30, past)...)
	}
	stop()
	r.Judged()
	second.Stop()
	onceEach(t, r, plan)
	for _, agent := range crawlers {
		awaitDenied(t, g, agent)
	}
	onceInClickHouse(t, r, len(r.Records(pipeline.TopicCalls)))
	revoked := ids(r.Revocations(), func(rec revoke.Record) string { return rec.ID })
	if n := r.Number("SELECT count() FROM revocations_once"); n != uint64(len(revoked)) {
		t.Errorf("%d different revocations in ClickHouse, %d in Kafka", n, len(revoked))
	}
	if err := r.Lag(archive.DefaultGroup, pipeline.TopicAcks); err != nil {
		t.Error(err)
	}
}

// members waits until so many processes share the partitions of the detect role.
func members(t testing.TB, r *rig.Rig, n int) {
	t.Helper()
	cl, err := kgo.NewClient(r.Seeds()...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	rig.Await(t, time.Minute, func() error {
		groups, err := admin.DescribeGroups(t.Context(), pipeline.Group)
		if err != nil {
			return err
		}
		var shares []int
		for _, m := range groups[pipeline.Group].Members {
			if a, ok := m.Assigned.AsConsumer(); ok {
				share := 0
				for _, topic := range a.Topics {
					share += len(topic.Partitions)
				}
				shares = append(shares, share)
			}
		}
		if len(shares) != n || slices.Contains(shares, 0) {
			return fmt.Errorf("shares of the members: %v (%v)", shares, slices.Collect(maps.Keys(groups)))
		}
		return nil
	})
}
