-- The projection of Kafka in ClickHouse. docs/archive.md tells what each table holds.
--
-- Every table has the same first columns, the place in Kafka that a row came from: the
-- topic's id (log), partition, offset, and the row's place in its record (part).
-- ingested_at is the record's own Kafka timestamp. Tables are partitioned by it and not by
-- the call's time, because callers choose ts: old or invented times would touch hundreds of
-- partitions in one insert. It is the same at every replay, and a batch of consecutive
-- offsets spans one or two months.
--
-- non_replicated_deduplication_window: how many blocks a table remembers by their token.
-- A batch is in doubt from its insert until a successor has repeated it: at worst session
-- timeout + rebalance timeout, 105 s as shipped. Meanwhile the others insert at most
-- one batch a second for each Kafka partition, one or two blocks each. 10000 blocks cover
-- 64 partitions for 156 s; the log costs about 100 bytes a block. Replicated tables have
-- replicated_deduplication_window, 10000 blocks by default.

CREATE TABLE IF NOT EXISTS calls
(
    log         LowCardinality(String),
    partition   Int32,
    offset      Int64 CODEC(Delta, ZSTD),
    part        UInt32,
    ingested_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD),
    id          String CODEC(ZSTD),
    ts          DateTime64(9, 'UTC') CODEC(Delta, ZSTD),
    tenant      LowCardinality(String),
    agent       LowCardinality(String),
    identity    LowCardinality(String),
    session     String CODEC(ZSTD),
    chain       Array(String),
    action      LowCardinality(String),
    resource    String CODEC(ZSTD),
    outcome     LowCardinality(String),
    latency_ns  Int64,
    bytes_in    Int64,
    bytes_out   Int64,
    context     Map(LowCardinality(String), String),
    traceparent String CODEC(ZSTD),
    sig         String CODEC(ZSTD),
    INDEX by_offset offset TYPE minmax GRANULARITY 1,
    INDEX by_ts ts TYPE minmax GRANULARITY 1,
    INDEX by_id id TYPE bloom_filter GRANULARITY 4,
    INDEX by_session session TYPE bloom_filter GRANULARITY 4,
    INDEX by_resource resource TYPE bloom_filter GRANULARITY 4
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(ingested_at)
ORDER BY (tenant, agent, ts)
TTL toDateTime(ingested_at) + INTERVAL 180 DAY
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

