package kafkatest

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

func TestMain(m *testing.M) { os.Exit(Main(m)) }

func client(t testing.TB, c *Cluster, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(c.Brokers()...), kgo.ProducerLinger(0)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func createTopic(t testing.TB, cl *kgo.Client, topic string, partitions int32) {
	t.Helper()
	if _, err := kadm.NewClient(cl).CreateTopic(within(t, 30*time.Second), partitions, 1, nil, topic); err != nil {
		t.Fatalf("cannot create topic %q: %v", topic, err)
	}
}

func produce(t testing.TB, cl *kgo.Client, topic string, values ...string) {
	t.Helper()
	for _, v := range values {
		if err := cl.ProduceSync(within(t, 30*time.Second), kgo.KeyStringRecord(v, v)).FirstErr(); err != nil {
			t.Fatalf("cannot produce %q to %q: %v", v, topic, err)
		}
	}
}

// poll returns the next n values a client gets.
func poll(t testing.TB, cl *kgo.Client, n int) []string {
	t.Helper()
	ctx := within(t, 60*time.Second)
	var got []string
	for len(got) < n {
		fs := cl.PollFetches(ctx)
		if err := fs.Err(); err != nil {
			t.Fatalf("cannot consume after %d of %d records: %v", len(got), n, err)
		}
		fs.EachRecord(func(r *kgo.Record) { got = append(got, string(r.Value)) })
	}
	return got
}

func TestProduceAndConsume(t *testing.T) {
	c := Shared(t)
	cl := client(t, c, kgo.DefaultProduceTopic("plain"), kgo.ConsumeTopics("plain"))
	createTopic(t, cl, "plain", 1)
	produce(t, cl, "plain", "a", "b", "c")
	if got := poll(t, cl, 3); got[0] != "a" || got[1] != "b" || got[2] != "c" {
		t.Errorf("consumed %v, want a b c", got)
	}
}

func TestCooperativeGroupSharesPartitionsAndKeepsCommitMetadata(t *testing.T) {
	c := Shared(t)
	adminClient := client(t, c, kgo.DefaultProduceTopic("grouped"))
	createTopic(t, adminClient, "grouped", 2)
	member := func() *kgo.Client {
		return client(t, c, kgo.ConsumerGroup("readers"), kgo.ConsumeTopics("grouped"), kgo.DisableAutoCommit(),
			kgo.Balancers(kgo.CooperativeStickyBalancer()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	}
	first := member()
	produce(t, adminClient, "grouped", "a", "b", "c", "d", "e", "f")
	poll(t, first, 6)

	adm := kadm.NewClient(adminClient)
	second := member()
	assigned := func() (members, partitions int) {
		// Members rebalance while they poll.
		for _, m := range []*kgo.Client{first, second} {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			m.PollFetches(ctx)
			cancel()
		}
		groups, err := adm.DescribeGroups(within(t, 10*time.Second), "readers")
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range groups["readers"].Members {
			if a, ok := m.Assigned.AsConsumer(); ok && len(a.Topics) == 1 && len(a.Topics[0].Partitions) == 1 {
				members, partitions = members+1, partitions+1
			}
		}
		return members, partitions
	}
	deadline := time.Now().Add(60 * time.Second)
	for {
		if members, partitions := assigned(); members == 2 && partitions == 2 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("two members never shared two partitions")
		}
	}

	var offsets kadm.Offsets
	offsets.Add(kadm.Offset{Topic: "grouped", Partition: 0, At: 1, LeaderEpoch: -1, Metadata: "state=42"})
	if err := adm.CommitAllOffsets(within(t, 10*time.Second), "elsewhere", offsets); err != nil {
		t.Fatal(err)
	}
	got, err := adm.FetchOffsets(within(t, 10*time.Second), "elsewhere")
	if err != nil {
		t.Fatal(err)
	}
	if o, ok := got.Lookup("grouped", 0); !ok || o.At != 1 || o.Metadata != "state=42" {
		t.Errorf("commit is %+v (found %v), want offset 1 with its metadata", o, ok)
	}
}

func TestTransactionsShowOnlyWhatWasCommitted(t *testing.T) {
	c := Shared(t)
	cl := client(t, c, kgo.DefaultProduceTopic("tx"), kgo.TransactionalID("writer"))
	createTopic(t, cl, "tx", 1)
	for _, step := range []struct {
		value string
		end   kgo.TransactionEndTry
	}{{"aborted", kgo.TryAbort}, {"committed", kgo.TryCommit}} {
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		produce(t, cl, "tx", step.value)
		if err := cl.EndTransaction(within(t, 30*time.Second), step.end); err != nil {
			t.Fatal(err)
		}
	}
	reader := client(t, c, kgo.ConsumeTopics("tx"), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if got := poll(t, reader, 1); got[0] != "committed" {
		t.Errorf("read_committed gave %q first, want the committed record", got[0])
	}
}

func TestAcknowledgedRecordsSurviveAKill(t *testing.T) {
	c := Start(t)
	cl := client(t, c, kgo.DefaultProduceTopic("durable"), kgo.ConsumeTopics("durable"))
	createTopic(t, cl, "durable", 1)
	produce(t, cl, "durable", "before")
	c.Kill(t)
	if err := cl.Ping(within(t, time.Second)); err == nil {
		t.Fatal("a killed broker answers")
	}
	c.Restart(t)
	produce(t, cl, "durable", "after")
	if got := poll(t, cl, 2); got[0] != "before" || got[1] != "after" {
		t.Errorf("after kill and restart the log holds %v, want before and after", got)
	}
	c.Stop(t)
	c.Restart(t)
	produce(t, cl, "durable", "later")
	if got := poll(t, cl, 1); got[0] != "later" {
		t.Errorf("after stop and restart consumed %v, want later", got)
	}
}

func TestMissingJavaIsNamed(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := newCluster(t.TempDir()); !errors.Is(err, errMissing) {
		t.Fatalf("without java: %v, want %v", err, errMissing)
	}
}
