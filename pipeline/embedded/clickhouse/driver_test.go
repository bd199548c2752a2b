package clickhouse_test

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"sync"
	"testing"
	"time"

	chgo "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/shopspring/decimal"

	"github.com/estop-project/estop/pipeline/embedded/clickhouse/chtest"
)

// These tests hold the promise that clickhouse-go cannot tell the engine from a server.

func TestEveryCompressionOfTheDriverWorksBothWays(t *testing.T) {
	server := chtest.Start(t)
	for name, method := range map[string]*chgo.Compression{
		"none":    nil,
		"lz4":     {Method: chgo.CompressionLZ4},
		"zstd":    {Method: chgo.CompressionZSTD},
		"gzip":    {Method: chgo.CompressionGZIP, Level: 3},
		"deflate": {Method: chgo.CompressionDeflate, Level: 3},
		"br":      {Method: chgo.CompressionBrotli, Level: 3},
	} {
		t.Run(name, func(t *testing.T) {
			conn := connect(t, server.Addr(), func(o *chgo.Options) { o.Compression = method })
			if err := conn.Ping(deadline(t)); err != nil {
				t.Fatal(err)
			}
			mustExec(t, conn, "CREATE TABLE "+name+" (n UInt64, s String) ENGINE = MergeTree ORDER BY n")
			const rows = 150_000 // several megabytes: the spool moves to disk, the answer is streamed
			batch, err := conn.PrepareBatch(deadline(t), "INSERT INTO "+name)
			if err != nil {
				t.Fatal(err)
			}
			for n := range uint64(rows) {
				if err := batch.Append(n, fmt.Sprintf("line\nbreak %d of the rows", n)); err != nil {
					t.Fatal(err)
				}
			}
			if err := batch.Send(); err != nil {
				t.Fatal(err)
			}
			answer, err := conn.Query(deadline(t), "SELECT n, s FROM "+name+" ORDER BY n")
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Close()
			want := uint64(0)
			for answer.Next() {
				var n uint64
				var s string
				if err := answer.Scan(&n, &s); err != nil {
					t.Fatal(err)
				}
				if n != want || s != fmt.Sprintf("line\nbreak %d of the rows", n) {
					t.Fatalf("row %d reads %d, %q", want, n, s)
				}
				want++
			}
			if err := answer.Err(); err != nil || want != rows {
				t.Fatalf("read %d rows, %v; want %d", want, err, rows)
			}
			if got := queryCount(t, conn, "SELECT count() FROM "+name+" WHERE n > ?", rows); got != 0 {
				t.Errorf("%d rows too many", got)
			}
			wantCode(t, conn.Exec(deadline(t), "SELECT * FROM nowhere"), 60)
			_, err = conn.Query(deadline(t), "SELECT * FROM nowhere")
			wantCode(t, err, 60)
		})
	}
}

func wantCode(t testing.TB, err error, code int32) {
	t.Helper()
	var e *chgo.Exception
	if !errors.As(err, &e) || e.Code != code {
		t.Errorf("error is %v, want an exception with code %d", err, code)
	}
}

