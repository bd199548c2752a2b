package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

func start(t testing.TB, opts Options) *Broker {
	t.Helper()
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	b, err := Start(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Stop)
	return b
}

func client(t testing.TB, b *Broker, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(b.Addrs()...), kgo.ProducerLinger(0)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func createTopic(t testing.TB, c *kgo.Client, topic string, partitions int32, configs map[string]*string) kadm.TopicID {
	t.Helper()
	r, err := kadm.NewClient(c).CreateTopic(within(t, 10*time.Second), partitions, 1, configs, topic)
	if err != nil {
		t.Fatalf("cannot create topic %q: %v", topic, err)
	}
	return r.ID
}

func produce(t testing.TB, c *kgo.Client, topic string, partition int32, values ...string) {
	t.Helper()
	for _, v := range values {
		r := &kgo.Record{Topic: topic, Partition: partition, Key: []byte(v), Value: []byte(v)}
		if err := c.ProduceSync(within(t, 10*time.Second), r).FirstErr(); err != nil {
			t.Fatalf("cannot produce %q: %v", v, err)
		}
	}
}

// consume returns the values of n records of a topic from its start.
func consume(t testing.TB, b *Broker, topic string, n int) []string {
	t.Helper()
	return consumeWith(t, client(t, b, kgo.ConsumeTopics(topic)), n)
}

func consumeWith(t testing.TB, c *kgo.Client, n int) []string {
	t.Helper()
	ctx := within(t, 20*time.Second)
	var values []string
	for len(values) < n {
		fs := c.PollFetches(ctx)
		if err := fs.Err(); err != nil {
			t.Fatalf("cannot consume after %d of %d records: %v", len(values), n, err)
		}
		fs.EachRecord(func(r *kgo.Record) { values = append(values, string(r.Value)) })
	}
	return values
}

func TestLogOffsetsTopicIDAndConfigsSurviveAStop(t *testing.T) {
	dir := t.TempDir()
	b := start(t, Options{Dir: dir})
	c := client(t, b, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	compact := "compact"
	id := createTopic(t, c, "state", 2, map[string]*string{"cleanup.policy": &compact})
	produce(t, c, "state", 1, "one", "two")
	commit(t, c, "estop-detect", "state", 1, 2, "epoch=7")
	addr := b.Addrs()[0]
	c.Close()
	b.Stop()

	b = start(t, Options{Dir: dir})
	if b.Addrs()[0] != addr {
		t.Errorf("address after restart is %s, was %s", b.Addrs()[0], addr)
	}
	if got, want := consume(t, b, "state", 2), []string{"one", "two"}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("log after restart: %v, want %v", got, want)
	}
	adm := kadm.NewClient(client(t, b))
	offsets, err := adm.FetchOffsets(within(t, 10*time.Second), "estop-detect")
	if err != nil {
		t.Fatal(err)
	}
	if o, ok := offsets.Lookup("state", 1); !ok || o.At != 2 || o.Metadata != "epoch=7" {
		t.Errorf("commit after restart: %+v (found %v), want offset 2 with metadata", o, ok)
	}
	topics, err := adm.ListTopics(within(t, 10*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if topics["state"].ID != id {
		t.Errorf("topic id after restart is %v, was %v", topics["state"].ID, id)
	}
	configs, err := adm.DescribeTopicConfigs(within(t, 10*time.Second), "state")
	if err != nil {
		t.Fatal(err)
	}
	if got := configValue(configs[0], "cleanup.policy"); got != "compact" {
		t.Errorf("cleanup.policy after restart is %q", got)
	}
}

func commit(t testing.TB, c *kgo.Client, group, topic string, partition int32, at int64, metadata string) {
	t.Helper()
	var os kadm.Offsets
	os.Add(kadm.Offset{Topic: topic, Partition: partition, At: at, LeaderEpoch: -1, Metadata: metadata})
	if err := kadm.NewClient(c).CommitAllOffsets(within(t, 10*time.Second), group, os); err != nil {
		t.Fatalf("cannot commit for %q: %v", group, err)
	}
}

func configValue(rc kadm.ResourceConfig, key string) string {
	for _, c := range rc.Configs {
		if c.Key == key && c.Value != nil {
			return *c.Value
		}
	}
	return ""
}

func TestOneBrokerForADirectory(t *testing.T) {
	dir := t.TempDir()
	b := start(t, Options{Dir: dir})
	if second, err := Start(Options{Dir: dir}); !errors.Is(err, ErrInUse) {
		if second != nil {
			second.Stop()
		}
		t.Fatalf("second broker on the same directory: %v, want ErrInUse", err)
	}
	b.Stop()
	start(t, Options{Dir: dir}).Stop()
}
