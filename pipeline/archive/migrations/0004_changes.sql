-- Who changed which detector. For detections, the step of a graded answer (0: it is not graded) and, as JSON, the
-- signs that a correlation is made of. A view has the columns that its table had when it was made, so it is made again.

CREATE TABLE IF NOT EXISTS changes
(
    log            LowCardinality(String),
    partition      Int32,
    offset         Int64 CODEC(Delta, ZSTD),
    part           UInt32,
    ingested_at    DateTime64(3, 'UTC') CODEC(Delta, ZSTD),
    id             String,
    number         Int64,
    ts             DateTime64(9, 'UTC') CODEC(Delta, ZSTD),
    node           LowCardinality(String),
    detector       LowCardinality(String),
    canary         Bool,
    kind           LowCardinality(String),
    file           LowCardinality(String),
    version_before LowCardinality(String),
    version_now    LowCardinality(String),
    mode_before    LowCardinality(String),
    mode_now       LowCardinality(String),
    `by`           String,
    `from`         LowCardinality(String),
    commit         String,
    keys           String CODEC(ZSTD),
    text           String CODEC(ZSTD),
    lists          String CODEC(ZSTD),
    diff           String CODEC(ZSTD),
    cut            Bool,
    INDEX by_offset offset TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(ingested_at)
ORDER BY (detector, ts, id)
TTL toDateTime(ingested_at) + INTERVAL 3650 DAY
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

-- Processes that see the same change give it the same id.
CREATE VIEW IF NOT EXISTS changes_once AS
SELECT * FROM changes ORDER BY ingested_at, partition, offset, part LIMIT 1 BY id;

ALTER TABLE detections ADD COLUMN IF NOT EXISTS step Int32 DEFAULT 0 AFTER revocation;

ALTER TABLE detections ADD COLUMN IF NOT EXISTS signs String CODEC(ZSTD) AFTER features;

CREATE OR REPLACE VIEW detections_once AS
SELECT * FROM detections ORDER BY ingested_at, partition, offset, part LIMIT 1 BY id;