func TestABatchOfTwentyColumnTypesReadsBackTheSame(t *testing.T) {
	conn := connect(t, chtest.Start(t).Addr())
	mustExec(t, conn, `CREATE TABLE types (
		u8 UInt8, u16 UInt16, u64 UInt64, i32 Int32, i64 Int64, i128 Int128, f32 Float32, f64 Float64,
		s String, fs FixedString(3), lc LowCardinality(String), nul Nullable(String), id UUID, d Date,
		dt DateTime('UTC'), dt64 DateTime64(9, 'UTC'), e Enum8('ok' = 1, 'denied' = 2), dec Decimal(18, 4), b Bool,
		m Map(String, UInt32), a Array(LowCardinality(String)), nested Array(Array(Nullable(Int16))), tup Tuple(String, UInt8), ip IPv4, ip6 IPv6
	) ENGINE = MergeTree ORDER BY u64`)
	type row struct {
		U8     uint8             `ch:"u8"`
		U16    uint16            `ch:"u16"`
		U64    uint64            `ch:"u64"`
		I32    int32             `ch:"i32"`
		I64    int64             `ch:"i64"`
		I128   big.Int           `ch:"i128"`
		F32    float32           `ch:"f32"`
		F64    float64           `ch:"f64"`
		S      string            `ch:"s"`
		FS     string            `ch:"fs"`
		LC     string            `ch:"lc"`
		Nul    *string           `ch:"nul"`
		ID     uuid.UUID         `ch:"id"`
		D      time.Time         `ch:"d"`
		DT     time.Time         `ch:"dt"`
		DT64   time.Time         `ch:"dt64"`
		E      string            `ch:"e"`
		Dec    decimal.Decimal   `ch:"dec"`
		B      bool              `ch:"b"`
		M      map[string]uint32 `ch:"m"`
		A      []string          `ch:"a"`
		Nested [][]*int16        `ch:"nested"`
		Tup    []any             `ch:"tup"`
		IP     string            `ch:"ip"`
		IP6    string            `ch:"ip6"`
	}
	text, small := "a\x00b\n\r'\\\"", int16(-7)
	moment := time.Date(2026, 2, 3, 4, 5, 6, 123456789, time.UTC)
	want := []row{
		{U8: 255, U16: 65535, U64: 1, I32: -1 << 31, I64: -1 << 63, I128: *big.NewInt(-5), F32: 1.5, F64: -2.25, S: text, FS: "abc", LC: "x",
			Nul: &text, ID: uuid.MustParse("61f0c404-5cb3-11e7-907b-a6006ad3dba0"), D: moment.Truncate(24 * time.Hour), DT: moment.Truncate(time.Second),
			DT64: moment, E: "denied", Dec: decimal.RequireFromString("12345.6789"), B: true, M: map[string]uint32{"a\nb": 1}, A: []string{"p", "", "p"},
			Nested: [][]*int16{{&small, nil}, {}}, Tup: []any{"t", uint8(3)}, IP: "10.0.0.1", IP6: "2001:db8::1"},
		{U64: 2, I128: *big.NewInt(0), FS: "\x00\x00\x00", D: time.Unix(0, 0).UTC(), DT: time.Unix(0, 0).UTC(), DT64: time.Unix(0, 0).UTC(), E: "ok",
			Dec: decimal.RequireFromString("0"), M: map[string]uint32{}, A: []string{}, Nested: [][]*int16{}, Tup: []any{"", uint8(0)}, IP: "0.0.0.0", IP6: "::"},
	}
	batch, err := conn.PrepareBatch(deadline(t), "INSERT INTO types")
	if err != nil {
		t.Fatal(err)
	}
	for i := range want {
		if err := batch.AppendStruct(&want[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := batch.Send(); err != nil {
		t.Fatal(err)
	}
	var got []row
	if err := conn.Select(deadline(t), &got, "SELECT * REPLACE (toString(ip) AS ip, toString(ip6) AS ip6) FROM types ORDER BY u64"); err != nil {
		t.Fatal(err)
	}
	sameInt := cmp.Comparer(func(a, b big.Int) bool { return a.Cmp(&b) == 0 })
	sameTime := cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })
	sameDecimal := cmp.Comparer(func(a, b decimal.Decimal) bool { return a.Equal(b) })
	if diff := cmp.Diff(want, got, sameInt, sameTime, sameDecimal); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestParametersAndSettingsHoldForTheirQueryAlone(t *testing.T) {
	conn := connect(t, chtest.Start(t).Addr())
	var s string
	var n uint64
	if err := conn.QueryRow(deadline(t), "SELECT {s:String}, {n:UInt64}", chgo.Named("s", `it's \ "x"`), chgo.Named("n", 7)).Scan(&s, &n); err != nil {
		t.Fatal(err)
	}
	if s != `it's \ "x"` || n != 7 {
		t.Errorf("named parameters read %q, %d", s, n)
	}
	if err := conn.QueryRow(deadline(t), "SELECT ?, toUInt64(?)", "a'b", 9).Scan(&s, &n); err != nil || s != "a'b" || n != 9 {
		t.Errorf("positional parameters read %q, %d, %v", s, n, err)
	}
	if err := conn.QueryRow(deadline(t), "SELECT @s, toUInt64(@n)", chgo.Named("s", "a\x00b"), chgo.Named("n", 8)).Scan(&s, &n); err != nil || s != "a\x00b" || n != 8 {
		t.Errorf("a NUL in a bound value reads %q, %d, %v", s, n, err)
	}
	err := conn.QueryRow(deadline(t), "SELECT {s:String}").Scan(&s)
	wantCode(t, err, 456) // the parameter of the query before is gone

	ctx := chgo.Context(deadline(t), chgo.WithSettings(chgo.Settings{"max_threads": 3, "async_insert": 1}))
	read := func(ctx context.Context, name string) string {
		t.Helper()
		var v string
		if err := conn.QueryRow(ctx, "SELECT toString(getSetting(?))", name).Scan(&v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	if got := read(ctx, "max_threads"); got != "3" {
		t.Errorf("max_threads is %s, want 3", got)
	}
	if got := read(deadline(t), "max_threads"); got == "3" {
		t.Error("the setting of one query holds for the next")
	}
	if with, without := read(ctx, "async_insert"), read(deadline(t), "async_insert"); with != "true" || without != "false" {
		t.Errorf("async_insert is %s when asked for and %s when not", with, without)
	}
}

func TestExceptionsKeepTheirCodesBeforeAndInTheMidstOfAnAnswer(t *testing.T) {
	server := chtest.Start(t)
	for _, compression := range []*chgo.Compression{nil, {Method: chgo.CompressionLZ4}} {
		conn := connect(t, server.Addr(), func(o *chgo.Options) { o.Compression = compression })
		f := func(code int32, query string, settings ...chgo.Settings) {
			t.Helper()
			ctx := deadline(t)
			for _, s := range settings {
				ctx = chgo.Context(ctx, chgo.WithSettings(s))
			}
			answer, err := conn.Query(ctx, query)
			for err == nil && answer.Next() {
			}
			if err == nil {
				err = answer.Err()
				answer.Close()
			}
			wantCode(t, err, code)
		}
		f(62, "SELEC 1")
		f(46, "SELECT no_such_function(1)")
		f(81, "SELECT * FROM nowhere.t")
		f(62, "SELECT 1; SELECT 2")
		f(115, "SELECT 1", chgo.Settings{"no_such_setting": 1})
		f(358, "SELECT 1 INTO OUTFILE '/tmp/estop-must-not-exist'")
		// In the text, as the driver sets this one by the context's deadline.
		f(159, "SELECT count() FROM numbers(1e18) WHERE sipHash64(number) = 1 SETTINGS max_execution_time = 1")
		f(241, "SELECT number FROM numbers(1e8) ORDER BY rand()", chgo.Settings{"max_memory_usage": 10_000_000})
		// A megabyte went out before this one is thrown.
		f(395, "SELECT throwIf(number = 2000000, 'late'), toString(number) FROM numbers(3000000)", chgo.Settings{"max_block_size": 1000})
	}
}

func TestTheSchemaOfAnArchiveWorks(t *testing.T) {
	server := chtest.Start(t)
	conn := connect(t, server.Addr())
	mustExec(t, conn, "CREATE DATABASE estop")
	mustExec(t, conn, `CREATE TABLE estop.calls (ts DateTime, agent String, n UInt32) ENGINE = MergeTree
		PARTITION BY toYYYYMMDD(ts) ORDER BY (agent, ts) TTL ts + INTERVAL 1 YEAR`)
	mustExec(t, conn, `CREATE TABLE estop.hourly (hour DateTime, agent String, calls AggregateFunction(sum, UInt32), agents AggregateFunction(uniq, String))
		ENGINE = AggregatingMergeTree ORDER BY (agent, hour)`)
	mustExec(t, conn, `CREATE MATERIALIZED VIEW estop.to_hourly TO estop.hourly AS
		SELECT toStartOfHour(ts) AS hour, agent, sumState(n) AS calls, uniqState(agent) AS agents FROM estop.calls GROUP BY hour, agent`)
	mustExec(t, conn, "CREATE TABLE estop.latest (id String, version UInt64, v String) ENGINE = ReplacingMergeTree(version) ORDER BY id")

	in := connect(t, server.Addr(), func(o *chgo.Options) { o.Auth.Database = "estop" })
	batch, err := in.PrepareBatch(deadline(t), "INSERT INTO calls (ts, agent, n)")
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now().UTC().Truncate(24 * time.Hour)
	for i := range 100 {
		if err := batch.Append(start.Add(time.Duration(i)*time.Minute), fmt.Sprintf("agent-%d", i%4), uint32(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := batch.Send(); err != nil {
		t.Fatal(err)
	}
	if got := queryCount(t, in, "SELECT sumMerge(calls) FROM hourly"); got != 4950 {
		t.Errorf("the materialised view sums %d, want 4950", got)
	}
	for version := range uint64(3) {
		mustExec(t, in, "INSERT INTO latest VALUES (?, ?, ?)", "a", version, fmt.Sprint("v", version))
	}
	var v string
	if err := in.QueryRow(deadline(t), "SELECT v FROM latest FINAL WHERE id = 'a'").Scan(&v); err != nil || v != "v2" {
		t.Errorf("FINAL reads %q, %v; want v2", v, err)
	}
	mustExec(t, in, "ALTER TABLE calls ADD COLUMN note String DEFAULT 'none'")
	mustExec(t, in, "ALTER TABLE calls UPDATE n = n + 1 WHERE agent = 'agent-0' SETTINGS mutations_sync = 1")
	mustExec(t, in, "DELETE FROM calls WHERE agent = 'agent-1'")
	mustExec(t, in, "OPTIMIZE TABLE calls FINAL")
	if got := queryCount(t, in, "SELECT sum(n) FROM calls WHERE note = 'none'"); got != 4950+25-25*49 {
		t.Errorf("after mutations the sum is %d, want %d", got, 4950+25-25*49)
	}
	mustExec(t, in, "ALTER TABLE calls DROP PARTITION ?", start.Format("20060102"))
	if got := queryCount(t, in, "SELECT count() FROM calls"); got != 0 {
		t.Errorf("%d rows are in a dropped partition", got)
	}
}

func TestADeduplicationTokenCountsOnceInTableAndView(t *testing.T) {
	conn := connect(t, chtest.Start(t).Addr())
	mustExec(t, conn, "CREATE TABLE t (n UInt64) ENGINE = MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 1000")
	mustExec(t, conn, "CREATE TABLE s (k UInt8, total UInt64) ENGINE = SummingMergeTree ORDER BY k SETTINGS non_replicated_deduplication_window = 1000")
	mustExec(t, conn, "CREATE MATERIALIZED VIEW v TO s AS SELECT 1 AS k, sum(n) AS total FROM t GROUP BY k")
	send := func(token string, n uint64) {
		t.Helper()
		ctx := chgo.Context(deadline(t), chgo.WithSettings(chgo.Settings{
			"insert_deduplication_token": token, "deduplicate_blocks_in_dependent_materialized_views": 1,
		}))
		batch, err := conn.PrepareBatch(ctx, "INSERT INTO t")
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			if err := batch.Append(n); err != nil {
				t.Fatal(err)
			}
		}
		if err := batch.Send(); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		send("calls/0/1000-1009", 5)
	}
	send("calls/0/1010-1019", 5) // the same rows under another token are other rows
	if got := queryCount(t, conn, "SELECT count() FROM t"); got != 20 {
		t.Errorf("the table has %d rows, want 20", got)
	}
	if got := queryCount(t, conn, "SELECT sum(total) FROM s"); got != 100 {
		t.Errorf("the view sums %d, want 100", got)
	}
}

func TestQueriesRunAtTheSameTime(t *testing.T) {
	conn := connect(t, chtest.Start(t).Addr(), func(o *chgo.Options) { o.MaxOpenConns = 16 })
	mustExec(t, conn, "CREATE TABLE t (worker UInt8, n UInt64) ENGINE = MergeTree ORDER BY n")
	const workers, batches, rows = 8, 10, 500
	var wait sync.WaitGroup
	for worker := range uint8(workers) {
		wait.Go(func() {
			for range batches {
				batch, err := conn.PrepareBatch(deadline(t), "INSERT INTO t")
				if err != nil {
					t.Error(err)
					return
				}
				for n := range uint64(rows) {
					batch.Append(worker, n)
				}
				if err := batch.Send(); err != nil {
					t.Error(err)
					return
				}
				queryCount(t, conn, "SELECT count() FROM t WHERE worker = ?", worker)
			}
		})
	}
	wait.Wait()
	if got := queryCount(t, conn, "SELECT count() FROM t"); got != workers*batches*rows {
		t.Errorf("%d rows, want %d", got, workers*batches*rows)
	}
}

func TestTheDriverAuthenticates(t *testing.T) {
	server := chtest.StartWith(t, passwordOptions)
	login := func(user, password string) error {
		options := &chgo.Options{Protocol: chgo.HTTP, Addr: []string{server.Addr()}, Auth: chgo.Auth{Username: user, Password: password}}
		conn, err := chgo.Open(options)
		if err != nil {
			return err
		}
		defer conn.Close()
		return conn.Ping(deadline(t))
	}
	if err := login("estop", "right"); err != nil {
		t.Errorf("the right password is refused: %v", err)
	}
	for _, wrong := range [][2]string{{"estop", "wrong"}, {"estop", ""}, {"other", "right"}, {"", ""}} {
		wantCode(t, login(wrong[0], wrong[1]), 516)
	}
}
