package plugin

import (
	"slices"
	"strings"
)

// kind is a question that is answered by one SQL statement. Its text is all here: what people choose goes to ClickHouse
// as parameters, and the names of columns are those of this file.
type kind struct {
	table  string // rows, the newest first; empty: there are none
	series string // a time, names, and numbers; empty: there is none
	// tenants is the condition that holds a row to the tenants that may be seen.
	tenants string
	// filters are what may be filtered by, and the column that it is.
	filters map[string]string
}

// place is where the conditions of a statement stand.
const place = "/*conditions*/"

const (
	byTenant = "tenant IN {tenants:Array(String)}"
	// What stops everything concerns each tenant.
	byTenantOrAll = "(tenant IN {tenants:Array(String)} OR scope = 'global')"
)

// columns are filters whose column has their name.
func columns(names ...string) map[string]string {
	all := make(map[string]string, len(names))
	for _, n := range names {
		all[n] = n
	}
	return all
}

// during limits a column to the time that is asked for.
func during(column string) string {
	return column + " >= {from:DateTime64(9, 'UTC')} AND " + column + " <= {to:DateTime64(9, 'UTC')}"
}

// every is a column's time, cut to steps.
func every(column string) string {
	return "toStartOfInterval(toDateTime(" + column + ", 'UTC'), toIntervalSecond({step:UInt32})) AS time"
}

