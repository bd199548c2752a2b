package kafka

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// These tests hold what the pipeline needs of the engine.

func TestCooperativeGroupHandsPartitionsOverWithoutStoppingTheRest(t *testing.T) {
	b := start(t, Options{Dir: t.TempDir()})
	admin := client(t, b, manual())
	createTopic(t, admin, "calls", 4, nil)
	var revoked atomic.Int64
	member := func(opts ...kgo.Opt) *kgo.Client {
		return client(t, b, append([]kgo.Opt{kgo.ConsumerGroup("estop-detect"), kgo.ConsumeTopics("calls"), kgo.DisableAutoCommit(),
			kgo.Balancers(kgo.CooperativeStickyBalancer()), kgo.HeartbeatInterval(50 * time.Millisecond)}, opts...)...)
	}
	first := member(kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, lost map[string][]int32) {
		revoked.Add(int64(len(lost["calls"])))
	}))
	assigned := func(members int) bool {
		g := b.cluster.GroupInfo("estop-detect")
		return g != nil && g.State == "Stable" && len(g.Members) == members && g.NumAssigned() == 4
	}
	waitFor(t, func() bool { return assigned(1) })
	second := member()
	waitFor(t, func() bool { return assigned(2) })
	if n := revoked.Load(); n != 2 {
		t.Errorf("the first member lost %d partitions, want only the 2 it hands over", n)
	}
	for p := range int32(4) {
		produce(t, admin, "calls", p, "v")
	}
	consumeAll := func(cs ...*kgo.Client) (n int) {
		for _, c := range cs {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			n += c.PollFetches(ctx).NumRecords()
			cancel()
		}
		return n
	}
	var got int
	waitFor(t, func() bool { got += consumeAll(first, second); return got == 4 })
	second.Close()
	waitFor(t, func() bool { return assigned(1) })
}

