package kafka

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// never is an interval for tests that run each pass themselves.
const never = time.Hour

func pass(t testing.TB, b *Broker) {
	t.Helper()
	if err := b.applyRetention(within(t, 20*time.Second)); err != nil {
		t.Fatal(err)
	}
}

// produceBytes fills a partition with about size bytes in small batches.
func produceBytes(t testing.TB, c *kgo.Client, topic string, size int) {
	t.Helper()
	value := []byte(strings.Repeat("v", 4<<10))
	for sent := 0; sent < size; sent += len(value) {
		c.Produce(t.Context(), &kgo.Record{Topic: topic, Value: value}, func(_ *kgo.Record, err error) {
			if err != nil {
				t.Errorf("cannot produce: %v", err)
			}
		})
	}
	if err := c.Flush(within(t, 60*time.Second)); err != nil {
		t.Fatal(err)
	}
}

func diskBytes(t testing.TB, b *Broker, topic string) int64 {
	t.Helper()
	segs, err := segments(partitionDir(b.opts.Dir, topic, 0))
	if err != nil {
		t.Fatal(err)
	}
	var sum int64
	for _, s := range segs {
		sum += s.size
	}
	return sum
}

func uncompressed() kgo.Opt { return kgo.ProducerBatchCompression(kgo.NoCompression()) }

func TestALongProduceLoopStaysBounded(t *testing.T) {
	const bound = 1 << 20
	b := start(t, Options{Dir: t.TempDir(), Retention: Retention{Bytes: bound, Every: 10 * time.Millisecond}})
	c := client(t, b, manual(), uncompressed(), kgo.ProducerBatchMaxBytes(16<<10))
	createTopic(t, c, "calls", 1, nil)
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	bounded := func() bool {
		kept := b.cluster.PartitionInfo("calls", 0).NumBytes
		return kept <= bound+b.opts.Retention.segmentBytes() && diskBytes(t, b, "calls") <= bound+2*b.opts.Retention.segmentBytes()
	}
	produceBytes(t, c, "calls", 4*bound)
	waitFor(t, bounded)
	before := heap()
	for range 8 {
		produceBytes(t, c, "calls", 8*bound)
		waitFor(t, bounded)
	}
	if grown := int64(heap()) - int64(before); grown > 4*bound {
		t.Errorf("the heap grew by %d bytes over %d bytes of log", grown, 64*bound)
	}
	if n := b.Stats().DeletedUnread; n != 0 {
		t.Errorf("%d records count as unread, though nobody reads", n)
	}
}

func TestUnreadRecordsWaitForTheirReaders(t *testing.T) {
	readers := map[string][]string{"calls": {"estop-detect", "estop-archive"}}
	b := start(t, Options{Dir: t.TempDir(), Readers: readers, Retention: Retention{Bytes: 512 << 10, HardBytes: 64 << 20, Every: never}})
	c := client(t, b, manual(), uncompressed(), kgo.ProducerBatchMaxBytes(8<<10))
	createTopic(t, c, "calls", 1, nil)
	produceBytes(t, c, "calls", 2<<20)
	expectStart := func(when string, ok func(start int64) bool) {
		t.Helper()
		pass(t, b)
		if at := b.cluster.PartitionInfo("calls", 0).LogStartOffset; !ok(at) {
			t.Errorf("%s the log starts at %d", when, at)
		}
	}
	expectStart("before any commit", func(at int64) bool { return at == 0 })
	commit(t, c, "estop-detect", "calls", 0, 500, "")
	expectStart("while one of two readers has no commit", func(at int64) bool { return at == 0 })
	commit(t, c, "estop-archive", "calls", 0, 100, "")
	expectStart("after both have committed", func(at int64) bool { return at == 100 })
	commit(t, c, "estop-archive", "calls", 0, 500, "")
	expectStart("after both have read past the bound", func(at int64) bool { return at > 300 && at < 500 })
	if n := b.Stats().DeletedUnread; n != 0 {
		t.Errorf("%d records were deleted unread", n)
	}
}

func TestHardBoundDeletesUnreadAndCounts(t *testing.T) {
	b := start(t, Options{Dir: t.TempDir(), Readers: map[string][]string{"calls": {"estop-detect"}},
		Retention: Retention{Bytes: 512 << 10, HardBytes: 1 << 20, Every: never}})
	c := client(t, b, manual(), uncompressed(), kgo.ProducerBatchMaxBytes(8<<10))
	createTopic(t, c, "calls", 1, nil)
	commit(t, c, "estop-detect", "calls", 0, 10, "")
	produceBytes(t, c, "calls", 3<<20)
	pass(t, b)
	info := b.cluster.PartitionInfo("calls", 0)
	if limit := int64(1<<20) + b.opts.Retention.segmentBytes(); info.NumBytes > limit {
		t.Errorf("the partition keeps %d bytes, the hard bound is 1 MiB", info.NumBytes)
	}
	if got, want := b.Stats().DeletedUnread, info.LogStartOffset-10; got != want || want <= 0 {
		t.Errorf("%d records count as deleted unread, want %d", got, want)
	}
}

