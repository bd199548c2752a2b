package dashboards_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/go-cmp/cmp"
)

// noisy fills an archive with what a few detectors did to two agents of a tenant on two days, beside what does not
// count: a canary, what is said twice, another tenant, and what a person did.
func noisy(t *testing.T, store driver.Conn, start time.Time) {
	t.Helper()
	at := func(hours int) string { return stamp(start.Add(time.Duration(hours) * time.Hour)) }
	const daily, weekly = "1 per 1000 agent-days", "2 per 1_000 agent-weeks"
	detection := func(id, detector, version string, canary bool, hours int, tenant, agent, reason, budget string) string {
		return fmt.Sprintf("('%s', '%s', '%s', %t, 'alert', %s, %[5]s, '%[6]s', 'agent', '%[7]s', '%[7]s', '%[8]s', '%[9]s')",
			id, detector, version, canary, at(hours), tenant, agent, reason, budget)
	}
	fill(t, store, "detections", "id, detector, version, canary, mode, ingested_at, ts, tenant, entity_by, entity, agent, reason, budget",
		detection("1", "noisy", "v1", false, 1, "t1", "a", "evidence", daily),
		detection("1", "noisy", "v1", false, 1, "t1", "a", "evidence", daily),
		detection("2", "noisy", "v1", false, 2, "t1", "a", "evidence", daily),
		detection("3", "noisy", "v2", false, 26, "t1", "b", "evidence", daily),
		detection("4", "noisy", "v2", false, 27, "t1", "b", "count(calls, 10s) > 3", daily),
		detection("5", "noisy", "v3", true, 28, "t1", "c", "evidence", daily),
		detection("6", "noisy", "v2", false, 28, "t2", "a", "evidence", daily),
		detection("7", "talk", "w1", false, 3, "t1", "a", "evidence", "1 per 1000 sessions"),
		detection("8", "weekly", "x1", false, 3, "t1", "a", "evidence", weekly),
		detection("9", "hard", "y1", false, 3, "t1", "a", "count(calls, 10s) > 9", ""),
	)
	revocation := func(id, detector, action, initiator, releases string, hours int) string {
		return fmt.Sprintf("('%s', 't1', 'agent', 'a', '%s', %s, %[3]s, %[3]s, '%[4]s', '%[5]s', '%[6]s')", id, action, at(hours), detector, initiator, releases)
	}
	fill(t, store, "revocations", "id, tenant, scope, subject, action, ingested_at, issued_at, until, detector, initiator, releases",
		revocation("r1", "noisy", "throttle", "policy", "", 1),
		revocation("r2", "noisy", "revoke", "policy", "", 2),
		revocation("r2", "noisy", "revoke", "policy", "", 2),
		revocation("r3", "", "revoke", "admin", "", 2),
		revocation("l1", "", "release", "admin", "r2", 3),
		revocation("l2", "", "release", "admin", "r3", 3),
	)
	called := func(tenant, agent string, hours int) string {
		return fmt.Sprintf("('%s', '%s', %s, %[3]s)", tenant, agent, at(hours))
	}
	fill(t, store, "calls", "tenant, agent, ingested_at, ts",
		called("t1", "a", 1), called("t1", "a", 2), called("t1", "a", 25), called("t1", "b", 26), called("t1", "b", 27), called("t2", "a", 1))
	change := func(number int, kind, before, now, mode, by string, hours int) string {
		return fmt.Sprintf("('%d', %[1]d, %[2]s, %[2]s, 'noisy', false, '%[3]s', '%[4]s', '%[5]s', '%[6]s', '%[7]s')", number, at(hours), kind, before, now, mode, by)
	}
	fill(t, store, "changes", "id, number, ingested_at, ts, detector, canary, kind, version_before, version_now, mode_now, `by`",
		change(1, "added", "", "v1", "alert", "Ada", -5), change(2, "changed", "v1", "v2", "alert", "Bob", 24))
}

// rows returns the named columns of a frame as texts, a row each.
func (f frame) texts(columns ...string) [][]string {
	all := make([][]string, len(f.rows))
	for i, row := range f.rows {
		for _, c := range columns {
			all[i] = append(all[i], text(row[slices.Index(f.columns, c)]))
		}
	}
	return all
}

