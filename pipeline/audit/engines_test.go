package audit_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/mod/sumdb/note"

	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/pipeline/archive"
	"github.com/estop-project/estop/pipeline/audit"
	"github.com/estop-project/estop/pipeline/embedded/clickhouse/chtest"
	"github.com/estop-project/estop/pipeline/rig"
	"github.com/estop-project/estop/pipeline/telemetry"
)

func TestMain(m *testing.M) { rig.Main(m) }

// keep runs the audit role until the test ends, and returns its options and the public key.
func keep(t testing.TB, r *rig.Rig) (audit.WriterOptions, note.Verifier) {
	t.Helper()
	dir := t.TempDir()
	o := audit.WriterOptions{Dir: filepath.Join(dir, "log"), Key: filepath.Join(dir, "audit.key"), MaxLeaves: 500, MaxWait: 200 * time.Millisecond}
	public, err := audit.SaveKey(o.Key, audit.LogRole, "estop.test/log")
	if err != nil {
		t.Fatal(err)
	}
	key, err := audit.ParseVerifier(public)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		done <- audit.Run(t.Context(), audit.Options{WriterOptions: o, Kafka: r.Seeds(), Log: r.Journal.Logger()})
	}()
	t.Cleanup(func() {
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return o, key
}

// calls makes calls of agents that have all that a call can have.
func calls(n, agents int) []*telemetry.Call {
	all := make([]*telemetry.Call, n)
	for i := range all {
		c := rig.Call(fmt.Sprint("c-", i), fmt.Sprint("agent-", i%agents), fmt.Sprint("db/", i%7), time.Now().Add(time.Duration(i)*time.Microsecond))
		c.Context = []telemetry.Pair{{Key: []byte("z"), Value: []byte("1")}, {Key: []byte("a"), Value: []byte("é\"<")}}
		c.Chain = [][]byte{[]byte("root"), c.Agent}
		c.Latency, c.BytesIn = time.Duration(i), int64(i)
		all[i] = c
	}
	return all
}

func scan(t testing.TB, o audit.WriterOptions, key note.Verifier, sources ...audit.Source) (audit.Scanned, []audit.Finding) {
	t.Helper()
	l, err := audit.OpenLog(audit.OpenFiles(o.Dir), key)
	if err != nil {
		t.Fatal(err)
	}
	var found []audit.Finding
	result, err := l.Scan(t.Context(), audit.ScanOptions{Sources: sources, Each: func(f audit.Finding) { found = append(found, f) }})
	if err != nil {
		t.Fatal(err)
	}
	return result, found
}

// TestEveryRowThatIsTamperedWithInClickHouseIsNamed changes, deletes, adds and swaps a
// thousand seeded rows of the real engine.
func TestEveryRowThatIsTamperedWithInClickHouseIsNamed(t *testing.T) {
	chtest.Library(t)
	const n, each = 3000, 100
	r := rig.New(t, rig.Options{ClickHouse: true})
	o, key := keep(t, r)
	archiver := r.Archive()
	r.Send(calls(n, 50)...)
	rig.Await(t, time.Minute, func() error {
		if err := r.Lag(archive.DefaultGroup, pipeline.TopicCalls); err != nil {
			return err
		}
		return r.Lag(audit.Group, pipeline.TopicCalls)
	})
	archiver.Stop()
	opts := r.ClickHouse()
	store, err := clickhouse.Open(&opts)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	source := func() *audit.ClickHouse {
		k, err := audit.OpenKafka(t.Context(), r.Seeds(), archive.DefaultGroup)
		if err != nil {
			t.Fatal(err)
		}
		return audit.NewClickHouse(store, k)
	}
	if result, found := scan(t, o, key, source()); len(found) > 0 || result.Compared["clickhouse"] != n || result.Unproved["clickhouse"] != 0 {
		t.Fatalf("nothing was changed, and the scan finds %v, %+v", found, result)
	}

	type at struct {
		Partition int32
		Offset    int64
	}
	var places []at
	rows, err := store.Query(t.Context(), "SELECT partition, offset FROM calls ORDER BY partition, offset")
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		var p at
		if err := rows.Scan(&p.Partition, &p.Offset); err != nil {
			t.Fatal(err)
		}
		places = append(places, p)
	}
	rows.Close()
	random := rand.New(rand.NewPCG(18, 0))
	random.Shuffle(len(places), func(i, j int) { places[i], places[j] = places[j], places[i] })
	want := map[string]int{}
	take := func(kind audit.Kind, shift int64) string {
		var in []string
		for _, p := range places[:each] {
			in = append(in, fmt.Sprintf("(%d,%d)", p.Partition, p.Offset))
			want[fmt.Sprint(kind, p.Partition, p.Offset+shift)]++
		}
		places = places[each:]
		return "(partition, offset) IN (" + strings.Join(in, ",") + ")"
	}
	sql := func(query string, args ...any) {
		t.Helper()
		if err := store.Exec(t.Context(), query, args...); err != nil {
			t.Fatalf("%.200s: %v", query, err)
		}
	}
	update := func(set string) {
		t.Helper()
		sql("ALTER TABLE calls UPDATE " + set + " WHERE " + take(audit.Altered, 0) + " SETTINGS mutations_sync = 2")
	}
	// Columns that can be changed where they are.
	update("resource = concat(resource, '!'), bytes_out = bytes_out + 1")
	update("outcome = 'denied'")
	update("context = map('a', 'é\"<', 'z', '2')")
	update("chain = ['root']")
	// The others: rows are put in anew, and the old ones deleted.
	replace := func(with, old string) {
		t.Helper()
		where := take(audit.Altered, 0)
		sql("INSERT INTO calls SELECT * REPLACE (" + with + ") FROM calls WHERE " + where + " SETTINGS insert_deduplicate = 0")
		sql("ALTER TABLE calls DELETE WHERE " + where + " AND " + old + " SETTINGS mutations_sync = 2")
	}
	replace("'somebody' AS agent", "agent != 'somebody'")
	replace("ingested_at - toIntervalDay(1) AS ingested_at, '' AS traceparent", "ingested_at > now() - toIntervalHour(12)")
	sql("ALTER TABLE calls DELETE WHERE " + take(audit.Missing, 0) + " SETTINGS mutations_sync = 2")
	sql("INSERT INTO calls SELECT * REPLACE (offset + 1000000 AS offset) FROM (SELECT * FROM calls WHERE " + take(audit.Added, 1_000_000) + ") SETTINGS insert_deduplicate = 0")
	sql("INSERT INTO calls SELECT * FROM calls WHERE " + take(audit.Added, 0) + " SETTINGS insert_deduplicate = 0")
	// Rows that change places with each other.
	var pairs, from, to []string
	for i := 0; len(pairs) < each; i++ {
		for j := i + 1; j < len(places); j++ {
			a, b := places[i], places[j]
			if a.Partition == b.Partition && a.Offset >= 0 && b.Offset >= 0 {
				pairs = append(pairs, fmt.Sprintf("(%d,%d)", a.Partition, a.Offset), fmt.Sprintf("(%d,%d)", b.Partition, b.Offset))
				from = append(from, fmt.Sprint(int64(a.Partition)*1_000_000+a.Offset), fmt.Sprint(int64(b.Partition)*1_000_000+b.Offset))
				to = append(to, fmt.Sprint(b.Offset), fmt.Sprint(a.Offset))
				want[fmt.Sprint(audit.Altered, a.Partition, a.Offset)]++
				want[fmt.Sprint(audit.Altered, b.Partition, b.Offset)]++
				places[i].Offset, places[j].Offset = -1, -1
				break
			}
		}
	}
	sql("ALTER TABLE calls UPDATE offset = transform(partition * 1000000 + offset, [" + strings.Join(from, ",") + "], [" + strings.Join(to, ",") +
		"], offset) WHERE (partition, offset) IN (" + strings.Join(pairs, ",") + ") SETTINGS mutations_sync = 2")

	_, found := scan(t, o, key, source())
	got := map[string]int{}
	for _, f := range found {
		got[fmt.Sprint(f.Kind, f.Place.Partition, f.Place.Offset)]++
	}
	t.Logf("%d rows tampered with, %d findings", len(want), len(found))
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("tampered with (-) and named (+):\n%s", diff)
	}
}

