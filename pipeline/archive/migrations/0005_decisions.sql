-- What the interlock held back, and what people decided of it: one row for each decision, with what the detector
-- had ordered. id is that of the order.

CREATE TABLE IF NOT EXISTS decisions
(
    log         LowCardinality(String),
    partition   Int32,
    offset      Int64 CODEC(Delta, ZSTD),
    part        UInt32,
    ingested_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD),
    id          String,
    verdict     LowCardinality(String),
    ts          DateTime64(9, 'UTC') CODEC(Delta, ZSTD),
    `by`        String,
    why         String,
    tenant      LowCardinality(String),
    scope       LowCardinality(String),
    subject     String,
    action      LowCardinality(String),
    issued_at   DateTime64(9, 'UTC') CODEC(Delta, ZSTD),
    until       DateTime64(9, 'UTC') CODEC(Delta, ZSTD),
    detector    LowCardinality(String),
    detection   String,
    reason      String,
    revocation  String,
    INDEX by_offset offset TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(ingested_at)
ORDER BY (tenant, scope, subject, ts)
TTL toDateTime(ingested_at) + INTERVAL 730 DAY
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

-- A replay holds the same order back again.
CREATE VIEW IF NOT EXISTS decisions_once AS
SELECT * FROM decisions ORDER BY ingested_at, partition, offset, part LIMIT 1 BY id, verdict;
