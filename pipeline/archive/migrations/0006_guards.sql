-- What guards say of themselves: when they start, when something changes, once a minute, and when they end. And
-- from that, which of them confirmed a revocation. ts is when it was heard, at what the guard's clock said.

CREATE TABLE IF NOT EXISTS guards
(
    log          LowCardinality(String),
    partition    Int32,
    offset       Int64 CODEC(Delta, ZSTD),
    part         UInt32,
    ingested_at  DateTime64(3, 'UTC') CODEC(Delta, ZSTD),
    ts           DateTime64(9, 'UTC') CODEC(Delta, ZSTD),
    at           DateTime64(9, 'UTC') CODEC(Delta, ZSTD),
    guard        LowCardinality(String),
    start        String,
    number       UInt64,
    kind         LowCardinality(String),
    version      LowCardinality(String),
    all          Bool,
    tenants      Array(String) CODEC(ZSTD),
    cut          Bool,
    synced       Bool,
    stale        Bool,
    every_ns     Int64,
    age_ns       Int64,
    max_stale_ns Int64,
    fails        LowCardinality(String),
    sequence     UInt64,
    held         UInt64,
    digest       String,
    in_flight    Int64,
    applied      UInt64,
    refused      UInt64,
    allowed      UInt64,
    throttled    UInt64,
    restricted   UInt64,
    denied       UInt64,
    cancelled    UInt64,
    missed       UInt64,
    errors       UInt64,
    INDEX by_offset offset TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(ingested_at)
ORDER BY (guard, start, ts)
TTL toDateTime(ingested_at) + INTERVAL 90 DAY
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

-- The last word of each guard.
CREATE VIEW IF NOT EXISTS guards_last AS
SELECT * FROM guards ORDER BY ts DESC, number DESC LIMIT 1 BY guard;

ALTER TABLE acks ADD COLUMN IF NOT EXISTS first_denied_at Nullable(DateTime64(9, 'UTC')) AFTER latency_ns;

-- Guards report their first denied call beside the acknowledgement; that is a row of its own.
CREATE OR REPLACE VIEW acks_once AS
SELECT * FROM acks WHERE first_denied_at IS NULL ORDER BY applied_at, partition, offset, part LIMIT 1 BY revocation, guard;

-- A row for each revocation and guard: those that were there when it was issued, and those that acknowledged it.
CREATE VIEW IF NOT EXISTS coverage_guards AS
SELECT revocation, guard, max(expected) AS known, count(acked) > 0 AS confirmed, min(acked) AS applied_at,
    min(latency) AS latency_ns, max(cut_off) AS cancelled, min(denied) AS first_denied_at
FROM
(
    SELECT r.id AS revocation, g.guard AS guard, true AS expected, CAST(NULL, 'Nullable(DateTime64(9, \'UTC\'))') AS acked,
        CAST(NULL, 'Nullable(Int64)') AS latency, CAST(0, 'Int64') AS cut_off, CAST(NULL, 'Nullable(DateTime64(9, \'UTC\'))') AS denied
    FROM revocations_once AS r
    CROSS JOIN
    (
        SELECT guard, start, min(ts) AS began, max(ts) AS ended, argMax(kind, (ts, number)) = 'bye' AS closed,
            argMax(all, (ts, number)) AS serves_all, argMax(tenants, (ts, number)) AS serves
        FROM guards GROUP BY guard, start
    ) AS g
    WHERE g.began <= r.issued_at AND (g.serves_all OR has(g.serves, r.tenant))
        AND if(g.closed, g.ended > r.issued_at + INTERVAL 5 SECOND, g.ended > r.issued_at - INTERVAL 130 SECOND)
    UNION ALL
    SELECT revocation, guard, false, if(first_denied_at IS NULL, CAST(applied_at, 'Nullable(DateTime64(9, \'UTC\'))'), NULL),
        if(first_denied_at IS NULL, CAST(latency_ns, 'Nullable(Int64)'), NULL), cancelled, first_denied_at
    FROM acks
)
GROUP BY revocation, guard;

CREATE VIEW IF NOT EXISTS coverage AS
SELECT r.id AS revocation, r.tenant AS tenant, r.scope AS scope, r.subject AS subject, r.action AS action, r.issued_at AS issued_at,
    countIf(c.known) AS known, countIf(c.known AND c.confirmed) AS confirmed,
    arraySort(groupArrayIf(toString(c.guard), c.known AND NOT c.confirmed)) AS missing,
    toString(argMaxIf(c.guard, coalesce(c.latency_ns, 0), c.known AND c.confirmed)) AS slowest, coalesce(maxIf(c.latency_ns, c.known AND c.confirmed), 0) AS slowest_ns
FROM revocations_once AS r
LEFT JOIN coverage_guards AS c ON c.revocation = r.id
GROUP BY revocation, tenant, scope, subject, action, issued_at;
