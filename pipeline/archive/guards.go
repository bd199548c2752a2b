package archive

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/revoke"
)

// guards projects what guards say of themselves, one report a record.
type guards struct {
	*batch
	ts, at                          *column[time.Time]
	tenants                         *column[[]string]
	all, cut, synced, stale         *column[bool]
	every, age, maxStale, inFlight  *column[int64]
	guard, start, kind, fails       *column[string]
	version, digest                 *column[string]
	number, sequence, held          *column[uint64]
	applied, refused, cancelled     *column[uint64]
	allowed, throttled, restricted  *column[uint64]
	denied, missedBeats, errorCount *column[uint64]
}

func newGuards(log string) *guards {
	b := newBatch("guards", log)
	text := func(name, kind string) *column[string] { return addColumn[string](b, name, kind) }
	count := func(name string) *column[uint64] { return addColumn[uint64](b, name, "UInt64") }
	length := func(name string) *column[int64] { return addColumn[int64](b, name, "Int64") }
	flag := func(name string) *column[bool] { return addColumn[bool](b, name, "Bool") }
	return &guards{
		batch: b,
		ts:    addColumn[time.Time](b, "ts", "DateTime64(9, 'UTC')"), at: addColumn[time.Time](b, "at", "DateTime64(9, 'UTC')"),
		tenants: addColumn[[]string](b, "tenants", "Array(String)"),
		all:     flag("all"), cut: flag("cut"), synced: flag("synced"), stale: flag("stale"),
		every: length("every_ns"), age: length("age_ns"), maxStale: length("max_stale_ns"), inFlight: length("in_flight"),
		guard: text("guard", lowText), start: text("start", "String"), kind: text("kind", lowText), fails: text("fails", lowText),
		version: text("version", lowText), digest: text("digest", "String"),
		number: count("number"), sequence: count("sequence"), held: count("held"),
		applied: count("applied"), refused: count("refused"), cancelled: count("cancelled"),
		allowed: count("allowed"), throttled: count("throttled"), restricted: count("restricted"),
		denied: count("denied"), missedBeats: count("missed"), errorCount: count("errors"),
	}
}

func (g *guards) add(r *kgo.Record) error {
	var v revoke.Report
	if err := parseJSON(r, &v); err != nil {
		return err
	}
	g.begin(r, 0, len(r.Value))
	seen := v.Seen
	if seen.IsZero() {
		seen = r.Timestamp
	}
	g.ts.add(eventTime(seen))
	g.at.add(eventTime(v.At))
	g.tenants.add(v.Tenants)
	g.all.add(v.All)
	g.cut.add(v.Cut)
	g.synced.add(v.Synced)
	g.stale.add(v.Stale)
	g.every.add(int64(v.Every))
	g.age.add(int64(v.Age))
	g.maxStale.add(int64(v.MaxStale))
	g.inFlight.add(int64(v.InFlight))
	g.guard.add(v.Guard)
	g.start.add(v.Start)
	g.kind.add(string(v.Kind))
	g.fails.add(string(v.Fails))
	g.version.add(v.Version)
	g.digest.add(v.Digest)
	g.number.add(v.Number)
	g.sequence.add(v.Sequence)
	g.held.add(v.Held)
	c := &v.Counts
	for to, n := range map[*column[uint64]]uint64{
		g.applied: c.Applied, g.refused: c.Refused, g.cancelled: c.Cancelled, g.allowed: c.Allowed, g.throttled: c.Throttled,
		g.restricted: c.Restricted, g.denied: c.Denied, g.missedBeats: c.Missed, g.errorCount: c.Errors,
	} {
		to.add(n)
	}
	return nil
}

// Coverage is how far the guards confirmed a revocation.
type Coverage struct {
	Revocation string    `json:"revocation"`
	Tenant     string    `json:"tenant"`
	Scope      string    `json:"scope"`
	Subject    string    `json:"subject"`
	Action     string    `json:"action"`
	IssuedAt   time.Time `json:"issued_at"`
	Known      uint64    `json:"known"`     // guards of the tenant that were there when it was issued
	Confirmed  uint64    `json:"confirmed"` // of those, the ones that acknowledged
	Missing    []string  `json:"missing"`   // of those, the others
	// Slowest is the guard that took longest, and how long: by the guards' clocks.
	Slowest   string        `json:"slowest,omitempty"`
	SlowestBy time.Duration `json:"slowest_ns,omitempty"`
}

// Coverages returns the last n revocations, the newest first, of a tenant; of all where it is empty.
func (r *Reader) Coverages(ctx context.Context, tenant string, n int) ([]Coverage, error) {
	rows, err := r.store.Query(ctx, `SELECT revocation, tenant, scope, subject, action, issued_at, known, confirmed, missing, slowest, slowest_ns
		FROM coverage WHERE ? = '' OR tenant = ? ORDER BY issued_at DESC, revocation LIMIT ?`, tenant, tenant, n)
	if err != nil {
		return nil, fmt.Errorf("cannot read which guards confirmed: %w", err)
	}
	defer rows.Close()
	all := []Coverage{}
	for rows.Next() {
		var c Coverage
		var slowest int64
		if err := rows.Scan(&c.Revocation, &c.Tenant, &c.Scope, &c.Subject, &c.Action, &c.IssuedAt, &c.Known, &c.Confirmed, &c.Missing, &c.Slowest, &slowest); err != nil {
			return nil, fmt.Errorf("cannot read which guards confirmed: %w", err)
		}
		c.SlowestBy = time.Duration(slowest)
		all = append(all, c)
	}
	return all, rows.Err()
}

// Confirmation is what one guard did of one revocation.
type Confirmation struct {
	Guard string `json:"guard"`
	// Known says that the guard was there when the revocation was issued; others come later, and load it.
	Known       bool          `json:"known"`
	Confirmed   bool          `json:"confirmed"`
	AppliedAt   time.Time     `json:"applied_at,omitzero"`
	Latency     time.Duration `json:"latency_ns,omitempty"` // from its issue, by the guard's clock
	Cancelled   int64         `json:"cancelled"`
	FirstDenied time.Time     `json:"first_denied_at,omitzero"`
}

// Confirmations returns what each guard did of one revocation: those that are missing first, then the slowest.
func (r *Reader) Confirmations(ctx context.Context, revocation string) ([]Confirmation, error) {
	rows, err := r.store.Query(ctx, `SELECT guard, known, confirmed, applied_at, coalesce(latency_ns, 0) AS took, cancelled, first_denied_at
		FROM coverage_guards WHERE revocation = ? ORDER BY confirmed, took DESC, guard`, revocation)
	if err != nil {
		return nil, fmt.Errorf("cannot read which guards confirmed %q: %w", revocation, err)
	}
	defer rows.Close()
	all := []Confirmation{}
	for rows.Next() {
		var c Confirmation
		var applied, denied *time.Time
		var latency int64
		if err := rows.Scan(&c.Guard, &c.Known, &c.Confirmed, &applied, &latency, &c.Cancelled, &denied); err != nil {
			return nil, fmt.Errorf("cannot read which guards confirmed %q: %w", revocation, err)
		}
		if applied != nil {
			c.AppliedAt = *applied
		}
		if denied != nil {
			c.FirstDenied = *denied
		}
		c.Latency = time.Duration(latency)
		all = append(all, c)
	}
	return all, rows.Err()
}
