package archive

import (
	"context"
	"fmt"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// Canary is a version of a detector that runs, or ran, beside the live one.
type Canary struct {
	Detector string    `json:"detector"`
	Version  string    `json:"version"`
	Since    time.Time `json:"since"` // what came to Kafka from then on is compared
	Until    time.Time `json:"until"` // and up to then
}

// Together is how far apart, by their own time, two detections of the same entity are at most that count as one
// breach which both versions saw.
const Together = 10 * time.Minute

// Comparison is what a canary and the live detector of its id found, each without the other and both.
type Comparison struct {
	Canary
	OnlyLive   int `json:"only_live"`   // detections
	OnlyCanary int `json:"only_canary"` // detections
	Both       int `json:"both"`        // pairs of detections
	// Agents hit by either: those that made the breaking calls.
	LiveAgents   int `json:"live_agents"`
	CanaryAgents int `json:"canary_agents"`
}

// Canaries returns each version of each canary that found something, or of the one with this id; Since and Until are
// those of its first and last detection.
func (r *Reader) Canaries(ctx context.Context, id string) ([]Canary, error) {
	rows, err := r.store.Query(ctx, `SELECT detector, version, min(ingested_at), max(ingested_at) AS last FROM detections
		WHERE canary AND (@id = '' OR detector = @id) GROUP BY detector, version ORDER BY detector, last, version`, clickhouse.Named("id", id))
	if err != nil {
		return nil, fmt.Errorf("cannot read the canaries: %w", err)
	}
	defer rows.Close()
	var all []Canary
	for rows.Next() {
		var c Canary
		if err := rows.Scan(&c.Detector, &c.Version, &c.Since, &c.Until); err != nil {
			return nil, fmt.Errorf("cannot read the canaries: %w", err)
		}
		all = append(all, c)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("cannot read on in the canaries: %w", err)
	}
	return all, nil
}

// Compare counts what a canary and the live detector found in its time. A detection of one is paired with at most
// one of the other.
func (r *Reader) Compare(ctx context.Context, c Canary) (Comparison, error) {
	rows, err := r.store.Query(ctx, `SELECT canary, ts, ingested_at, tenant, entity_by, entity, agent FROM
		(
			SELECT * FROM detections WHERE detector = @id AND (NOT canary OR version = @version)
				AND ingested_at >= fromUnixTimestamp64Milli(toInt64(@since)) AND ingested_at <= fromUnixTimestamp64Milli(toInt64(@until))
			ORDER BY ingested_at, partition, offset, part LIMIT 1 BY id
		)
		ORDER BY tenant, entity_by, entity, ts, id`, clickhouse.Named("id", c.Detector), clickhouse.Named("version", c.Version),
		clickhouse.Named("since", c.Since.Add(-Together).UnixMilli()), clickhouse.Named("until", c.Until.Add(Together).UnixMilli()))
	if err != nil {
		return Comparison{}, fmt.Errorf("cannot compare canary %q: %w", c.Detector, err)
	}
	defer rows.Close()
	p := newPairing(c)
	for rows.Next() {
		if err := p.read(rows); err != nil {
			return p.result, fmt.Errorf("cannot compare canary %q: %w", c.Detector, err)
		}
	}
	if err := rows.Err(); err != nil {
		return p.result, fmt.Errorf("cannot read on in what canary %q found: %w", c.Detector, err)
	}
	return p.end(), nil
}
