package kafka

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// crashImage copies the directory of a running broker at rest: what a kill at this moment leaves, since kfake
// writes before it acknowledges and holds nothing back.
func crashImage(t testing.TB, dir string) string {
	t.Helper()
	image := filepath.Join(t.TempDir(), "image")
	if err := os.CopyFS(image, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return image
}

func manual() kgo.Opt { return kgo.RecordPartitioner(kgo.ManualPartitioner()) }

func appendTo(t testing.TB, path string, data []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		t.Fatal(err)
	}
}

func TestCommitsBehindATornEntrySurviveASecondKill(t *testing.T) {
	dir := t.TempDir()
	b := start(t, Options{Dir: dir})
	createTopic(t, client(t, b), "calls", 1, nil)
	commit(t, client(t, b), "estop-detect", "calls", 0, 1, "first")

	torn := crashImage(t, dir)
	appendTo(t, filepath.Join(torn, "groups.log"), []byte{200, 0, 0, 0, 1, 2, 3, 4, 1, 0, '{', '"'})
	b = start(t, Options{Dir: torn})
	commit(t, client(t, b), "estop-detect", "calls", 0, 2, "second")

	b = start(t, Options{Dir: crashImage(t, torn)})
	offsets, err := kadm.NewClient(client(t, b)).FetchOffsets(within(t, 10*time.Second), "estop-detect")
	if err != nil {
		t.Fatal(err)
	}
	if o, _ := offsets.Lookup("calls", 0); o.At != 2 || o.Metadata != "second" {
		t.Errorf("commit is %d %q, want the second", o.At, o.Metadata)
	}
}

func TestTornBatchIsCutAndTheLogGoesOn(t *testing.T) {
	dir := t.TempDir()
	b := start(t, Options{Dir: dir})
	c := client(t, b, manual())
	createTopic(t, c, "calls", 1, nil)
	produce(t, c, "calls", 0, "a", "b")

	torn := crashImage(t, dir)
	path := filepath.Join(partitionDir(torn, "calls", 0), "0.dat")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	appendTo(t, path, raw[:nextSize(t, raw)-3])
	b = start(t, Options{Dir: torn})
	produce(t, client(t, b, manual()), "calls", 0, "c")
	want := []string{"a", "b", "c"}
	if got := consume(t, b, "calls", 3); !cmp.Equal(got, want) {
		t.Errorf("log is %v, want %v", got, want)
	}
	b = start(t, Options{Dir: crashImage(t, torn)})
	if got := consume(t, b, "calls", 3); !cmp.Equal(got, want) {
		t.Errorf("log after a second kill is %v, want %v", got, want)
	}
}

func nextSize(t testing.TB, raw []byte) int64 {
	t.Helper()
	b, ok := nextBatch(raw)
	if !ok {
		t.Fatal("no batch")
	}
	return b.size
}

// Killed between the batch and its index entry, or within the entry: the record belongs to a transaction that never
// ended, and must not show.
func TestOpenTransactionDoesNotShowWithoutItsIndexEntry(t *testing.T) {
	for _, left := range []int64{0, 7, indexEntrySize} {
		t.Run(fmt.Sprintf("%d bytes of the entry left", left), func(t *testing.T) {
			dir := t.TempDir()
			b := start(t, Options{Dir: dir})
			tx := client(t, b, manual(), kgo.TransactionalID("writer"))
			createTopic(t, tx, "calls", 1, nil)
			inTransaction(t, tx, kgo.TryCommit, "kept")
			if err := tx.BeginTransaction(); err != nil {
				t.Fatal(err)
			}
			produce(t, tx, "calls", 0, "open")

			image := crashImage(t, dir)
			const before = 2 // the committed record and its marker
			if err := os.Truncate(filepath.Join(partitionDir(image, "calls", 0), "0.idx"), before*indexEntrySize+left); err != nil {
				t.Fatal(err)
			}
			b = start(t, Options{Dir: image})
			produce(t, client(t, b, manual()), "calls", 0, "after")
			if got, want := consumeCommitted(t, b, "calls", 2), []string{"kept", "after"}; !cmp.Equal(got, want) {
				t.Errorf("read_committed shows %v, want %v", got, want)
			}
			b = start(t, Options{Dir: crashImage(t, image)})
			if got, want := consumeCommitted(t, b, "calls", 2), []string{"kept", "after"}; !cmp.Equal(got, want) {
				t.Errorf("read_committed shows %v after a second kill, want %v", got, want)
			}
		})
	}
}

func inTransaction(t testing.TB, c *kgo.Client, end kgo.TransactionEndTry, values ...string) {
	t.Helper()
	if err := c.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	produce(t, c, "calls", 0, values...)
	if err := c.EndTransaction(within(t, 10*time.Second), end); err != nil {
		t.Fatal(err)
	}
}

func consumeCommitted(t testing.TB, b *Broker, topic string, n int) []string {
	t.Helper()
	return consumeWith(t, client(t, b, kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted())), n)
}

// rawBatch is a record batch of one record, with a producer's sequence number.
func rawBatch(producer int64, epoch int16, sequence int32, value string) []byte {
	rec := kmsg.NewRecord()
	rec.Value = []byte(value)
	rec.Length = int32(len(rec.AppendTo(nil)) - 1)
	rb := kmsg.NewRecordBatch()
	rb.Magic, rb.NumRecords = 2, 1
	rb.ProducerID, rb.ProducerEpoch, rb.FirstSequence = producer, epoch, sequence
	rb.Records = rec.AppendTo(nil)
	raw := rb.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[8:], uint32(len(raw)-batchPrefix))
	binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], castagnoli))
	return raw
}

