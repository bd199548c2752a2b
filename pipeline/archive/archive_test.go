package archive

import (
	"encoding/json"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/embedded/clickhouse"
	"github.com/estop-project/estop/pipeline/embedded/clickhouse/chtest"
	"github.com/estop-project/estop/revoke"
)

func TestEveryCallIsArchivedOnce(t *testing.T) {
	r := newRig(t)
	r.produce(1000, nil)
	a := r.start(nil, hooks{})
	r.check()
	r.produce(500, nil)
	r.check()
	a.stop()
}

// The insert succeeded and its commit did not: the successor repeats the batch.
func TestCrashBetweenInsertAndCommitDoublesNothing(t *testing.T) {
	r := newRig(t)
	r.produce(1000, nil)
	small := func(o *Options) { o.MaxRows = 70 }
	for _, n := range []int32{1, 3} {
		if err := r.start(small, hooks{afterInsert: crashOnce(n)}).ended(); !errors.Is(err, errCrash) {
			t.Fatalf("Run ended with %v, want the crash", err)
		}
	}
	stored := r.number("SELECT count() FROM calls")
	a := r.start(func(o *Options) { o.MaxRows = 400 }, hooks{}) // other bounds must not change the batch in doubt
	r.check()
	a.stop()
	if stored == 0 || stored >= 1000 {
		t.Errorf("%d rows were there at the crash: it tested nothing", stored)
	}
	if n := value(a.metrics.redone); n == 0 {
		t.Error("no batch was repeated")
	}
}

func TestCrashBetweenIntentAndInsertLosesNothing(t *testing.T) {
	r := newRig(t)
	r.produce(1000, nil)
	for range 3 {
		crash := hooks{beforeInsert: crashOnce(2)}
		if err := r.start(func(o *Options) { o.MaxRows = 70 }, crash).ended(); !errors.Is(err, errCrash) {
			t.Fatalf("Run ended with %v, want the crash", err)
		}
	}
	r.start(nil, hooks{})
	r.check()
}

// Of a batch that spans two months only one month's block was written.
func TestHalfWrittenBatchIsCompleted(t *testing.T) {
	r := newRig(t)
	month := time.Now().UTC().AddDate(0, 0, 1-time.Now().UTC().Day()).Truncate(24 * time.Hour)
	before, after := month.Add(-time.Hour), month.Add(time.Second)
	onlyFirst := func(i int, k *kgo.Record) {
		k.Partition, k.Timestamp = 0, before
		if i >= 50 {
			k.Timestamp = after
		}
	}
	r.produce(100, onlyFirst)
	a := r.start(nil, hooks{beforeInsert: crashOnce(1)})
	if err := a.ended(); !errors.Is(err, errCrash) {
		t.Fatalf("Run ended with %v, want the crash", err)
	}
	at := place{TopicCalls, 0}
	next, in := r.intentOf(at)
	if next != 0 || in.end != 99 {
		t.Fatalf("the intent is %d to %d, want 0 to 99", next, in.end)
	}

	// The view is taken away while only one month is written: the crash came before it was told.
	if err := r.store.Exec(t.Context(), "DETACH TABLE access_edges_from_calls"); err != nil {
		t.Fatal(err)
	}
	calls := newCalls(in.log, newMetrics(nil).skipped)
	for i := range 50 {
		k := &kgo.Record{Partition: 0, Offset: int64(i), Value: call(i), Timestamp: before}
		if err := calls.add(k); err != nil {
			t.Fatal(err)
		}
	}
	a.store = r.store
	half := insertion{worker: &worker{archiver: a.Archiver}, batch: calls.batch}
	if err := half.send(t.Context(), "calls", insertSettings(token(in.log, 0, 0, 99)), 0, 50); err != nil {
		t.Fatal(err)
	}
	if err := r.store.Exec(t.Context(), "ATTACH TABLE access_edges_from_calls"); err != nil {
		t.Fatal(err)
	}
	if n := r.number("SELECT count() FROM calls"); n != 50 {
		t.Fatalf("%d rows before, want 50", n)
	}

	a = r.start(nil, hooks{})
	r.check()
	if n := value(a.metrics.repaired); n != 0 {
		t.Errorf("%v rows repaired: the repetition should have done", n)
	}
	if n := r.number("SELECT uniqExact(_partition_id) FROM calls"); n != 2 {
		t.Errorf("the batch spans %d partitions of the table, want 2", n)
	}
}