CREATE TABLE IF NOT EXISTS features
(
    log          LowCardinality(String),
    partition    Int32,
    offset       Int64 CODEC(Delta, ZSTD),
    part         UInt32,
    ingested_at  DateTime64(3, 'UTC') CODEC(Delta, ZSTD),
    ts           DateTime64(9, 'UTC') CODEC(Delta, ZSTD),
    tenant       LowCardinality(String),
    entity_by    LowCardinality(String),
    entity       LowCardinality(String),
    detector     LowCardinality(String),
    feature      LowCardinality(String),
    observed     Float64,
    known        Bool,
    expected     Float64,
    low          Float64,
    high         Float64,
    log_p        Float64,
    log_evidence Float64,
    INDEX by_offset offset TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(ingested_at)
ORDER BY (tenant, detector, feature, entity, ts)
TTL toDateTime(ingested_at) + INTERVAL 30 DAY
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

CREATE TABLE IF NOT EXISTS detections
(
    log              LowCardinality(String),
    partition        Int32,
    offset           Int64 CODEC(Delta, ZSTD),
    part             UInt32,
    ingested_at      DateTime64(3, 'UTC') CODEC(Delta, ZSTD),
    id               String,
    ts               DateTime64(9, 'UTC') CODEC(Delta, ZSTD),
    detector         LowCardinality(String),
    version          LowCardinality(String),
    mode             LowCardinality(String),
    severity         LowCardinality(String),
    tags             Array(LowCardinality(String)),
    tenant           LowCardinality(String),
    entity_by        LowCardinality(String),
    entity           String,
    agent            String,
    identity         String,
    session          String,
    action           LowCardinality(String),
    resource         String,
    chain            Array(String),
    call_id          String,
    source_topic     LowCardinality(String),
    source_partition Int32,
    source_offset    Int64,
    reason           String,
    log_evidence     Float64,
    log_level        Float64,
    budget           LowCardinality(String),
    first_bad        String,
    features         String CODEC(ZSTD),
    revocation       String,
    INDEX by_offset offset TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(ingested_at)
ORDER BY (tenant, ts, id)
TTL toDateTime(ingested_at) + INTERVAL 730 DAY
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

CREATE TABLE IF NOT EXISTS revocations
(
    log         LowCardinality(String),
    partition   Int32,
    offset      Int64 CODEC(Delta, ZSTD),
    part        UInt32,
    ingested_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD),
    id          String,
    tenant      LowCardinality(String),
    scope       LowCardinality(String),
    subject     String,
    action      LowCardinality(String),
    issued_at   DateTime64(9, 'UTC'),
    valid_after Nullable(DateTime64(9, 'UTC')),
    until       DateTime64(9, 'UTC'),
    detector    LowCardinality(String),
    detection   String,
    reason      String,
    initiator   LowCardinality(String),
    `by`        String,
    releases    String,
    token       String CODEC(ZSTD),
    INDEX by_offset offset TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(ingested_at)
ORDER BY (tenant, issued_at, id)
TTL toDateTime(ingested_at) + INTERVAL 730 DAY
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

CREATE TABLE IF NOT EXISTS acks
(
    log         LowCardinality(String),
    partition   Int32,
    offset      Int64 CODEC(Delta, ZSTD),
    part        UInt32,
    ingested_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD),
    revocation  String,
    guard       LowCardinality(String),
    tenant      LowCardinality(String),
    applied_at  DateTime64(9, 'UTC'),
    cancelled   Int64,
    latency_ns  Int64,
    INDEX by_offset offset TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(ingested_at)
ORDER BY (tenant, revocation, guard)
TTL toDateTime(ingested_at) + INTERVAL 730 DAY
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

CREATE TABLE IF NOT EXISTS dlq
(
    log              LowCardinality(String),
    partition        Int32,
    offset           Int64 CODEC(Delta, ZSTD),
    part             UInt32,
    ingested_at      DateTime64(3, 'UTC') CODEC(Delta, ZSTD),
    reason           LowCardinality(String),
    detail           String,
    source_topic     LowCardinality(String),
    source_partition Int32,
    source_offset    Int64,
    source_index     Int64,
    content_type     LowCardinality(String),
    bytes            String CODEC(ZSTD),
    INDEX by_offset offset TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(ingested_at)
ORDER BY (reason, ingested_at)
TTL toDateTime(ingested_at) + INTERVAL 90 DAY
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

-- Who was seen to reach what. It is not partitioned: an edge is one row once merges are
-- done. Read it with GROUP BY and sum, min and max.
CREATE TABLE IF NOT EXISTS access_edges
(
    tenant     LowCardinality(String),
    agent      LowCardinality(String),
    kind       LowCardinality(String), -- resource, identity, action; parent: who delegated
    target     String,
    calls      SimpleAggregateFunction(sum, UInt64),
    first_seen SimpleAggregateFunction(min, DateTime64(9, 'UTC')),
    last_seen  SimpleAggregateFunction(max, DateTime64(9, 'UTC')),
    denied     SimpleAggregateFunction(sum, UInt64),
    bytes      SimpleAggregateFunction(sum, UInt64),
    touched    SimpleAggregateFunction(max, DateTime('UTC')) -- ingested_at of its last call; the TTL counts from here
)
ENGINE = AggregatingMergeTree
ORDER BY (tenant, agent, kind, target)
TTL touched + INTERVAL 400 DAY
SETTINGS non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW IF NOT EXISTS access_edges_from_calls TO access_edges AS
SELECT
    tenant,
    agent,
    edge.1 AS kind,
    edge.2 AS target,
    count() AS calls,
    min(ts) AS first_seen,
    max(ts) AS last_seen,
    countIf(outcome = 'denied') AS denied,
    sum(toUInt64(bytes_in) + toUInt64(bytes_out)) AS bytes,
    max(toDateTime(ingested_at, 'UTC')) AS touched
FROM calls
ARRAY JOIN [
    ('resource', resource),
    ('identity', toString(identity)),
    ('action', toString(action)),
    ('parent', if(length(chain) > 1, chain[-2], ''))
] AS edge
WHERE edge.2 != ''
GROUP BY tenant, agent, kind, target;

-- A role that starts again repeats its last outputs with the same ids. These views show
-- each of them once, at its first place.
CREATE VIEW IF NOT EXISTS detections_once AS
SELECT * FROM detections ORDER BY ingested_at, partition, offset, part LIMIT 1 BY id;

CREATE VIEW IF NOT EXISTS revocations_once AS
SELECT * FROM revocations ORDER BY ingested_at, partition, offset, part LIMIT 1 BY id;

CREATE VIEW IF NOT EXISTS acks_once AS
SELECT * FROM acks ORDER BY applied_at, partition, offset, part LIMIT 1 BY revocation, guard;

CREATE VIEW IF NOT EXISTS dlq_once AS
SELECT * FROM dlq ORDER BY ingested_at, partition, offset, part
LIMIT 1 BY source_topic, source_partition, source_offset, source_index;