func produceRaw(t testing.TB, c *kgo.Client, topic kadm.TopicID, batch []byte) (offset int64, err error) {
	t.Helper()
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, 1000
	rt := kmsg.NewProduceRequestTopic()
	rt.Topic, rt.TopicID = "calls", topic
	rp := kmsg.NewProduceRequestTopicPartition()
	rp.Records = batch
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	resp, err := req.RequestWith(within(t, 10*time.Second), c)
	if err != nil {
		t.Fatal(err)
	}
	p := resp.Topics[0].Partitions[0]
	return p.BaseOffset, kerr.ErrorForCode(p.ErrorCode)
}

func TestRetryOverAKillIsStoredOnce(t *testing.T) {
	dir := t.TempDir()
	b := start(t, Options{Dir: dir})
	c := client(t, b, manual())
	topic := createTopic(t, c, "calls", 1, nil)
	initReq := kmsg.NewPtrInitProducerIDRequest()
	id, err := initReq.RequestWith(within(t, 10*time.Second), c)
	if err != nil {
		t.Fatal(err)
	}
	batch := func(sequence int32) []byte {
		return rawBatch(id.ProducerID, id.ProducerEpoch, sequence, fmt.Sprint(sequence))
	}
	for i := range int32(7) {
		if _, err := produceRaw(t, c, topic, batch(i)); err != nil {
			t.Fatal(err)
		}
	}

	b = start(t, Options{Dir: crashImage(t, dir)})
	c = client(t, b)
	if at, err := produceRaw(t, c, topic, batch(6)); err != nil || at != 6 {
		t.Errorf("retry of the last batch: offset %d, %v; want its first offset 6", at, err)
	}
	if _, err := produceRaw(t, c, topic, batch(9)); err != kerr.OutOfOrderSequenceNumber {
		t.Errorf("a batch that skips two: %v, want %v", err, kerr.OutOfOrderSequenceNumber)
	}
	if at, err := produceRaw(t, c, topic, batch(7)); err != nil || at != 7 {
		t.Errorf("the next batch: offset %d, %v; want 7", at, err)
	}
}

// A clean stop saves the sequences and the end of the log. Found again after a later kill they would be wrong.
func TestStateOfACleanStopIsNotTakenForALaterKill(t *testing.T) {
	dir := t.TempDir()
	b := start(t, Options{Dir: dir})
	c := client(t, b, manual())
	createTopic(t, c, "calls", 1, nil)
	produce(t, c, "calls", 0, "a")
	b.Stop()
	start(t, Options{Dir: dir})
	produce(t, c, "calls", 0, "b", "c") // the same producer goes on, on the same port

	b = start(t, Options{Dir: crashImage(t, dir)})
	if got, want := consume(t, b, "calls", 3), []string{"a", "b", "c"}; !cmp.Equal(got, want) {
		t.Errorf("log is %v, want %v", got, want)
	}
	for _, pattern := range []string{"seq_windows.json", "partitions/*/snapshot.json"} {
		if left, _ := filepath.Glob(filepath.Join(dir, pattern)); len(left) > 0 {
			t.Errorf("%v is still there while the broker runs", left)
		}
	}
}

func TestDeletingEverythingKeepsTheEndOfTheLog(t *testing.T) {
	for name, restart := range map[string]func(*Broker, string) string{
		"stop": func(b *Broker, dir string) string { b.Stop(); return dir },
		"kill": func(_ *Broker, dir string) string { return crashImage(t, dir) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			b := start(t, Options{Dir: dir})
			c := client(t, b, manual())
			createTopic(t, c, "calls", 1, nil)
			produce(t, c, "calls", 0, "a", "b", "c")
			var all kadm.Offsets
			all.AddOffset("calls", 0, -1, -1)
			if _, err := kadm.NewClient(c).DeleteRecords(within(t, 10*time.Second), all); err != nil {
				t.Fatal(err)
			}
			if err := b.applyRetention(t.Context()); err != nil { // checkpoints the start
				t.Fatal(err)
			}
			b = start(t, Options{Dir: restart(b, dir)})
			if info := b.cluster.PartitionInfo("calls", 0); info.HighWatermark != 3 || info.LogStartOffset != 2 {
				t.Errorf("log is %d to %d after restart, want 2 to 3", info.LogStartOffset, info.HighWatermark)
			}
		})
	}
}

// FuzzRecoveredFiles reads damaged files of kfake: no panic, and never more than is there.
func FuzzRecoveredFiles(f *testing.F) {
	one := rawBatch(1, 0, 0, "value")
	f.Add(one)
	f.Add(append(bytes.Clone(one), one[:40]...))
	f.Add([]byte{2, 0, 0, 0, 0, 0, 0, 0, 1, 0})
	f.Fuzz(func(t *testing.T, raw []byte) {
		var size int64
		for _, b := range readBatches(raw) {
			size += b.size
		}
		if size > int64(len(raw)) {
			t.Errorf("batches of %d bytes in %d", size, len(raw))
		}
		if whole := wholeEntries(raw); whole > len(raw) || wholeEntries(raw[:whole]) != whole {
			t.Errorf("%d whole bytes of %d, cut to %d", whole, len(raw), wholeEntries(raw[:whole]))
		}
	})
}
