package dashboards_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	chuser "github.com/estop-project/estop/deploy/clickhouse"
	"github.com/estop-project/estop/pipeline/archive"
)

// archived opens an archive without rows, with the rights of its user.
func archived(t *testing.T) driver.Conn {
	t.Helper()
	_, o := chuser.Start(t, t.TempDir(), "estop")
	if err := archive.Migrate(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	store, err := ch.Open(&o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return store
}

// fill inserts rows, written as texts.
func fill(t *testing.T, store driver.Conn, table, columns string, rows ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := store.Exec(ctx, "INSERT INTO "+table+" ("+columns+") VALUES "+strings.Join(rows, ",")); err != nil {
		t.Fatalf("%s: %v", table, err)
	}
}

// stamp is a time as ClickHouse takes it.
func stamp(at time.Time) string { return "'" + at.UTC().Format("2006-01-02 15:04:05.000000000") + "'" }

const (
	detectionColumns = "id, detector, version, canary, ingested_at, ts, tenant, entity_by, entity, agent"
	changeColumns    = "id, number, ingested_at, ts, detector, canary, kind, version_before, version_now"
)

// past is a noon that the archive still keeps.
func past() time.Time {
	return time.Now().UTC().Truncate(24 * time.Hour).Add(-60*24*time.Hour + 12*time.Hour)
}

// detections draws what two versions of pace, a former canary and another detector found of a few entities within two
// hours. So many of so few lie close enough together to be one breach in many ways, at the very bound too.
func detections(rng *rand.Rand, start time.Time) []string {
	var rows []string
	for i := range 60 + rng.IntN(120) {
		ts := start.Add(time.Duration(rng.IntN(120*4)) * 15 * time.Second)
		if rng.IntN(3) == 0 {
			ts = start.Add(time.Duration(rng.IntN(12)) * archive.Together)
		}
		ingested := ts.Add(time.Duration(rng.IntN(400_000)) * time.Millisecond)
		detector, version, canary := "pace", "old", rng.IntN(2) == 0
		switch {
		case rng.IntN(15) == 0:
			detector = "other"
		case canary && rng.IntN(10) == 0:
			version = "older"
		case canary:
			version = "new"
		}
		row := fmt.Sprintf("('d-%d-%d', '%s', '%s', %t, %s, %s, 't%d', 'agent', 'e%d', 'a%d')", start.Unix(), rng.IntN(1e9)*1000+i,
			detector, version, canary, stamp(ingested), stamp(ts), rng.IntN(2), rng.IntN(4), rng.IntN(5))
		rows = append(rows, row)
		if rng.IntN(10) == 0 {
			rows = append(rows, row) // said again after a restart
		}
	}
	return rows
}

func numbers(t *testing.T, f frame, column string) (sum int) {
	t.Helper()
	for _, v := range f.column(column) {
		n, err := strconv.Atoi(v)
		if err != nil {
			t.Fatalf("%s: %v", column, err)
		}
		sum += n
	}
	return sum
}

// moment returns the time in a column of the only row.
func (f frame) moment(name string) time.Time {
	return *f.rows[0][slices.Index(f.columns, name)].(*time.Time)
}

// What the dashboard says of a canary is what 'estop detector canary' says of it in the same time.
func TestTheDashboardComparesACanaryAsTheCommandDoes(t *testing.T) {
	store := archived(t)
	queries := detectors(t).queries()
	rng := rand.New(rand.NewPCG(1, 2))
	start := past()
	fill(t, store, "detections", detectionColumns, fmt.Sprintf("('first', 'pace', 'new', true, %[1]s, %[1]s, 't', 'agent', 'e', 'a')", stamp(start.Add(-time.Hour))))
	seen := archive.Comparison{}
	for round := range 25 {
		fill(t, store, "detections", detectionColumns, detections(rng, start)...)
		from := start.Add(time.Duration(rng.IntN(80)-20) * time.Minute)
		chosen := timeRange{from, from.Add(time.Duration(1+rng.IntN(120)) * time.Minute), time.Minute}
		choice := map[string][]string{"canary": {"pace"}, "version": {"new"}}
		table := answer(t, store, queries["Canary beside live"], chosen, choice)
		since, until := table.moment("since"), table.moment("until")
		if since.Before(chosen.from) || until.After(chosen.to) {
			t.Errorf("%d: compared is %v to %v, chosen was %v to %v", round, since, until, chosen.from, chosen.to)
		}
		const precise = "2006-01-02T15:04:05.000Z"
		if command := "estop detector canary pace --version new --since " + since.Format(precise) + " --until " + until.Format(precise); table.column("command")[0] != command {
			t.Errorf("%d: the command is %q, want %q", round, table.column("command")[0], command)
		}
		want, err := archive.NewReader(store).Compare(t.Context(), archive.Canary{Detector: "pace", Version: "new", Since: since, Until: until})
		if err != nil {
			t.Fatal(err)
		}
		got := archive.Comparison{
			Canary:   want.Canary,
			OnlyLive: numbers(t, table, "only_live"), OnlyCanary: numbers(t, table, "only_canary"), Both: numbers(t, table, "both"),
			LiveAgents: numbers(t, table, "agents_live"), CanaryAgents: numbers(t, table, "agents_canary"),
		}
		if got != want {
			t.Errorf("%d: the dashboard says %+v, the command %+v", round, got, want)
		}
		series := map[string]int{}
		overTime := answer(t, store, queries["Found by the canary, the live detector, or both"], chosen, choice)
		for i, name := range overTime.column("series") {
			n, _ := strconv.Atoi(overTime.column("detections")[i])
			series[name] += n
		}
		if series["only live"] != want.OnlyLive || series["only canary"] != want.OnlyCanary || series["both"] != want.Both {
			t.Errorf("%d: over time there are %v, the command says %+v", round, series, want)
		}
		agents := answer(t, store, queries["Agents that the canary or the live detector hit"], chosen, choice)
		if l, c := numbers(t, agents, "only_live"), numbers(t, agents, "only_canary"); l != want.OnlyLive || c != want.OnlyCanary {
			t.Errorf("%d: by agent there are %d and %d, the command says %+v", round, l, c, want)
		}
		seen.OnlyLive, seen.OnlyCanary, seen.Both = seen.OnlyLive+want.OnlyLive, seen.OnlyCanary+want.OnlyCanary, seen.Both+want.Both
		start = start.Add(24 * time.Hour)
	}
	if min(seen.OnlyLive, seen.OnlyCanary, seen.Both) < 100 {
		t.Errorf("too little was compared: %+v", seen)
	}
}

func TestACanaryIsComparedOnlyWhileItWasOne(t *testing.T) {
	store := archived(t)
	start := past()
	at := func(minutes int) time.Time { return start.Add(time.Duration(minutes) * time.Minute) }
	found := func(id, version string, canary bool, minutes int) string {
		return fmt.Sprintf("('%s', 'pace', '%s', %t, %s, %s, 't', 'agent', 'e', 'a')", id, version, canary, stamp(at(minutes)), stamp(at(minutes)))
	}
	fill(t, store, "detections", detectionColumns,
		found("1", "old", false, 0), found("2", "new", true, 60), found("3", "old", false, 120), found("4", "new", false, 300))
	chosen := timeRange{at(-600), at(600), time.Minute}
	choice := map[string][]string{"canary": {"pace"}, "version": {"new"}}
	sql := detectors(t).queries()["Canary beside live"]
	check := func(what string, since, until time.Time, onlyLive int) {
		t.Helper()
		f := answer(t, store, sql, chosen, choice)
		if len(f.rows) != 1 || !f.moment("since").Equal(since) || !f.moment("until").Equal(until) || numbers(t, f, "only_live") != onlyLive {
			t.Errorf("%s: %v from %v to %v, want %d from %v to %v", what, f.column("only_live"), f.column("since"), f.column("until"), onlyLive, since, until)
		}
	}
	check("from its first detection to the end of the chosen time", at(60), chosen.to, 2)
	change := func(id string, number, minutes int, kind, before, now string) {
		fill(t, store, "changes", changeColumns, fmt.Sprintf("('%[1]s', %[2]d, %[3]s, %[3]s, 'pace', true, '%[4]s', '%[5]s', '%[6]s')", id, number, stamp(at(minutes)), kind, before, now))
	}
	change("1", 1, -30, "added", "", "new")
	check("from when it was loaded", at(-30), chosen.to, 3)
	change("2", 2, 10, "changed", "new", "new") // another file
	check("a move is no end", at(-30), chosen.to, 3)
	change("3", 3, 200, "removed", "new", "")
	check("to when it was removed", at(-30), at(200), 2)
	change("4", 4, 250, "added", "", "new")
	check("on, where it came back", at(-30), chosen.to, 3)
	chosen.from = at(90)
	check("within the chosen time", at(90), chosen.to, 2)
}

// One comparison is written down in several panels.
func TestPanelsOfACanaryPairDetectionsAlike(t *testing.T) {
	shared := map[string]string{}
	for title, sql := range detectors(t).queries() {
		if !strings.Contains(sql, "${canary:sqlstring}") {
			continue
		}
		head, _, _ := strings.Cut(sql, "\nSELECT ")
		_, rest, _ := strings.Cut(sql, "\nFROM\n")
		rest, _, _ = strings.Cut(rest, "\nGROUP BY time")
		rest, _, _ = strings.Cut(rest, "\nGROUP BY tenant, agent\n")
		rest, _, _ = strings.Cut(rest, "\nHAVING")
		lines := slices.DeleteFunc(strings.Split(rest, "\n"), func(line string) bool { return strings.HasPrefix(line, "ARRAY JOIN") })
		shared[head+strings.Join(lines, "\n")] += title + "; "
	}
	if len(shared) != 1 {
		t.Errorf("the panels of canaries compare in %d ways: %q", len(shared), shared)
	}
}

// detectors returns the dashboard of detectors.
func detectors(t *testing.T) dashboard {
	t.Helper()
	for _, d := range dashboards(t) {
		if d.UID == "estop-detectors" {
			return d
		}
	}
	t.Fatal("there is no dashboard of detectors")
	return dashboard{}
}

// answer runs a query of a panel.
func answer(t *testing.T, store driver.Conn, sql string, chosen timeRange, choice map[string][]string) frame {
	t.Helper()
	query, err := expand(sql, chosen, choice)
	if err != nil {
		t.Fatal(err)
	}
	f, err := ask(t, store, query)
	if err != nil {
		t.Fatalf("%v\n%s", err, query)
	}
	return f
}
