package archive

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migration is one file of migrations/, NNNN_name.sql.
type migration struct {
	version    uint32
	name       string
	statements []string
}

const createMigrations = `CREATE TABLE IF NOT EXISTS schema_migrations
(version UInt32, name String, applied_at DateTime('UTC') DEFAULT now())
ENGINE = MergeTree ORDER BY version SETTINGS non_replicated_deduplication_window = 100`

// Migrate creates the database that options name, if it is missing, and applies the
// migrations that it lacks, in order. Every statement may run twice, so a migration that was
// cut short runs again as a whole, and two archivers may migrate at the same time.
func Migrate(ctx context.Context, options clickhouse.Options) error {
	if err := createDatabase(ctx, options); err != nil {
		return err
	}
	conn, err := clickhouse.Open(&options)
	if err != nil {
		return fmt.Errorf("cannot open ClickHouse: %w", err)
	}
	defer conn.Close()
	migrations, err := loadMigrations(migrationFiles)
	if err != nil {
		return err
	}
	return apply(ctx, conn, migrations)
}

func createDatabase(ctx context.Context, options clickhouse.Options) error {
	database := options.Auth.Database
	if database == "" || database == "default" {
		return nil
	}
	options.Auth.Database = "default"
	conn, err := clickhouse.Open(&options)
	if err != nil {
		return fmt.Errorf("cannot open ClickHouse: %w", err)
	}
	defer conn.Close()
	if err := conn.Exec(ctx, "CREATE DATABASE IF NOT EXISTS "+quoteName(database)); err != nil {
		return fmt.Errorf("cannot create database %q: %w", database, err)
	}
	return nil
}

func apply(ctx context.Context, conn driver.Conn, migrations []migration) error {
	if err := conn.Exec(ctx, createMigrations); err != nil {
		return fmt.Errorf("cannot create schema_migrations: %w", err)
	}
	applied, err := appliedVersions(ctx, conn)
	if err != nil {
		return err
	}
	for _, m := range migrations {
		if applied[m.version] {
			continue
		}
		for i, statement := range m.statements {
			if err := conn.Exec(ctx, statement); err != nil {
				return fmt.Errorf("cannot apply statement %d of migration %q: %w", i+1, m.name, err)
			}
		}
		once := clickhouse.Context(ctx, clickhouse.WithSettings(insertSettings("migration/"+m.name)))
		if err := conn.Exec(once, "INSERT INTO schema_migrations (version, name) SELECT $1, $2", m.version, m.name); err != nil {
			return fmt.Errorf("cannot record migration %q: %w", m.name, err)
		}
	}
	return nil
}

func appliedVersions(ctx context.Context, conn driver.Conn) (map[uint32]bool, error) {
	rows, err := conn.Query(ctx, "SELECT version FROM schema_migrations")
	if err != nil {
		return nil, fmt.Errorf("cannot read schema_migrations: %w", err)
	}
	defer rows.Close()
	applied := map[uint32]bool{}
	for rows.Next() {
		var v uint32
		if err := rows.Scan(&v); err != nil {
			return nil, fmt.Errorf("cannot read schema_migrations: %w", err)
		}
		applied[v] = true
	}
	return applied, rows.Err()
}

// loadMigrations reads the migrations in the order of their numbers, which is the order of
// their names.
func loadMigrations(files fs.FS) ([]migration, error) {
	names, err := fs.Glob(files, "migrations/*.sql")
	if err != nil {
		return nil, fmt.Errorf("cannot list the migrations: %w", err)
	}
	var all []migration
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, fmt.Errorf("cannot read migration %q: %w", name, err)
		}
		number, _, _ := strings.Cut(path.Base(name), "_")
		version, err := strconv.ParseUint(number, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("cannot tell the number of migration %q: %w", name, err)
		}
		all = append(all, migration{uint32(version), path.Base(name), splitStatements(string(text))})
	}
	return all, nil
}
