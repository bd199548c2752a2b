package deploy_test

import (
	"errors"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"

	chuser "github.com/estop-project/estop/deploy/clickhouse"
	"github.com/estop-project/estop/pipeline/archive"
)

// accessDenied is ClickHouse's code for a missing right.
const accessDenied = 497

func TestClickHouseUsersMayWhatTheyNeedAndNoMore(t *testing.T) {
	dir := t.TempDir()
	server, o := chuser.Start(t, dir, "estop")
	if err := archive.Migrate(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	store, err := clickhouse.Open(&o)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if _, err := archive.NewReader(store).Counts(t.Context()); err != nil {
		t.Error(err)
	}
	for _, statement := range []string{ // the repair of a torn batch
		"CREATE TABLE acks_repair_0_0 AS acks",
		"INSERT INTO acks_repair_0_0 (guard) SELECT 'g'",
		"ALTER TABLE acks ATTACH PARTITION ID '197001' FROM acks_repair_0_0",
		"DROP TABLE IF EXISTS acks_repair_0_0",
	} {
		if err := store.Exec(t.Context(), statement); err != nil {
			t.Errorf("estop: %s: %v", statement, err)
		}
	}
	for _, statement := range []string{
		"CREATE DATABASE other",
		"ALTER TABLE acks UPDATE guard = 'forged' WHERE 1",
		"TRUNCATE TABLE acks",
		"DROP DATABASE estop",
		"INSERT INTO acks (guard) SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')",
		"CREATE USER intruder",
	} {
		wantDenied(t, "estop", statement, store.Exec(t.Context(), statement))
	}

	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	_, o = chuser.Start(t, dir, "grafana")
	reader, err := clickhouse.Open(&o)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if err := reader.Exec(t.Context(), "SELECT count() FROM acks"); err != nil {
		t.Error(err)
	}
	for _, statement := range []string{
		"INSERT INTO acks (guard) SELECT 'forged'", "ALTER TABLE acks DELETE WHERE 1", "DROP TABLE acks", "CREATE TABLE x (a Int8) ENGINE = Memory",
	} {
		wantDenied(t, "grafana", statement, reader.Exec(t.Context(), statement))
	}
}

func wantDenied(t *testing.T, user, statement string, err error) {
	t.Helper()
	if e := new(clickhouse.Exception); !errors.As(err, &e) || e.Code != accessDenied {
		t.Errorf("%s: %s: %v, want code %d", user, statement, err, accessDenied)
	}
}
