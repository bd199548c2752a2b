package kafka

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"
)

func stateTopic(t testing.TB, c *kgo.Client) {
	t.Helper()
	compact := "compact"
	createTopic(t, c, "estop.state", 1, map[string]*string{"cleanup.policy": &compact})
}

// putState writes rounds values of 1 KiB for each of keys keys, and returns the last of each.
func putState(t testing.TB, c *kgo.Client, keys, rounds int) map[string]string {
	t.Helper()
	last := make(map[string]string)
	for round := range rounds {
		for key := range keys {
			k := fmt.Sprintf("agent-%03d", key)
			last[k] = fmt.Sprintf("%s round %d %s", k, round, strings.Repeat("s", 1<<10))
			c.Produce(t.Context(), &kgo.Record{Topic: "estop.state", Key: []byte(k), Value: []byte(last[k])}, func(_ *kgo.Record, err error) {
				if err != nil {
					t.Errorf("cannot produce state: %v", err)
				}
			})
		}
		if err := c.Flush(within(t, 60*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	return last
}

// state reads the topic to its end and returns the last value of each key, and how many records there were.
func state(t testing.TB, b *Broker) (last map[string]string, records int) {
	t.Helper()
	end := b.cluster.PartitionInfo("estop.state", 0).HighWatermark
	c := client(t, b, kgo.ConsumeTopics("estop.state"))
	defer c.Close()
	ctx := within(t, 30*time.Second)
	last = make(map[string]string)
	for at := int64(0); at < end; {
		fs := c.PollFetches(ctx)
		if err := fs.Err(); err != nil {
			t.Fatalf("cannot read the state: %v", err)
		}
		fs.EachRecord(func(r *kgo.Record) {
			last[string(r.Key)] = string(r.Value)
			records++
			at = r.Offset + 1
		})
	}
	return last, records
}

func compactNow(t testing.TB, b *Broker) {
	t.Helper()
	if err := b.compactIfDue(within(t, 30*time.Second)); err != nil {
		t.Fatal(err)
	}
}

func TestStateStaysBoundedAndKeepsTheLastOfEachKey(t *testing.T) {
	b := start(t, Options{Dir: t.TempDir(), Retention: Retention{Bytes: 1 << 20, Every: 10 * time.Millisecond}})
	c := client(t, b, manual(), uncompressed())
	stateTopic(t, c)
	want := putState(t, c, 100, 200) // 20 MiB in, 100 KiB of them live
	waitFor(t, func() bool { return b.cluster.PartitionInfo("estop.state", 0).NumBytes < 512<<10 })
	got, records := state(t, b)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("state after compaction (-want +got):\n%.2000s", diff)
	}
	if records >= 1000 {
		t.Errorf("the topic holds %d records for 100 keys", records)
	}
	if b.Stats().Compactions == 0 {
		t.Error("no compaction is counted")
	}
	if _, err := os.Stat(backupDir(b.opts.Dir)); err == nil {
		t.Error("a backup is left behind")
	}
}

func TestCompactedStateSurvivesAKill(t *testing.T) {
	dir := t.TempDir()
	b := start(t, Options{Dir: dir, Retention: Retention{Bytes: 1 << 20, Every: never}})
	c := client(t, b, manual(), uncompressed())
	stateTopic(t, c)
	putState(t, c, 50, 20)
	compactNow(t, b)
	want := putState(t, c, 50, 1) // goes on appending to what was compacted
	b = start(t, Options{Dir: crashImage(t, dir), Retention: Retention{Every: never}})
	got, _ := state(t, b)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("state after compaction and kill (-want +got):\n%.2000s", diff)
	}
}

// The image is what a kill leaves after kfake has removed the old segments and written a part of the new.
func TestCompactionCutShortIsUndone(t *testing.T) {
	dir := t.TempDir()
	b := start(t, Options{Dir: dir, Retention: Retention{Bytes: 1 << 20, Every: never}})
	c := client(t, b, manual(), uncompressed())
	stateTopic(t, c)
	want := putState(t, c, 50, 20)
	if err := b.linkBackup(b.compactedPartitions([]string{"estop.state"})); err != nil {
		t.Fatal(err)
	}
	image := crashImage(t, dir)
	segs, err := segments(partitionDir(image, "estop.state", 0))
	if err != nil || len(segs) < 2 {
		t.Fatalf("%d segments, %v; want several", len(segs), err)
	}
	for _, s := range segs {
		if err := os.Remove(s.path); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(segs[0].path, []byte("half a batch"), 0o600); err != nil {
		t.Fatal(err)
	}
	b = start(t, Options{Dir: image, Retention: Retention{Every: never}})
	got, _ := state(t, b)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("state after a compaction cut short (-want +got):\n%.2000s", diff)
	}
	if left, _ := filepath.Glob(backupDir(image) + "*"); len(left) > 0 {
		t.Errorf("%v is left behind", left)
	}
}

func TestCompactionWaitsForAnOpenTransaction(t *testing.T) {
	b := start(t, Options{Dir: t.TempDir(), Retention: Retention{Bytes: 1 << 20, Every: never}})
	c := client(t, b, manual(), uncompressed())
	stateTopic(t, c)
	want := putState(t, c, 50, 20)
	tx := client(t, b, manual(), kgo.TransactionalID("shard"))
	if err := tx.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	r := &kgo.Record{Topic: "estop.state", Key: []byte("agent-000"), Value: []byte("never committed")}
	if err := tx.ProduceSync(within(t, 10*time.Second), r).FirstErr(); err != nil {
		t.Fatal(err)
	}
	compactNow(t, b)
	if n := b.Stats().Compactions; n != 0 {
		t.Fatal("compacted under an open transaction")
	}
	if err := tx.EndTransaction(within(t, 10*time.Second), kgo.TryAbort); err != nil {
		t.Fatal(err)
	}
	compactNow(t, b)
	if n := b.Stats().Compactions; n != 1 {
		t.Fatalf("%d compactions after the transaction, want 1", n)
	}
	got := make(map[string]string)
	cc := client(t, b, kgo.ConsumeTopics("estop.state"), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	ctx := within(t, 20*time.Second)
	for len(got) < len(want) {
		fs := cc.PollFetches(ctx)
		if err := fs.Err(); err != nil {
			t.Fatal(err)
		}
		fs.EachRecord(func(r *kgo.Record) { got[string(r.Key)] = string(r.Value) })
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("state after an aborted transaction (-want +got):\n%.2000s", diff)
	}
}

func TestFailedCompactionEndsTheBrokerAndLosesNothing(t *testing.T) {
	dir := t.TempDir()
	b := start(t, Options{Dir: dir, Retention: Retention{Bytes: 1 << 20, Every: never}})
	c := client(t, b, manual(), uncompressed(), kgo.ProducerLinger(time.Minute)) // one batch for each round
	stateTopic(t, c)
	want := putState(t, c, 50, 19) // a segment holds two, so that the 18th does not begin one
	// Folders where kfake wants to write its first new segment: what it keeps begins in the last rounds.
	end := b.cluster.PartitionInfo("estop.state", 0).HighWatermark
	for at := end - 150; at < end; at++ {
		path := filepath.Join(partitionDir(dir, "estop.state", 0), fmt.Sprintf("%d.dat", at))
		_ = os.Mkdir(path, 0o700) // fails where a segment is already
	}
	if err := b.compactIfDue(within(t, 30*time.Second)); err == nil {
		t.Fatal("a compaction that could not write succeeded")
	}
	select {
	case <-b.Done():
	case <-time.After(20 * time.Second):
		t.Fatal("the broker goes on with a torn log")
	}
	if b.Err() == nil {
		t.Error("the broker ended without a reason")
	}
	folders, _ := filepath.Glob(filepath.Join(partitionDir(dir, "estop.state", 0), "*.dat"))
	for _, path := range folders {
		if isFolder(path) {
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
		}
	}
	b = start(t, Options{Dir: dir, Retention: Retention{Every: never}})
	got, _ := state(t, b)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("state after a failed compaction (-want +got):\n%.2000s", diff)
	}
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