// A server killed between its deduplication log and the part has the token and not the rows.
func TestRowsThatClickHouseOnlyClaimsToHaveArePutBack(t *testing.T) {
	r := newRig(t)
	r.produce(100, func(i int, k *kgo.Record) {
		k.Partition, k.Timestamp = 0, time.Now().AddDate(0, 0, -40*(i%2))
	})
	if err := r.start(nil, hooks{afterInsert: crashOnce(1)}).ended(); !errors.Is(err, errCrash) {
		t.Fatalf("Run ended with %v, want the crash", err)
	}
	if err := r.store.Exec(t.Context(), "ALTER TABLE calls DELETE WHERE offset % 7 = 3 OR offset >= 90 SETTINGS mutations_sync = 2"); err != nil {
		t.Fatal(err)
	}
	if n := r.number("SELECT count() FROM calls"); n != 77 {
		t.Fatalf("%d rows before, want 77", n)
	}
	a := r.start(nil, hooks{})
	r.check()
	a.stop()
	if n := value(a.metrics.repaired); n != 23 {
		t.Errorf("%v rows repaired, want 23", n)
	}
	if n := r.number("SELECT count() FROM system.tables WHERE database = currentDatabase() AND name LIKE '%repair%'"); n != 0 {
		t.Errorf("%d tables of the repair are left", n)
	}
}

// An archiver falls asleep between intent and insert, and wakes up when a successor has
// repeated its batch and gone on. What it then inserts and commits must change nothing.
func TestArchiverThatSleptThroughARebalanceDoublesNothing(t *testing.T) {
	r := newRig(t)
	one := func(_ int, k *kgo.Record) { k.Partition = 0 }
	r.produce(400, one)
	asleep, awake := make(chan struct{}), make(chan struct{})
	var first sync.Once
	var net gate
	zombie := r.start(func(o *Options) {
		o.MaxRows = 100
		o.Kafka = append(o.Kafka, kgo.Dialer(net.dial), kgo.SessionTimeout(time.Second))
	}, hooks{beforeInsert: func(place, int64) error {
		first.Do(func() {
			net.Lock()
			close(asleep)
			<-awake
		})
		return nil
	}})
	<-asleep
	successor := r.start(func(o *Options) { o.MaxRows = 150 }, hooks{})
	r.check()
	close(awake)
	waitFor(t, "the insert of the archiver that slept", func() bool {
		return value(zombie.metrics.rows.WithLabelValues("calls")) == 100
	})
	net.Unlock()
	r.produce(400, one)
	r.check()
	successor.stop()
	if n := value(successor.metrics.redone); n != 1 {
		t.Errorf("the successor repeated %v batches, want 1", n)
	}
}

func TestRebalancesUnderLoadDoubleNothing(t *testing.T) {
	r := newRig(t)
	small := func(o *Options) { o.MaxRows = 50 }
	first := r.start(small, hooks{})
	r.produce(500, nil)
	second := r.start(small, hooks{})
	r.produce(500, nil)
	waitFor(t, "both to have partitions", func() bool { return first.count.Load() > 0 && second.count.Load() > 0 })
	r.produce(500, nil)
	first.stop()
	r.produce(500, nil)
	third := r.start(small, hooks{})
	r.produce(500, nil)
	second.stop()
	r.produce(500, nil)
	r.check()
	third.stop()
	if first, third := value(first.metrics.rows.WithLabelValues("calls")), value(third.metrics.rows.WithLabelValues("calls")); first == 0 || third == 0 {
		t.Errorf("first stored %v rows and third %v: it tested nothing", first, third)
	}
}

