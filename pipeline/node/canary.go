package node

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/estop-project/estop/pipeline/archive"
)

// CanaryReport compares a canary with the live detector of its id.
type CanaryReport struct {
	archive.Comparison
	// Ended says that the node runs this canary no more: it is compared up to its last detection.
	Ended bool `json:"ended,omitempty"`
}

// CanaryQuery says which canaries are compared, and when.
type CanaryQuery struct {
	ID      string // empty: each
	Version string // empty: the one that runs, or the last
	// Since and Until are the time that is compared, in place of that of the canary; zero: that.
	Since, Until time.Time
}

// Canaries compares canaries by what ClickHouse holds. A version that the node runs counts
// from when the node loaded it, if that was before its first detection, even if it found nothing; one that it runs no
// more, up to its last detection. Where no node can be asked, the last version of each that found something is
// compared up to now.
func (c Config) Canaries(ctx context.Context, q CanaryQuery) ([]CanaryReport, error) {
	conn, err := c.openClickHouse(ctx, c.ClickHouseOptions())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	reader := archive.NewReader(conn)
	found, err := reader.Canaries(ctx, q.ID)
	if err != nil {
		return nil, err
	}
	running, err := c.RunningDetectors(ctx)
	if err != nil {
		return nil, err
	}
	reports := []CanaryReport{}
	for _, r := range canariesOf(found, running, q, time.Now().UTC()) {
		if r.Comparison, err = reader.Compare(ctx, r.Canary); err != nil {
			return nil, err
		}
		reports = append(reports, r)
	}
	return reports, nil
}

// RunningDetectors asks the node which detectors it runs; nil where none can be asked.
func (c Config) RunningDetectors(ctx context.Context) (*DetectorStatus, error) {
	if !c.asksHTTP() {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, statusWait)
	defer cancel()
	var s Status
	if err := s.readDetectors(ctx, c); err != nil {
		return nil, err
	}
	return s.Detectors, nil
}

// canariesOf chooses the version of each canary that is compared, and its time.
func canariesOf(found []archive.Canary, running *DetectorStatus, q CanaryQuery, now time.Time) []CanaryReport {
	chosen := map[string]CanaryReport{}
	for _, f := range found { // of each canary the last version stands last
		if q.Version != "" && f.Version != q.Version {
			continue
		}
		ended := running != nil
		if !ended {
			f.Until = now
		}
		chosen[f.Detector] = CanaryReport{archive.Comparison{Canary: f}, ended}
	}
	if running != nil {
		for _, r := range running.Running {
			if !r.Canary || q.ID != "" && r.ID != q.ID || q.Version != "" && r.Version != q.Version {
				continue
			}
			c := archive.Canary{Detector: r.ID, Version: r.Version, Since: r.Since, Until: now}
			for _, f := range found {
				if f.Detector == r.ID && f.Version == r.Version && f.Since.Before(c.Since) {
					c.Since = f.Since
				}
			}
			chosen[r.ID] = CanaryReport{Comparison: archive.Comparison{Canary: c}}
		}
	}
	var all []CanaryReport
	for _, name := range slices.Sorted(maps.Keys(chosen)) {
		r := chosen[name]
		if !q.Since.IsZero() {
			r.Since = q.Since
		}
		if !q.Until.IsZero() {
			r.Until = q.Until
		}
		all = append(all, r)
	}
	return all
}