func TestTransactionsCoverRecordsAndOffsets(t *testing.T) {
	b := start(t, Options{Dir: t.TempDir()})
	admin := client(t, b)
	createTopic(t, admin, "calls", 1, nil)
	createTopic(t, admin, "estop.state", 1, nil)
	produce(t, admin, "calls", 0, "one")
	for _, step := range []struct {
		end       kgo.TransactionEndTry
		committed int64
	}{{kgo.TryAbort, -1}, {kgo.TryCommit, 1}} {
		s, err := kgo.NewGroupTransactSession(kgo.SeedBrokers(b.Addrs()...), kgo.TransactionalID("shard"), kgo.ConsumerGroup("estop-detect"),
			kgo.ConsumeTopics("calls"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		if err != nil {
			t.Fatal(err)
		}
		ctx := within(t, 30*time.Second)
		if n := s.PollFetches(ctx).NumRecords(); n != 1 {
			t.Fatalf("consumed %d calls, want the one again after an abort", n)
		}
		if err := s.Begin(); err != nil {
			t.Fatal(err)
		}
		s.Produce(ctx, &kgo.Record{Topic: "estop.state", Value: []byte("state")}, nil)
		if committed, err := s.End(ctx, step.end); err != nil || committed != bool(step.end) {
			t.Fatalf("end of the transaction: %v, %v", committed, err)
		}
		s.Close()
		offsets, err := kadm.NewClient(admin).FetchOffsets(ctx, "estop-detect")
		if err != nil {
			t.Fatal(err)
		}
		at := int64(-1)
		if o, ok := offsets.Lookup("calls", 0); ok {
			at = o.At
		}
		if at != step.committed {
			t.Errorf("committed offset is %d, want %d", at, step.committed)
		}
	}
	if got := consumeCommitted(t, b, "estop.state", 1); !cmp.Equal(got, []string{"state"}) {
		t.Errorf("state is %v", got)
	}
}

func TestHeadersTimestampsAndListedOffsets(t *testing.T) {
	b := start(t, Options{Dir: t.TempDir()})
	c := client(t, b, manual(), kgo.ConsumeTopics("calls"))
	createTopic(t, c, "calls", 1, nil)
	at := time.UnixMilli(1_700_000_000_000)
	headers := []kgo.RecordHeader{{Key: "reason", Value: []byte("not JSON")}, {Key: "empty", Value: []byte{}}}
	for i := range 3 {
		r := &kgo.Record{Topic: "calls", Value: []byte("v"), Timestamp: at.Add(time.Duration(i) * time.Second), Headers: headers}
		if err := c.ProduceSync(within(t, 10*time.Second), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	rs := c.PollFetches(within(t, 10*time.Second)).Records()
	if len(rs) == 0 {
		t.Fatal("nothing consumed")
	}
	if !cmp.Equal(rs[0].Headers, headers) || !rs[0].Timestamp.Equal(at) {
		t.Errorf("record has headers %v and time %v", rs[0].Headers, rs[0].Timestamp)
	}
	adm := kadm.NewClient(c)
	ctx := within(t, 10*time.Second)
	after, err := adm.ListOffsetsAfterMilli(ctx, at.Add(500*time.Millisecond).UnixMilli(), "calls")
	if err != nil {
		t.Fatal(err)
	}
	if o, _ := after.Lookup("calls", 0); o.Offset != 1 {
		t.Errorf("first offset after half a second is %d, want 1", o.Offset)
	}
	ends, err := adm.ListEndOffsets(ctx, "calls")
	if err != nil {
		t.Fatal(err)
	}
	if o, _ := ends.Lookup("calls", 0); o.Offset != 3 {
		t.Errorf("end offset is %d, want 3", o.Offset)
	}
}

// kfake ignores message.timestamp.type. When this fails it has learnt it, and the decision record can say so.
func TestLogAppendTimeIsNotToBeHad(t *testing.T) {
	b := start(t, Options{Dir: t.TempDir()})
	c := client(t, b, manual(), kgo.ConsumeTopics("calls"))
	appendTime := "LogAppendTime"
	createTopic(t, c, "calls", 1, map[string]*string{"message.timestamp.type": &appendTime})
	old := time.UnixMilli(1_700_000_000_000)
	if err := c.ProduceSync(within(t, 10*time.Second), &kgo.Record{Topic: "calls", Timestamp: old}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	rs := c.PollFetches(within(t, 10*time.Second)).Records()
	if len(rs) != 1 || !rs[0].Timestamp.Equal(old) {
		t.Errorf("records are %v, want one with the client's time", rs)
	}
}

func TestCommitMetadataComesBackToTheNextMember(t *testing.T) {
	b := start(t, Options{Dir: t.TempDir()})
	admin := client(t, b, manual())
	createTopic(t, admin, "calls", 1, nil)
	produce(t, admin, "calls", 0, "a", "b")
	first := client(t, b, kgo.ConsumerGroup("estop-detect"), kgo.ConsumeTopics("calls"), kgo.DisableAutoCommit(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	consumeWith(t, first, 2)
	metadata := "shard=0 snapshot=7"
	ctx := within(t, 10*time.Second)
	var os kadm.Offsets
	os.Add(kadm.Offset{Topic: "calls", Partition: 0, At: 1, LeaderEpoch: -1, Metadata: metadata})
	first.Close() // leaves the group without a commit of its own
	if err := kadm.NewClient(admin).CommitAllOffsets(ctx, "estop-detect", os); err != nil {
		t.Fatal(err)
	}
	second := client(t, b, kgo.ConsumerGroup("estop-detect"), kgo.ConsumeTopics("calls"), kgo.DisableAutoCommit())
	if got := consumeWith(t, second, 1); !slices.Equal(got, []string{"b"}) {
		t.Errorf("the next member starts with %v, want b", got)
	}
	offsets, err := kadm.NewClient(admin).FetchOffsets(ctx, "estop-detect")
	if err != nil {
		t.Fatal(err)
	}
	if o, _ := offsets.Lookup("calls", 0); o.Metadata != metadata {
		t.Errorf("metadata is %q, want %q", o.Metadata, metadata)
	}
}
