package plugin

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/grafana/grafana-plugin-sdk-go/data"

	"github.com/estop-project/estop/detector"
)

// before and after a detection is what is shown beside it.
const (
	before = 6 * time.Hour
	after  = 30 * time.Minute
	nearby = 50 // calls
)

// byEvidenceReason is the reason of what no hard limit found.
const byEvidenceReason = "evidence"

// explain answers with a detection in frames: what was found, the features with what was expected, and the calls around the
// one that broke it; where evidence found it, also the evidence over time beside the alarm level, and the predictive band.
func (d *Datasource) explain(ctx context.Context, a asked) (data.Frames, error) {
	if a.ID == "" {
		return nil, fmt.Errorf("%w: name the id of a detection", errQuery)
	}
	found, err := d.detection(ctx, a)
	if err != nil {
		return nil, err
	}
	// From here on the time is that of the detection, and the tenant its own.
	a.from, a.to, a.tenants, a.all = found.Time.Add(-before), found.Time.Add(after), []string{found.Tenant}, false
	frames := data.Frames{summary(found), features(found)}
	about := []any{
		ch.Named("tenants", texts(a.tenants)), ch.Named("from", a.from), ch.Named("to", a.to), ch.Named("at", found.Time),
		ch.Named("detector", found.Detector), ch.Named("entity", found.Entity), ch.Named("agent", found.Agent), ch.Named("level", found.LogLevel),
		ch.Named("calls", texts([]string{found.CallID, found.FirstBad})),
	}
	for _, more := range []struct {
		name, sql string
		evidence  bool // there are samples of features with a baseline alone
	}{
		{"evidence", `SELECT ts AS time, max(log_evidence) AS evidence, {level:Float64} AS alarm_level FROM features
			WHERE ` + byTenant + ` AND detector = {detector:String} AND entity = {entity:String} AND ` + during("ts") + ` GROUP BY ts ORDER BY ts LIMIT 2000`, true},
		{"observed and expected", `SELECT ts AS time, feature, max(observed) AS observed_max, avgIf(expected, known) AS expected_mean, avgIf(low, known) AS low_mean, avgIf(high, known) AS high_mean
			FROM features WHERE ` + byTenant + ` AND detector = {detector:String} AND entity = {entity:String} AND ` + during("ts") + ` GROUP BY ts, feature ORDER BY ts LIMIT 5000`, true},
		{"calls", fmt.Sprintf(`SELECT ts AS time, if(id IN {calls:Array(String)}, 'yes', 'no') AS breaking, action, resource, outcome, identity, session, latency_ns, id FROM calls
			WHERE `+byTenant+` AND agent = {agent:String} AND `+during("ts")+` AND (ts <= {at:DateTime64(9, 'UTC')} OR id IN {calls:Array(String)})
			ORDER BY breaking DESC, ts DESC LIMIT %d`, nearby), false},
	} {
		if more.evidence && found.Reason != byEvidenceReason {
			continue
		}
		f, err := d.selectRows(ctx, a, more.sql, about)
		if err != nil {
			return nil, err
		}
		f.Name = more.name
		frames = append(frames, f)
	}
	return frames, nil
}

// detection reads one of a tenant that may be seen.
func (d *Datasource) detection(ctx context.Context, a asked) (detector.Detection, error) {
	var found detector.Detection
	store, err := d.clickHouse()
	if err != nil {
		return found, err
	}
	where := ""
	if !a.all {
		where = " AND " + byTenant
	}
	rows, err := store.Query(ctx, `SELECT id, ts, detector, version, mode, severity, tenant, entity_by, entity, agent, identity, session, action, resource, chain,
			call_id, reason, log_evidence, log_level, budget, first_bad, features, graph, revocation
		FROM detections_once WHERE id = {id:String}`+where+` LIMIT 1`, ch.Named("id", a.ID), ch.Named("tenants", texts(a.tenants)))
	if err != nil {
		return found, fmt.Errorf("cannot ask ClickHouse for the detection: %w", err)
	}
	defer rows.Close()
	if !rows.Next() {
		if err := rows.Err(); err != nil {
			return found, fmt.Errorf("cannot ask ClickHouse for the detection: %w", err)
		}
		return found, fmt.Errorf("%w: no detection has the id %q here", errQuery, a.ID)
	}
	var samples, graph string
	if err := rows.Scan(&found.ID, &found.Time, &found.Detector, &found.Version, &found.Mode, &found.Severity, &found.Tenant, &found.EntityBy, &found.Entity,
		&found.Agent, &found.Identity, &found.Session, &found.Action, &found.Resource, &found.Chain, &found.CallID, &found.Reason, &found.LogEvidence, &found.LogLevel,
		&found.Budget, &found.FirstBad, &samples, &graph, &found.Revocation); err != nil {
		return found, fmt.Errorf("cannot read the detection: %w", err)
	}
	for text, into := range map[string]any{samples: &found.Features, graph: &found.Graph} {
		if text == "" {
			continue
		}
		if err := json.Unmarshal([]byte(text), into); err != nil {
			return found, fmt.Errorf("cannot read what detection %q says of itself: %w", a.ID, err)
		}
	}
	return found, rows.Err()
}

// summary tells in words what was found.
func summary(d detector.Detection) *data.Frame {
	f := newFrame("what", "what", "is")
	say := func(what, format string, args ...any) {
		if text := fmt.Sprintf(format, args...); text != "" {
			f.AppendRow(what, text)
		}
	}
	say("detector", "%s, version %s, mode %s", d.Detector, d.Version, d.Mode)
	say("severity", "%s", d.Severity)
	say("entity", "%s %s of tenant %s", d.EntityBy, d.Entity, d.Tenant)
	say("reason", "%s", d.Reason)
	say("call", "%s on %s by agent %s as %s (id %s)", d.Action, d.Resource, d.Agent, d.Identity, d.CallID)
	say("chain", "%s", strings.Join(d.Chain, " > "))
	if d.Reason == byEvidenceReason {
		say("evidence", "the odds against its baseline are %.3g to 1; the alarm is at %.3g to 1", math.Exp(d.LogEvidence), math.Exp(d.LogLevel))
		say("budget", "%s", d.Budget)
	}
	say("first bad call", "%s", d.FirstBad)
	say("answered by revocation", "%s", d.Revocation)
	if g := d.Graph; g != nil {
		if g.Reach != nil {
			say("blast radius", "%d agents, %d identities, %d resources, %.0f %% of the tenant's; nearest: %s",
				g.Reach.Agents, g.Reach.Identities, g.Reach.Resources, 100*g.Reach.Share, strings.Join(g.Reach.Nearest, ", "))
		}
		var peers []string
		for _, p := range g.Peers {
			peers = append(peers, p.Agent)
		}
		say("nearest peers", "%s", strings.Join(peers, ", "))
	}
	return f
}

// features tells of each feature what was observed and what was expected. Where the baseline could not speak yet, nothing was.
func features(d detector.Detection) *data.Frame {
	f := newFrame("features", "feature")
	f.Fields = append(f.Fields, data.NewField("observed", nil, []float64{}))
	for _, name := range []string{"expected", "low", "high", "probability"} {
		f.Fields = append(f.Fields, data.NewField(name, nil, []*float64{}))
	}
	f.Fields = append(f.Fields, data.NewField("log_evidence", nil, []float64{}))
	for _, s := range d.Features {
		told := func(v float64) *float64 {
			if !s.Known {
				return nil
			}
			return &v
		}
		f.AppendRow(s.Feature, s.Observed, told(s.Expected), told(s.Low), told(s.High), told(math.Exp(s.LogP)), s.LogEvidence)
	}
	return f
}