func TestTheDashboardCountsNoiseReleasesAndBudgets(t *testing.T) {
	store := archived(t)
	start := past().Add(-12 * time.Hour) // midnight: the days are those of UTC
	noisy(t, store, start)
	queries := detectors(t).queries()
	chosen := timeRange{start, start.Add(48 * time.Hour), time.Hour}
	choice := map[string][]string{"tenant": {"t1"}, "detector": {"noisy", "talk", "weekly", "hard"}}
	when := func(hours int) string {
		return start.Add(time.Duration(hours) * time.Hour).Format(time.RFC3339Nano)
	}
	for _, c := range []struct {
		panel   string
		columns []string
		want    [][]string
	}{
		{"Stopped, and released by a person", []string{"released"}, [][]string{{"0.5"}}},
		{"Detectors that found something", []string{"detectors"}, [][]string{{"4"}}},
		{"Noise and false kills by detector", []string{"detector", "detections", "agents", "kills", "released", "released_share", "last"}, [][]string{
			{"noisy", "4", "2", "2", "1", "0.5", when(27)},
			{"hard", "1", "1", "0", "0", "<nil>", when(3)}, {"talk", "1", "1", "0", "0", "<nil>", when(3)}, {"weekly", "1", "1", "0", "0", "<nil>", when(3)},
		}},
		{"Noise: detections of each detector", []string{"time", "series", "detections"}, [][]string{
			{when(1), "noisy", "1"}, {when(2), "noisy", "1"}, {when(3), "hard", "1"}, {when(3), "talk", "1"}, {when(3), "weekly", "1"}, {when(26), "noisy", "1"}, {when(27), "noisy", "1"},
		}},
		{"Kills by each detector", []string{"time", "series", "kills"}, [][]string{{when(1), "noisy throttle", "1"}, {when(2), "noisy revoke", "1"}}},
		{"Budget of each detector, and what was found", []string{"detector", "budget", "by_evidence", "by_limit", "agent_days", "found_per_1000_agent_days", "allowed_per_1000_agent_days"}, [][]string{
			{"noisy", "1 per 1000 agent-days", "3", "1", "3", "1000", "1"},
			{"talk", "1 per 1000 sessions", "1", "0", "3", "333.3333333333333", "<nil>"},
			{"weekly", "2 per 1_000 agent-weeks", "1", "0", "3", "333.3333333333333", "0.2857142857142857"},
		}},
		{"Versions in force", []string{"detector", "canary", "version", "mode", "since", "until", "by", "detections"}, [][]string{
			{"noisy", "true", "v3", "alert", when(28), "<nil>", "", "1"}, {"noisy", "false", "v2", "alert", when(24), "<nil>", "Bob", "3"},
			{"hard", "false", "y1", "alert", when(3), "<nil>", "", "1"}, {"talk", "false", "w1", "alert", when(3), "<nil>", "", "1"}, {"weekly", "false", "x1", "alert", when(3), "<nil>", "", "1"},
			{"noisy", "false", "v1", "alert", when(-5), when(24), "Ada", "2"},
		}},
		{"Detections by version", []string{"time", "series", "detections"}, [][]string{
			{when(1), "noisy v1 (alert)", "1"}, {when(2), "noisy v1 (alert)", "1"}, {when(3), "hard y1 (alert)", "1"}, {when(3), "talk w1 (alert)", "1"}, {when(3), "weekly x1 (alert)", "1"},
			{when(26), "noisy v2 (alert)", "1"}, {when(27), "noisy v2 (alert)", "1"}, {when(28), "noisy v3 (canary)", "1"},
		}},
		{"New versions", []string{"time", "text"}, [][]string{
			{when(3), "hard: version y1 first appears"}, {when(3), "talk: version w1 first appears"}, {when(3), "weekly: version x1 first appears"},
			{when(24), "noisy: version v2 first appears"}, {when(28), "noisy (canary): version v3 first appears"},
		}},
	} {
		sql, ok := queries[c.panel]
		if !ok {
			t.Errorf("there is no panel %q", c.panel)
			continue
		}
		got := answer(t, store, sql, chosen, choice).texts(c.columns...)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: -want +got\n%s", c.panel, diff)
		}
	}
}