var kinds = map[string]kind{
	"calls": {
		table: `SELECT ts AS time, tenant, agent, identity, session, action, resource, outcome, latency_ns, bytes_in, bytes_out, arrayStringConcat(chain, ' > ') AS chain, id
			FROM calls WHERE ` + during("ts") + place + ` ORDER BY ts DESC LIMIT {limit:UInt64}`,
		series: `SELECT ` + every("ts") + `, tenant, outcome, count() / {step:UInt32} AS calls
			FROM calls WHERE ` + during("ts") + place + ` GROUP BY time, tenant, outcome ORDER BY time LIMIT {limit:UInt64}`,
		tenants: byTenant, filters: columns("agent", "identity", "session", "action", "resource", "outcome", "id"),
	},
	"features": {
		table: `SELECT ts AS time, tenant, entity_by, entity, detector, feature, observed, if(known, expected, NULL) AS expected,
				if(known, low, NULL) AS low, if(known, high, NULL) AS high, if(known, log_p, NULL) AS log_p, log_evidence
			FROM features WHERE ` + during("ts") + place + ` ORDER BY ts DESC LIMIT {limit:UInt64}`,
		series: `SELECT ` + every("ts") + `, tenant, entity, detector, feature, max(observed) AS observed_max,
				avgIf(expected, known) AS expected_mean, avgIf(low, known) AS low_mean, avgIf(high, known) AS high_mean
			FROM features WHERE ` + during("ts") + place + ` GROUP BY time, tenant, entity, detector, feature ORDER BY time LIMIT {limit:UInt64}`,
		tenants: byTenant, filters: columns("entity_by", "entity", "detector", "feature"),
	},
	"evidence": {
		table: `SELECT max(log_evidence) AS evidence, tenant, entity_by, entity, detector, argMax(feature, log_evidence) AS strongest, max(ts) AS time
			FROM features WHERE known AND ` + during("ts") + place + ` GROUP BY tenant, entity_by, entity, detector ORDER BY evidence DESC LIMIT {limit:UInt64}`,
		series: `SELECT ` + every("ts") + `, tenant, entity, detector, max(log_evidence) AS evidence
			FROM features WHERE known AND ` + during("ts") + place + ` GROUP BY time, tenant, entity, detector ORDER BY time LIMIT {limit:UInt64}`,
		tenants: byTenant, filters: columns("entity_by", "entity", "detector", "feature"),
	},
	"detections": {
		table: `SELECT ts AS time, id, severity, mode, tenant, entity_by, entity, agent, detector, reason, log_evidence, log_level, budget,
				action, resource, call_id, revocation, arrayStringConcat(tags, ', ') AS tags
			FROM detections_once WHERE NOT canary AND ` + during("ts") + place + ` ORDER BY ts DESC LIMIT {limit:UInt64}`,
		series: `SELECT ` + every("ts") + `, detector, mode, count() AS detections
			FROM detections_once WHERE NOT canary AND ` + during("ts") + place + ` GROUP BY time, detector, mode ORDER BY time LIMIT {limit:UInt64}`,
		tenants: byTenant, filters: columns("id", "agent", "identity", "session", "entity_by", "entity", "detector", "severity", "mode", "action", "resource"),
	},
	"revocations": {
		table: `SELECT issued_at AS time, id, action, tenant, scope, subject, until, if(` + "`by`" + ` != '', ` + "`by`" + `, detector) AS ordered_by, initiator, reason, detection, releases
			FROM revocations_once WHERE ` + during("issued_at") + place + ` ORDER BY issued_at DESC LIMIT {limit:UInt64}`,
		series: `SELECT ` + every("issued_at") + `, action, initiator, count() AS revocations
			FROM revocations_once WHERE ` + during("issued_at") + place + ` GROUP BY time, action, initiator ORDER BY time LIMIT {limit:UInt64}`,
		tenants: byTenantOrAll, filters: columns("id", "scope", "subject", "action", "initiator", "detector", "detection"),
	},
	// The last word on each target, whenever it was said.
	"stopped_now": {
		table: `SELECT s.tenant AS tenant, s.scope AS scope, s.subject AS subject, s.last.1 AS action, s.last.2 AS since, s.last.3 AS until,
				coalesce(a.guards, 0) AS acknowledged, if(s.last.5 != '', s.last.5, s.last.4) AS stopped_by, s.last.6 AS reason, s.last.7 AS id
			FROM
			(
				SELECT tenant, scope, subject, argMax((action, issued_at, until, detector, ` + "`by`" + `, reason, id), (issued_at, ingested_at)) AS last
				FROM revocations_once WHERE true` + place + ` GROUP BY tenant, scope, subject
				HAVING last.1 != 'release' AND last.3 > now64(9)
			) AS s
			LEFT JOIN (SELECT revocation, uniqExact(guard) AS guards FROM acks WHERE first_denied_at IS NULL GROUP BY revocation) AS a ON a.revocation = s.last.7
			ORDER BY since DESC LIMIT {limit:UInt64}`,
		tenants: byTenantOrAll, filters: columns("scope", "subject"),
	},
	"coverage": {
		table: `SELECT issued_at AS time, tenant, scope, subject, action, known, confirmed, if(known = 0, NULL, confirmed / known) AS coverage,
				arrayStringConcat(missing, ', ') AS missing, slowest, slowest_ns, revocation
			FROM coverage WHERE ` + during("issued_at") + place + ` ORDER BY issued_at DESC LIMIT {limit:UInt64}`,
		series: `SELECT ` + every("issued_at") + `, min(confirmed / known) AS coverage_min
			FROM coverage WHERE known > 0 AND ` + during("issued_at") + place + ` GROUP BY time ORDER BY time LIMIT {limit:UInt64}`,
		tenants: byTenantOrAll, filters: columns("scope", "subject", "action", "revocation"),
	},
	"latency": {
		table: `SELECT applied_at AS time, revocation, guard, tenant, latency_ns, cancelled
			FROM acks_once WHERE ` + during("applied_at") + place + ` ORDER BY applied_at DESC LIMIT {limit:UInt64}`,
		series: `SELECT ` + every("applied_at") + `, quantileExact(0.5)(latency_ns) AS p50, quantileExact(0.99)(latency_ns) AS p99
			FROM acks_once WHERE ` + during("applied_at") + place + ` GROUP BY time ORDER BY time LIMIT {limit:UInt64}`,
		tenants: byTenant, filters: columns("guard", "revocation"),
	},
	"guards": {
		table: `SELECT ts AS time, guard, kind, version, synced, stale, age_ns, max_stale_ns, fails, held, in_flight, denied, missed, errors
			FROM guards_last WHERE true` + place + ` ORDER BY guard LIMIT {limit:UInt64}`,
		tenants: "(all OR hasAny(tenants, {tenants:Array(String)}))", filters: columns("guard", "kind"),
	},
	"decisions": {
		table: `SELECT ts AS time, verdict, tenant, scope, subject, action, ` + "`by`" + `, why, detector, id, revocation
			FROM decisions_once WHERE ` + during("ts") + place + ` ORDER BY ts DESC LIMIT {limit:UInt64}`,
		tenants: byTenantOrAll, filters: columns("verdict", "scope", "subject", "detector", "id"),
	},
	// Marks on every graph: who was stopped from when until when, and who let them go.
	"kills": {
		table: `SELECT issued_at AS time, until AS timeEnd, concat(action, ' ', scope, ' ', subject, ' of ', tenant) AS title, reason AS text,
				concat(action, ',', initiator) AS tags, id
			FROM revocations_once WHERE ` + during("issued_at") + place + ` ORDER BY issued_at DESC LIMIT {limit:UInt64}`,
		tenants: byTenantOrAll, filters: columns("scope", "subject", "action", "initiator", "detector"),
	},
	"tenants": {
		table:   `SELECT DISTINCT tenant AS value FROM calls WHERE ` + during("ts") + place + ` ORDER BY value LIMIT {limit:UInt64}`,
		tenants: byTenant,
	},
	"agents": {
		table:   `SELECT DISTINCT agent AS value FROM calls WHERE ` + during("ts") + place + ` ORDER BY value LIMIT {limit:UInt64}`,
		tenants: byTenant,
	},
	"detectors": {
		table:   `SELECT DISTINCT detector AS value FROM detections_once WHERE NOT canary AND ` + during("ts") + place + ` ORDER BY value LIMIT {limit:UInt64}`,
		tenants: byTenant,
	},
}

// kindNames are what can be asked, in order.
func kindNames() []string {
	return slices.Sorted(func(yield func(string) bool) {
		for name := range kinds {
			if !yield(name) {
				return
			}
		}
		for name := range answers {
			if !yield(name) {
				return
			}
		}
	})
}

// statement returns the SQL with the conditions that are wanted.
func (k kind) statement(sql string, allTenants bool, filters []string) string {
	conditions := ""
	if !allTenants {
		conditions = " AND " + k.tenants
	}
	for _, name := range filters {
		conditions += " AND " + k.filters[name] + " IN {filter_" + name + ":Array(String)}"
	}
	return strings.Replace(sql, place, conditions, 1)
}
