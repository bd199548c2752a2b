package kafka

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// childDir names the directory that a child process serves, when the test binary runs as one.
const childDir = "ESTOP_KAFKA_TEST_CHILD"

func TestMain(m *testing.M) {
	dir := os.Getenv(childDir)
	if dir == "" {
		os.Exit(m.Run())
	}
	// Small segments and a short interval, so that kills fall into compactions; calls are held back by a reader.
	b, err := Start(Options{
		Dir: dir, Readers: map[string][]string{"calls": {"estop-archive"}},
		Retention: Retention{Bytes: 512 << 10, HardBytes: 1 << 40, Every: time.Millisecond},
	})
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
	fmt.Println(b.Addrs()[0])
	select {} // until it is killed
}

// child is a broker in a process of its own.
type child struct {
	cmd  *exec.Cmd
	addr string
}

func startChild(t testing.TB, dir string) *child {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &child{cmd: cmd}
	t.Cleanup(c.kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || strings.HasPrefix(line, "failed") {
		t.Fatalf("the child says %q, %v", line, err)
	}
	c.addr = strings.TrimSpace(line)
	return c
}

// kill ends the child with SIGKILL and waits for it.
func (c *child) kill() {
	if c.cmd.ProcessState == nil {
		_ = c.cmd.Process.Kill()
		_ = c.cmd.Wait()
	}
}

// acked is what the broker has acknowledged to the clients of one test.
type acked struct {
	mu      sync.Mutex
	values  map[int64]string // offset → value
	commits int64            // highest offset committed, its metadata is the same number
	state   map[string]int   // key → highest version in the compacted topic
}

func TestWhatWasAcknowledgedSurvivesKill(t *testing.T) {
	const kills = 12
	dir := t.TempDir()
	c := startChild(t, dir)
	addr := c.addr
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ProducerLinger(0), kgo.DefaultProduceTopic("calls"),
		kgo.RecordDeliveryTimeout(60*time.Second), kgo.RetryTimeout(60*time.Second), kgo.DialTimeout(time.Second), kgo.MetadataMinAge(20*time.Millisecond), kgo.AlwaysRetryEOF(),
		kgo.RetryBackoffFn(func(int) time.Duration { return 10 * time.Millisecond }))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	topic := createTopic(t, cl, "calls", 1, nil)

	stateTopic(t, cl)
	got := acked{values: make(map[int64]string), commits: -1, state: make(map[string]int)}
	ctx, stop := context.WithCancel(t.Context())
	var work sync.WaitGroup
	work.Go(func() { produceUntil(ctx, t, cl, &got) })
	work.Go(func() { commitUntil(ctx, cl, &got) })
	work.Go(func() { putStateUntil(ctx, t, cl, &got) })

	rng := rand.New(rand.NewPCG(1, 2))
	for i := range kills {
		waitFor(t, func() bool { got.mu.Lock(); defer got.mu.Unlock(); return len(got.values) > 200*(i+1) })
		time.Sleep(time.Duration(rng.IntN(5000)) * time.Microsecond) // so that kills fall anywhere, not to wait for anything
		c.kill()
		c = startChild(t, dir)
		if c.addr != addr {
			t.Fatalf("address after kill is %s, was %s", c.addr, addr)
		}
	}
	waitFor(t, func() bool { got.mu.Lock(); defer got.mu.Unlock(); return len(got.values) > 200*(kills+1) })
	stop()
	work.Wait()
	c.kill() // and once more with nothing in flight

	b := start(t, Options{Dir: dir})
	records := len(got.values)
	checkLog(t, b, got.values)
	checkState(t, b, got.state)
	adm := kadm.NewClient(client(t, b))
	offsets, err := adm.FetchOffsets(within(t, 10*time.Second), "estop-detect")
	if err != nil {
		t.Fatal(err)
	}
	if o, _ := offsets.Lookup("calls", 0); o.At < got.commits || o.Metadata != fmt.Sprint(o.At) {
		t.Errorf("commit after the kills is %d with metadata %q, acknowledged was %d", o.At, o.Metadata, got.commits)
	}
	topics, err := adm.ListTopics(within(t, 10*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if topics["calls"].ID != topic {
		t.Errorf("topic id after the kills is %v, was %v", topics["calls"].ID, topic)
	}
	info := b.cluster.PartitionInfo("estop.state", 0)
	t.Logf("%d kills; acknowledged: %d calls, commits up to %d; state: %d records in %d bytes",
		kills+1, records, got.commits, info.HighWatermark, info.NumBytes)
}

// produceUntil keeps several batches in flight, so that a kill finds some half done.
func produceUntil(ctx context.Context, t *testing.T, cl *kgo.Client, got *acked) {
	for n := 0; ctx.Err() == nil; n++ {
		value := fmt.Sprintf("%08d %s", n, strings.Repeat("x", n%700))
		cl.Produce(context.Background(), &kgo.Record{Key: []byte(value[:8]), Value: []byte(value)}, func(r *kgo.Record, err error) {
			if err != nil {
				t.Errorf("record %d was not acknowledged in the end: %v", n, err)
				return
			}
			got.mu.Lock()
			defer got.mu.Unlock()
			if other, twice := got.values[r.Offset]; twice {
				t.Errorf("offset %d was acknowledged for %.8q and for %.8q", r.Offset, other, r.Value)
			}
			got.values[r.Offset] = string(r.Value)
		})
		if n%8 == 7 {
			time.Sleep(time.Millisecond) // the pace, not a wait: some thousand records a second
		}
	}
	if err := cl.Flush(context.Background()); err != nil {
		t.Error(err)
	}
}

func commitUntil(ctx context.Context, cl *kgo.Client, got *acked) {
	adm := kadm.NewClient(cl)
	for at := int64(1); ctx.Err() == nil; at++ {
		var os kadm.Offsets
		os.Add(kadm.Offset{Topic: "calls", Partition: 0, At: at, LeaderEpoch: -1, Metadata: fmt.Sprint(at)})
		if err := adm.CommitAllOffsets(context.Background(), "estop-detect", os); err != nil {
			continue // not acknowledged
		}
		got.mu.Lock()
		got.commits = at
		got.mu.Unlock()
	}
}

// putStateUntil overwrites a few keys again and again, for compaction to have work.
func putStateUntil(ctx context.Context, t *testing.T, cl *kgo.Client, got *acked) {
	pad := randomText(8 << 10) // does not compress
	for version := 0; ctx.Err() == nil; version++ {
		key := fmt.Sprintf("agent-%d", version%10)
		value := fmt.Sprintf("%d %s", version, pad)
		r := &kgo.Record{Topic: "estop.state", Key: []byte(key), Value: []byte(value)}
		if err := cl.ProduceSync(context.Background(), r).FirstErr(); err != nil {
			t.Errorf("state was not acknowledged in the end: %v", err)
			continue
		}
		got.mu.Lock()
		got.state[key] = version
		got.mu.Unlock()
	}
}

func checkState(t *testing.T, b *Broker, acknowledged map[string]int) {
	t.Helper()
	last, _ := state(t, b)
	for key, want := range acknowledged {
		var version int
		if _, err := fmt.Sscanf(last[key], "%d", &version); err != nil || version < want {
			t.Errorf("state of %s is version %d (%v), acknowledged was %d", key, version, err, want)
		}
	}
}

// checkLog reads the whole log: every acknowledged value at its offset, nothing else but whole values, none twice.
func checkLog(t *testing.T, b *Broker, values map[int64]string) {
	t.Helper()
	info := b.cluster.PartitionInfo("calls", 0)
	cl := client(t, b, kgo.ConsumeTopics("calls"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	ctx := within(t, 30*time.Second)
	seen := make(map[string]int64)
	left := info.HighWatermark - info.LogStartOffset
	for left > 0 {
		fs := cl.PollFetches(ctx)
		if err := fs.Err(); err != nil {
			t.Fatalf("cannot read the log: %v", err)
		}
		fs.EachRecord(func(r *kgo.Record) {
			left--
			if want, ok := values[r.Offset]; ok && want != string(r.Value) {
				t.Errorf("offset %d holds %.8q, acknowledged was %.8q", r.Offset, r.Value, want)
			}
			delete(values, r.Offset)
			var n, pad int
			if _, err := fmt.Sscanf(string(r.Value), "%d", &n); err != nil {
				t.Errorf("offset %d holds garbage %q", r.Offset, r.Value)
			}
			if pad = len(r.Value) - 9; pad != n%700 {
				t.Errorf("offset %d holds a torn record: %d bytes of padding, want %d", r.Offset, pad, n%700)
			}
			if at, twice := seen[string(r.Value)]; twice {
				t.Errorf("record %d is there twice, at %d and %d", n, at, r.Offset)
			}
			seen[string(r.Value)] = r.Offset
		})
	}
	for offset, v := range values {
		if offset >= info.LogStartOffset {
			t.Errorf("acknowledged record %.8q at offset %d is lost", v, offset)
		}
	}
}

func waitFor(t testing.TB, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain")
		}
		time.Sleep(time.Millisecond)
	}
}

func randomText(n int) string {
	rng := rand.New(rand.NewPCG(3, 4))
	text := make([]byte, n)
	for i := range text {
		text[i] = byte('!' + rng.IntN(90))
	}
	return string(text)
}