func TestOutageOfClickHouseLosesNothing(t *testing.T) {
	dir := t.TempDir()
	server := chtest.StartWith(t, clickhouse.Options{Dir: dir})
	r := newKafka(t)
	r.use(server.Addr())
	a := r.start(func(o *Options) {
		o.MaxRows, o.MaxBuffered, o.InsertTimeout = 200, 1<<18, 2*time.Second
	}, hooks{})
	r.produce(1000, nil)
	waitFor(t, "the first rows", func() bool { return value(a.metrics.rows.WithLabelValues("calls")) > 0 })
	server.Stop()
	down := time.Now()
	for time.Since(down) < 5*time.Second {
		r.produce(200, nil)
		time.Sleep(50 * time.Millisecond)
	}
	if n := a.buffered(); n > 3<<20 {
		t.Errorf("%d bytes wait in the archiver, bound is 256 KiB and a fetch", n)
	}
	chtest.StartWith(t, clickhouse.Options{Dir: dir, Addr: server.Addr()})
	r.check()
	a.stop()
	if n := value(a.metrics.retries); n == 0 {
		t.Error("no insert was tried again: the outage tested nothing")
	}
}

func TestKilledClickHouseDoublesNothing(t *testing.T) {
	server := chtest.Start(t)
	r := newKafka(t)
	r.use(server.Addr())
	kills := make(chan struct{}, 1)
	var inserts atomic.Int32
	a := r.start(func(o *Options) { o.MaxRows, o.InsertTimeout = 2000, 5*time.Second }, hooks{beforeInsert: func(place, int64) error {
		if inserts.Add(1)%4 == 2 {
			select {
			case kills <- struct{}{}:
			default:
			}
		}
		return nil
	}})
	for round := range 3 {
		r.produce(12_000, nil)
		<-kills
		time.Sleep(time.Duration(round) * 7 * time.Millisecond) // at another moment of the insert each time
		if err := syscall.Kill(server.Pid(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		starts := server.Starts()
		waitFor(t, "the next engine", func() bool { return server.Starts() > starts })
	}
	r.check()
	t.Logf("%v inserts repeated, %v rows repaired", value(a.metrics.retries), value(a.metrics.repaired))
}

func TestClickHouseMayComeLater(t *testing.T) {
	dir := t.TempDir()
	server := chtest.StartWith(t, clickhouse.Options{Dir: dir})
	server.Stop()
	r := newKafka(t)
	r.ch = ch.Options{Addr: []string{server.Addr()}, Protocol: ch.HTTP, Auth: ch.Auth{Database: "archive"}}
	r.produce(100, nil)
	a := r.start(nil, hooks{})
	waitFor(t, "a failed attempt", func() bool { return value(a.metrics.retries) > 0 })
	chtest.StartWith(t, clickhouse.Options{Dir: dir, Addr: server.Addr()})
	r.use(server.Addr())
	r.check()
}

func TestArchiverEndsWhileClickHouseIsAway(t *testing.T) {
	r := newKafka(t)
	r.ch = ch.Options{Addr: []string{"127.0.0.1:1"}, Protocol: ch.HTTP}
	a := r.start(nil, hooks{})
	waitFor(t, "a failed attempt", func() bool { return value(a.metrics.retries) > 0 })
	a.stop()
}

func TestBadRecordsHoldUpNothing(t *testing.T) {
	r := newRig(t)
	r.send(
		&kgo.Record{Topic: TopicDetections, Value: []byte(`{"id":"d1","ts":"2026-03-01T00:00:00Z","tenant":"t"}`)},
		&kgo.Record{Topic: TopicDetections, Value: []byte(`{"id":`)},
		&kgo.Record{Topic: TopicDetections, Value: []byte(`{"id":"d2","ts":"2026-03-01T00:00:00Z","tenant":"t"}`)},
		&kgo.Record{Topic: TopicDetections, Value: []byte(`{"id":"d2","ts":"2026-03-01T00:00:00Z","tenant":"t"}`)},
		&kgo.Record{Topic: TopicFeatures, Value: []byte(`[{"tenant":"t"},{"observed":"x"}]`)},
		&kgo.Record{Topic: TopicAcks, Value: nil},
	)
	r.produce(10, func(i int, k *kgo.Record) {
		if i == 5 {
			k.Value = []byte("no call")
		}
	})
	a := r.start(nil, hooks{})
	for _, topic := range []string{TopicDetections, TopicFeatures, TopicAcks, TopicCalls} {
		r.caughtUp(topic)
	}
	r.caughtUp(TopicDLQ)
	if n := r.number("SELECT count() FROM detections"); n != 3 {
		t.Errorf("%d detections, want 3", n)
	}
	if n := r.number("SELECT count() FROM detections_once"); n != 2 {
		t.Errorf("%d detections once, want 2", n)
	}
	if n := r.number("SELECT count() FROM calls"); n != 9 {
		t.Errorf("%d calls, want 9", n)
	}
	if n := value(a.metrics.skipped.WithLabelValues("unknown_format")); n != 1 {
		t.Errorf("%v calls skipped, want 1", n)
	}
	waitFor(t, "the dead letters", func() bool {
		return r.number("SELECT count() FROM dlq_once WHERE reason = 'unreadable_record'") == 3
	})
	if n := r.number("SELECT count() FROM dlq WHERE source_topic = $1 AND source_offset = 1 AND bytes = $2", TopicDetections, `{"id":`); n != 1 {
		t.Errorf("%d dead letters with the broken detection's bytes, want 1", n)
	}
}

// Someone adds a constraint that few rows break: those become dead letters, each once.
func TestRowsThatClickHouseRefusesBecomeDeadLetters(t *testing.T) {
	r := newRig(t)
	if err := r.store.Exec(t.Context(), "ALTER TABLE calls ADD CONSTRAINT not_these CHECK id NOT IN ('call-3', 'call-44', 'call-45')"); err != nil {
		t.Fatal(err)
	}
	one := func(_ int, k *kgo.Record) { k.Partition = 0 }
	r.produce(100, one)
	if err := r.start(nil, hooks{afterInsert: crashOnce(1)}).ended(); !errors.Is(err, errCrash) {
		t.Fatalf("Run ended with %v, want the crash", err)
	}
	r.start(nil, hooks{})
	r.caughtUp(TopicCalls)
	waitFor(t, "the dead letters", func() bool {
		return r.number("SELECT count() FROM dlq_once WHERE reason = 'refused_by_store'") == 3
	})
	if n := r.number("SELECT count() FROM calls"); n != 97 {
		t.Errorf("%d calls, want 97", n)
	}
	if n := r.number("SELECT sum(calls) FROM access_edges WHERE kind = 'action'"); n != 97 {
		t.Errorf("edges count %d calls, want 97", n)
	}
}

func TestTopicThatWasMadeAgainIsArchivedFromItsStart(t *testing.T) {
	r := newRig(t)
	a := r.start(nil, hooks{})
	r.produce(100, nil)
	r.check()
	a.stop()
	r.recreate(TopicCalls)
	r.produce(60, nil)
	r.start(nil, hooks{})
	r.caughtUp(TopicCalls)
	if n := r.number("SELECT count() FROM calls"); n != 160 {
		t.Errorf("%d rows, want 160", n)
	}
	if n := r.number("SELECT uniqExact(log) FROM calls"); n != 2 {
		t.Errorf("%d logs, want 2", n)
	}
}

func TestEveryFieldArrives(t *testing.T) {
	r := newRig(t)
	at := time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)
	received := time.Now().Truncate(time.Millisecond) // not at: what was received so long ago has expired
	far := time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	sample := detector.Sample{Time: at, Tenant: "t", EntityBy: "agent", Entity: "a", Detector: "d", Feature: "count(calls, 10s)", Observed: 9, Known: true, Expected: 2, Low: 0, High: 5, LogP: -7, LogEvidence: 3}
	record := func(topic string, v any) *kgo.Record {
		value, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return &kgo.Record{Topic: topic, Value: value}
	}
	r.send(
		record(TopicFeatures, []detector.Sample{sample, sample}),
		record(TopicFeatures, sample),
		record(TopicDetections, detector.Detection{ID: "x", Time: at, Detector: "d", Canary: true, Tags: []string{"a", "b"}, Tenant: "t", Chain: []string{"r", "a"}, Topic: TopicCalls, Partition: 3, Offset: 77, Features: []detector.Sample{sample}, Signs: []detector.Sign{{ID: "y", Detector: "e", Time: at}}, Graph: &detector.Graph{Depth: 2, Reach: &detector.Reach{Resources: 6}}, Step: 2, Late: time.Minute, LogEvidence: 5, LogLevel: 4}),
		record(TopicRevocations, revoke.Record{Revocation: revoke.Revocation{ID: "r", Tenant: "t", Scope: revoke.Agent, Subject: "a", Action: revoke.Revoke, IssuedAt: at, Until: far}, SET: "jws"}),
		record(TopicRevocations, revoke.Record{Revocation: revoke.Revocation{ID: "r2", Tenant: "t", Scope: revoke.Agent, Subject: "a", Action: revoke.Release, IssuedAt: at, ValidAfter: at, Until: at, Releases: "r"}, SET: "jws"}),
		record(TopicAcks, revoke.Ack{Revocation: "r", Guard: "g", Tenant: "t", AppliedAt: at, Cancelled: 2, Latency: time.Millisecond}),
		record(TopicChanges, detector.ChangeRecord{ID: "c", Number: 3, Time: at, Detector: "d", Author: detector.Author{By: "Ada"}, Keys: []detector.KeyChange{{Key: "mode"}}}),
		&kgo.Record{Topic: TopicCalls, Value: call(4), Timestamp: received},
	)
	r.start(nil, hooks{})
	for _, topic := range Topics()[:6] {
		r.caughtUp(topic)
	}
	f := func(query, want string) {
		t.Helper()
		var got string
		if err := r.store.QueryRow(t.Context(), query).Scan(&got); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: -want +got\n%s", query, diff)
		}
	}
	f("SELECT toString((id, ts, tenant, agent, identity, session, chain, action, resource, outcome, latency_ns, bytes_in, bytes_out, mapSort(context), offset, part)) FROM calls",
		"('call-4','2026-03-05 10:00:00.000000004','t1','agent-4','role-4','s4',['root','agent-4'],'read','db/4','denied',1500,10,20,{'n':'4','region':'eu'},0,0)")
	f("SELECT toString(toUnixTimestamp64Milli(ingested_at)) FROM calls", strconv.FormatInt(received.UnixMilli(), 10))
	f("SELECT toString(groupArray((offset, part, ts, tenant, entity_by, entity, detector, feature, observed, known, expected, high, log_p, log_evidence))) FROM (SELECT * FROM features ORDER BY offset, part)",
		"[(0,0,'2026-03-01 12:00:00.123456789','t','agent','a','d','count(calls, 10s)',9,true,2,5,-7,3),(0,1,'2026-03-01 12:00:00.123456789','t','agent','a','d','count(calls, 10s)',9,true,2,5,-7,3),(1,0,'2026-03-01 12:00:00.123456789','t','agent','a','d','count(calls, 10s)',9,true,2,5,-7,3)]")
	f("SELECT toString((id, ts, detector, canary, tags, tenant, chain, source_topic, source_partition, source_offset, JSONExtractFloat(features, 1, 'observed'), JSONExtractString(signs, 1, 'id'), JSONExtractInt(graph, 'reach', 'resources'), step, late_ns, log_evidence, log_level)) FROM detections",
		"('x','2026-03-01 12:00:00.123456789','d',true,['a','b'],'t',['r','a'],'estop.calls',3,77,9,'y',6,2,60000000000,5,4)")
	f("SELECT toString(groupArray((id, scope, subject, action, issued_at, valid_after, until, releases, token))) FROM (SELECT * FROM revocations ORDER BY offset)",
		"[('r','agent','a','revoke','2026-03-01 12:00:00.123456789',NULL,'2262-04-11 23:47:16.854775807','','jws'),('r2','agent','a','release','2026-03-01 12:00:00.123456789','2026-03-01 12:00:00.123456789','2026-03-01 12:00:00.123456789','r','jws')]")
	f("SELECT toString((revocation, guard, tenant, applied_at, cancelled, latency_ns)) FROM acks",
		"('r','g','t','2026-03-01 12:00:00.123456789',2,1000000)")
	f("SELECT toString((id, number, ts, detector, `by`, JSONExtractString(keys, 1, 'key'))) FROM changes",
		"('c',3,'2026-03-01 12:00:00.123456789','d','Ada','mode')")
}