// TestTheRoleKeepsWhatKafkaHas holds the log against Kafka, proves an agent's trail out of
// both sources, and a single call.
func TestTheRoleKeepsWhatKafkaHas(t *testing.T) {
	chtest.Library(t)
	const n, agents = 2000, 10
	r := rig.New(t, rig.Options{ClickHouse: true})
	o, key := keep(t, r)
	r.Archive()
	r.Send(calls(n, agents)...)
	rig.Await(t, time.Minute, func() error {
		if err := r.Lag(archive.DefaultGroup, pipeline.TopicCalls); err != nil {
			return err
		}
		return r.Lag(audit.Group, pipeline.TopicCalls)
	})
	k, err := audit.OpenKafka(t.Context(), r.Seeds(), archive.DefaultGroup)
	if err != nil {
		t.Fatal(err)
	}
	opts := r.ClickHouse()
	store, err := clickhouse.Open(&opts)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	ch := audit.NewClickHouse(store, k)
	if result, found := scan(t, o, key, k); len(found) > 0 || result.Compared["kafka"] != n {
		t.Errorf("%+v, %v", result, found)
	}
	l, err := audit.OpenLog(audit.OpenFiles(o.Dir), key)
	if err != nil {
		t.Fatal(err)
	}
	for _, from := range []audit.Payloads{k, ch} {
		p, err := l.Trails(t.Context(), audit.Request{
			Subject: audit.Subject{Tenant: "t1", Scope: "agent", Name: "agent-3"}, Topics: []string{pipeline.TopicCalls, pipeline.TopicRevocations},
		}, from)
		if err != nil {
			t.Fatal(err)
		}
		v, err := audit.Verify(p.Bundle, audit.VerifyOptions{Log: key})
		if err != nil || v.Shown != n/agents || len(p.Hidden) > 0 {
			t.Errorf("%d shown of %d, %d hidden, %v", v.Shown, n/agents, len(p.Hidden), err)
		}
	}
	at, err := ch.Find(t.Context(), "c-77")
	if err != nil {
		t.Fatal(err)
	}
	p, err := l.One(t.Context(), pipeline.TopicCalls, at, ch)
	if err != nil {
		t.Fatal(err)
	}
	if v, err := audit.Verify(p.Bundle, audit.VerifyOptions{Log: key}); err != nil || v.Shown != 1 {
		t.Errorf("%+v, %v", v, err)
	}
}