func TestRecordsPastTheirAgeAreDeleted(t *testing.T) {
	now := time.Now()
	clock := now
	b := start(t, Options{Dir: t.TempDir(), Clock: func() time.Time { return clock }, Retention: Retention{Age: time.Hour, Every: never}})
	c := client(t, b, manual())
	createTopic(t, c, "calls", 1, nil)
	for _, age := range []time.Duration{50 * time.Minute, 40 * time.Minute, 5 * time.Minute} {
		r := &kgo.Record{Topic: "calls", Value: []byte("v"), Timestamp: now.Add(-age)}
		if err := c.ProduceSync(within(t, 10*time.Second), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		later time.Duration
		start int64
	}{{0, 0}, {15 * time.Minute, 1}, {30 * time.Minute, 2}, {5 * time.Hour, 2}} {
		clock = now.Add(step.later)
		pass(t, b)
		if at := b.cluster.PartitionInfo("calls", 0).LogStartOffset; at != step.start {
			t.Errorf("after %v the log starts at %d, want %d (the last record always stays)", step.later, at, step.start)
		}
	}
}

func TestATopicsOwnRetentionIsTheBrokersToApply(t *testing.T) {
	value, ms := "524288", "1"
	b := start(t, Options{Dir: t.TempDir(), Readers: map[string][]string{"calls": {"estop-detect"}}, Retention: Retention{Bytes: 8 << 20, Every: never}})
	c := client(t, b, manual(), uncompressed(), kgo.ProducerBatchMaxBytes(8<<10))
	createTopic(t, c, "calls", 1, map[string]*string{"retention.bytes": &value, "retention.ms": &ms})
	if _, err := kadm.NewClient(c).AlterTopicConfigs(within(t, 10*time.Second), []kadm.AlterConfig{{Name: "retention.ms", Value: &ms}}, "calls"); err != nil {
		t.Fatal(err)
	}
	produceBytes(t, c, "calls", 2<<20)
	b.cluster.ApplyRetention() // kfake's own, which compaction runs too
	if at := b.cluster.PartitionInfo("calls", 0).LogStartOffset; at != 0 {
		t.Fatalf("kfake deleted up to %d by itself", at)
	}
	commit(t, c, "estop-detect", "calls", 0, 500, "")
	pass(t, b)
	if at := b.cluster.PartitionInfo("calls", 0).LogStartOffset; at != 500 {
		t.Errorf("the log starts at %d, want 500: all of it is older than 1 ms, and read up to there", at)
	}
}

func TestDeletedRecordsStayDeletedAfterAKill(t *testing.T) {
	dir := t.TempDir()
	b := start(t, Options{Dir: dir, Retention: Retention{Every: never}})
	c := client(t, b, manual())
	createTopic(t, c, "calls", 1, nil)
	produce(t, c, "calls", 0, "a", "b", "c", "d")
	var to kadm.Offsets
	to.AddOffset("calls", 0, 2, -1)
	if _, err := kadm.NewClient(c).DeleteRecords(within(t, 10*time.Second), to); err != nil {
		t.Fatal(err)
	}
	pass(t, b)
	b = start(t, Options{Dir: crashImage(t, dir)})
	if got := consume(t, b, "calls", 2); got[0] != "c" {
		t.Errorf("after a kill the log starts with %q, want c", got[0])
	}
}

// Recovery and retention read files of kfake. This fails when a new version of kfake writes them in another way.
func TestDirectoryIsAsExpected(t *testing.T) {
	dir := t.TempDir()
	b := start(t, Options{Dir: dir})
	c := client(t, b, manual())
	compact := "compact"
	createTopic(t, c, "a/b c", 1, nil) // kfake takes any name
	createTopic(t, c, "calls", 2, map[string]*string{"cleanup.policy": &compact})
	produce(t, c, "calls", 1, "a")
	commit(t, c, "estop-detect", "calls", 1, 1, "")

	topics, err := storedTopics(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range topics {
		if topic.Name == "calls" && (topic.Partitions != 2 || !topic.compacted()) {
			t.Errorf("topic is %+v, want 2 partitions and compaction", topic)
		}
	}
	pdir := partitionDir(dir, "calls", 1)
	segs, err := segments(pdir)
	if err != nil || len(segs) != 1 || segs[0].base != 0 {
		t.Fatalf("segments %v, %v; want one from offset 0", segs, err)
	}
	raw, err := os.ReadFile(segs[0].path)
	if err != nil {
		t.Fatal(err)
	}
	batches := readBatches(raw)
	if len(batches) != 1 || batches[0].records != 1 || batches[0].size != int64(len(raw)) {
		t.Fatalf("batches %+v of %d bytes, want one", batches, len(raw))
	}
	index, err := os.ReadFile(indexOf(segs[0].path))
	if err != nil {
		t.Fatal(err)
	}
	want := indexEntry(batches[0])
	if len(index) != indexEntrySize || index[0] != want[0] || index[14] != want[14] || string(index[2:6]) != string(want[2:6]) {
		t.Errorf("index entry is %v, want one like %v", index, want)
	}
	groups, err := os.ReadFile(filepath.Join(dir, "groups.log"))
	if err != nil || wholeEntries(groups) != len(groups) || len(groups) == 0 {
		t.Errorf("%d of %d bytes of groups.log are whole entries, %v", wholeEntries(groups), len(groups), err)
	}
	b.Stop()
	raw, err = os.ReadFile(sequencesFile(dir))
	if err != nil {
		t.Fatal(err)
	}
	var saved struct{ Windows []sequences }
	if err := json.Unmarshal(raw, &saved); err != nil || len(saved.Windows) != 1 {
		t.Fatalf("sequences are %s, %v", raw, err)
	}
	if w := saved.Windows[0]; w.Topic != "calls" || w.Next != 1 || w.Count != 1 || !w.Seen {
		t.Errorf("sequences are %+v", w)
	}
	if _, err := os.Stat(filepath.Join(pdir, "snapshot.json")); err != nil {
		t.Error(err)
	}
}