func TestReaderTellsHowFarTheProjectionIs(t *testing.T) {
	r := newRig(t)
	r.produce(40, nil)
	r.start(nil, hooks{})
	r.check()
	reader := NewReader(r.store)
	counts, err := reader.Counts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]uint64{"calls": 40, "features": 0, "detections": 0, "revocations": 0, "decisions": 0, "acks": 0, "guards": 0, "changes": 0, "dlq": 0}
	if diff := cmp.Diff(want, counts); diff != "" {
		t.Errorf("Counts: -want +got\n%s", diff)
	}
	last, err := reader.LastOffsets(t.Context(), "calls")
	if err != nil {
		t.Fatal(err)
	}
	_, in := r.intentOf(place{TopicCalls, 0})
	wantLast := map[LogPartition]int64{}
	for p := range int32(partitions) {
		wantLast[LogPartition{in.log, p}] = 9
	}
	if diff := cmp.Diff(wantLast, last); diff != "" {
		t.Errorf("LastOffsets: -want +got\n%s", diff)
	}
}

func TestMigrationsMayRunTwiceAndTogether(t *testing.T) {
	r := newRig(t)
	errs := make(chan error)
	for range 3 {
		go func() { errs <- Migrate(t.Context(), r.ch) }()
	}
	for range 3 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	all, err := loadMigrations(migrationFiles)
	if err != nil {
		t.Fatal(err)
	}
	if n := r.number("SELECT count() FROM schema_migrations"); n != uint64(len(all)) {
		t.Errorf("%d rows in schema_migrations, want %d", n, len(all))
	}
}