// TestAKillOfTheProcessForgetsNoCheckpoint kills a whole node, audit role and all, under load.
func TestAKillOfTheProcessForgetsNoCheckpoint(t *testing.T) {
	t.Setenv("ESTOP_AUDIT_MAXWAIT", "20ms")
	t.Setenv("ESTOP_AUDIT_MAXLEAVES", "20")
	// Without ClickHouse, whose process outlives its parent by a moment.
	up := rig.Up(t, rig.Build(t), "--clickhouse.libchdb", filepath.Join(t.TempDir(), "none"))
	r := up.Rig()
	c := up.Config()
	keys, err := audit.LoadVerifiers(audit.PublicPath(c.AuditKeyPath()))
	if err != nil {
		t.Fatal(err)
	}
	var seen []audit.Checkpoint
	look := func() int64 {
		l, err := audit.OpenLog(audit.OpenFiles(c.AuditDir()), keys[0])
		if os.IsNotExist(err) || err != nil && strings.Contains(err.Error(), "no such file") {
			return 0
		}
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, l.Checkpoint)
		return l.Size
	}
	sent := 0
	for range 3 {
		had := look()
		send := func(n int) {
			for _, call := range calls(n, 5) {
				sent++
				call.ID = []byte(fmt.Sprint("k-", sent))
				r.Produce(rig.Record(call), func(err error) { t.Errorf("a call is lost: %v", err) })
			}
		}
		for range 40 {
			send(25)
			look()
		}
		rig.Await(t, time.Minute, func() error { // it is in the midst of it
			send(5)
			if size := look(); size < had+5 {
				return fmt.Errorf("%d chunks", size)
			}
			return nil
		})
		up.Kill()
		look()
		up.Start()
	}
	r.Flush()
	rig.Await(t, time.Minute, func() error { return r.Lag(audit.Group, pipeline.TopicCalls) })
	l, err := audit.OpenLog(audit.OpenFiles(c.AuditDir()), keys[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range seen {
		if err := l.Extends(s); err != nil {
			t.Fatal(err)
		}
	}
	k, err := audit.OpenKafka(t.Context(), r.Seeds(), archive.DefaultGroup)
	if err != nil {
		t.Fatal(err)
	}
	result, err := l.Scan(t.Context(), audit.ScanOptions{Sources: []audit.Source{k}, Each: func(f audit.Finding) { t.Error(f) }})
	if err != nil || result.Compared["kafka"] < int64(sent) {
		t.Errorf("%d calls, %+v, %v", sent, result, err)
	}
	t.Logf("%d looks at checkpoints, %d chunks, %d leaves", len(seen), result.Chunks, result.Leaves)
}
