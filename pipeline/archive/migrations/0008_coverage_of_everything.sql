-- A stop of everything is to be confirmed by every guard, whichever tenants it serves.
CREATE OR REPLACE VIEW coverage_guards AS
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
    WHERE g.began <= r.issued_at AND (g.serves_all OR r.scope = 'global' OR has(g.serves, r.tenant))
        AND if(g.closed, g.ended > r.issued_at + INTERVAL 5 SECOND, g.ended > r.issued_at - INTERVAL 130 SECOND)
    UNION ALL
    SELECT revocation, guard, false, if(first_denied_at IS NULL, CAST(applied_at, 'Nullable(DateTime64(9, \'UTC\'))'), NULL),
        if(first_denied_at IS NULL, CAST(latency_ns, 'Nullable(Int64)'), NULL), cancelled, first_denied_at
    FROM acks
)
GROUP BY revocation, guard;