// A database of before has detections without a graph, canaries, steps, signs and lateness, a view without the columns, and
// no changes of detectors.
func TestADatabaseOfBeforeGetsTheColumnsThatCameLater(t *testing.T) {
	r := newRig(t)
	for _, statement := range []string{
		"DROP VIEW detections_once", "ALTER TABLE detections DROP COLUMN graph, DROP COLUMN canary, DROP COLUMN step, DROP COLUMN signs, DROP COLUMN late_ns",
		"DROP VIEW changes_once", "DROP TABLE changes", "DROP VIEW decisions_once", "DROP TABLE decisions",
		"CREATE VIEW detections_once AS SELECT * FROM detections ORDER BY ingested_at, partition, offset, part LIMIT 1 BY id",
		"INSERT INTO detections (id, ingested_at) VALUES ('old', now())",
		"TRUNCATE TABLE schema_migrations", "INSERT INTO schema_migrations (version, name) VALUES (1, '0001_init.sql')",
	} {
		if err := r.store.Exec(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	errs := make(chan error)
	for range 3 {
		go func() { errs <- Migrate(t.Context(), r.ch) }()
	}
	for range 3 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if n := r.number("SELECT count() FROM detections_once WHERE id = 'old' AND graph = '' AND NOT canary AND step = 0 AND late_ns = 0 AND signs = ''"); n != 1 {
		t.Errorf("%d old detections are shown, want 1", n)
	}
	if n := r.number("SELECT count() FROM changes_once"); n != 0 {
		t.Errorf("%d changes, want none", n)
	}
}

// value returns the value of a counter or gauge.
func value(m prometheus.Metric) float64 {
	var out dto.Metric
	if err := m.Write(&out); err != nil {
		panic(err)
	}
	return out.GetCounter().GetValue() + out.GetGauge().GetValue()
}
