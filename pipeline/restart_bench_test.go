package pipeline_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/pipeline/rig"
	"github.com/estop-project/estop/pipeline/shard"
)

const benchPartitions = 4

// BenchmarkRestart measures the time from the start of a role that crashed until a guard denies the agent that breaks
// a detector next, with many agents known: from the local state files, and from the state topic alone. An operation
// is one restart. Each agent's state is that of one with forty calls of six resources.
func BenchmarkRestart(b *testing.B) {
	for _, agents := range []int{100_000, 1_000_000} {
		b.Run(fmt.Sprintf("agents=%d", agents), func(b *testing.B) { benchRestart(b, agents) })
	}
}

func benchRestart(b *testing.B, agents int) {
	r := rig.New(b, rig.Options{Partitions: benchPartitions})
	dir := filepath.Join(b.TempDir(), "state")
	plan := rig.Plan(b, spree, loop("loop", "enforce"))
	g := r.Guard("gate")
	bytes := knowAgents(b, r, plan, agents)
	n := 0
	restart := func(b *testing.B, change ...func(*pipeline.Options)) {
		var took time.Duration
		for b.Loop() {
			agent := fmt.Sprint("agent-", 7*n)
			n++
			r.Send(loopCalls(agent, time.Now())...)
			start := time.Now()
			role := r.Detect(plan, change...)
			awaitDenied(b, g, agent)
			took += time.Since(start)
			r.Judged()
			crash := errors.New("crash")
			role.Crash(crash)
			if err := role.Wait(); !errors.Is(err, crash) {
				b.Fatal(err)
			}
		}
		b.ReportMetric(took.Seconds()/float64(b.N), "s/restart")
		b.ReportMetric(float64(bytes)/float64(agents), "B/agent")
		b.ReportMetric(0, "ns/op")
	}
	b.Run("topic", func(b *testing.B) { restart(b) })
	role := r.Detect(plan, stateIn(dir)) // which makes the files
	r.Send(loopCalls("agent-1", time.Now())...)
	awaitDenied(b, g, "agent-1")
	r.Judged()
	role.Stop()
	b.Run("file", func(b *testing.B) { restart(b, stateIn(dir)) })
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) == 0 {
		b.Errorf("no files in %s: %v", dir, err)
	}
}

// knowAgents writes to the state topic what a role would write that knows so many agents, and returns its size.
func knowAgents(b *testing.B, r *rig.Rig, plan *detector.Plan, agents int) (size int) {
	s := shard.New(plan, shard.Options{})
	for i := range 40 {
		c := rig.Call(fmt.Sprint("call-", i), "agent", fmt.Sprint("doc-", i%6), time.Now().Add(-time.Hour+time.Duration(i)*time.Minute))
		s.Call(c, shard.Source{Topic: pipeline.TopicCalls, Offset: 0, Index: i, Appended: c.Time})
	}
	s.Dirty()
	again := rig.Call("last", "agent", "doc-1", time.Now().Add(-time.Minute)) // without what was told to peers
	s.Call(again, shard.Source{Topic: pipeline.TopicCalls, Offset: 0, Index: 40, Appended: again.Time})
	var state shard.EntityState
	for _, st := range s.Dirty() {
		if strings.HasSuffix(st.Key, "\x00agent") {
			state = st
		}
	}
	client, err := kgo.NewClient(append(append(pipeline.ProducerOptions(), r.Seeds()...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MaxBufferedRecords(1<<21))...)
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	partitions := kgo.StickyKeyPartitioner(nil).ForTopic(pipeline.TopicCalls)
	parts := make([][]shard.EntityState, benchPartitions)
	for i := range agents {
		name := fmt.Sprint("agent-", i)
		p := partitions.Partition(rig.Record(rig.Call("x", name, "doc-1", time.Now())), benchPartitions)
		parts[p] = append(parts[p], shard.EntityState{Key: strings.TrimSuffix(state.Key, "agent") + name, Value: state.Value})
		size += len(state.Key) + len(state.Value)
	}
	for p, states := range parts {
		records := pipeline.StateRecords(int32(p), 1, states)
		for i := range 2 { // the states are of the first
			c := rig.Record(rig.Call(fmt.Sprint("first-", i), fmt.Sprint("first-", p), "doc-1", time.Now()))
			c.Partition = int32(p)
			records = append(records, c)
		}
		if err := client.ProduceSync(b.Context(), records...).FirstErr(); err != nil {
			b.Fatal(err)
		}
	}
	return size
}
