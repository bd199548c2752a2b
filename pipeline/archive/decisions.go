package archive

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/revoke"
)

// decisions projects what the interlock held back, what people decided of it, and what guards did not confirm, one a record.
type decisions struct {
	*batch
	ts, issuedAt, until *column[time.Time]
	texts               []*column[string]
}

func newDecisions(log string) *decisions {
	b := newBatch("decisions", log)
	d := &decisions{
		batch:    b,
		ts:       addColumn[time.Time](b, "ts", "DateTime64(9, 'UTC')"),
		issuedAt: addColumn[time.Time](b, "issued_at", "DateTime64(9, 'UTC')"),
		until:    addColumn[time.Time](b, "until", "DateTime64(9, 'UTC')"),
	}
	for _, c := range [][2]string{
		{"id", "String"}, {"verdict", lowText}, {"by", "String"}, {"why", "String"},
		{"tenant", lowText}, {"scope", lowText}, {"subject", "String"}, {"action", lowText},
		{"detector", lowText}, {"detection", "String"}, {"reason", "String"}, {"revocation", "String"}, {"proposal", "String"},
	} {
		d.texts = append(d.texts, addColumn[string](b, c[0], c[1]))
	}
	return d
}

func (d *decisions) add(r *kgo.Record) error {
	var v revoke.Decision
	if err := parseJSON(r, &v); err != nil {
		return err
	}
	proposal, err := proposalOf(v)
	if err != nil {
		return err
	}
	o := &v.Order
	d.begin(r, 0, len(r.Value))
	d.ts.add(eventTime(v.At))
	d.issuedAt.add(eventTime(o.IssuedAt))
	d.until.add(eventTime(o.Until))
	for i, text := range []string{
		o.ID, string(v.Verdict), v.By, v.Why, o.Tenant, string(o.Scope), o.Subject, string(o.Action),
		o.Detector, o.Detection, o.Reason, v.Revocation, proposal,
	} {
		d.texts[i].add(text)
	}
	return nil
}

// proposalOf returns what another operator needs to agree to what was proposed.
func proposalOf(v revoke.Decision) (string, error) {
	if v.Verdict != revoke.Proposed {
		return "", nil
	}
	b, err := json.Marshal(revoke.Proposal{Order: v.Order, Approval: v.Approval})
	return string(b), err
}

// Waiting is a stop that the interlock holds back, or what an operator has proposed. Of one target the last one waits.
type Waiting struct {
	revoke.Decision
	Times uint64 `json:"times"` // how often the target was held back in the time that is looked at
}

// Queue returns what waits for a person at a time: stops that the interlock held back, and what an operator
// has proposed, which would not have ended yet, of targets about which nobody has decided since. Whoever has stopped, or released, by hand
// what the interlock held back has decided too. The oldest stand first. An empty id means all.
func (r *Reader) Queue(ctx context.Context, now time.Time, id string) ([]Waiting, error) {
	rows, err := r.store.Query(ctx, "SELECT id, ts, why, tenant, scope, subject, action, issued_at, until, detector, detection, reason, times, verdict, `by`, proposal FROM"+`
		(
			SELECT *, countIf(verdict IN ('held', 'proposed')) OVER target AS times, max(if(verdict IN ('approved', 'dismissed'), toUnixTimestamp64Nano(ts), 0)) OVER target AS decided
			FROM decisions_once
			WINDOW target AS (PARTITION BY tenant, scope, subject)
		) AS d
		LEFT JOIN
		(
			SELECT tenant, scope, subject, max(toUnixTimestamp64Nano(issued_at)) AS acted
			FROM revocations WHERE initiator = 'admin' GROUP BY tenant, scope, subject
		) AS hands USING (tenant, scope, subject)
		WHERE verdict IN ('held', 'proposed') AND toUnixTimestamp64Nano(ts) > decided AND (verdict = 'proposed' OR toUnixTimestamp64Nano(ts) > acted)
		ORDER BY ts DESC, id LIMIT 1 BY tenant, scope, subject`)
	if err != nil {
		return nil, fmt.Errorf("cannot read what waits for a person: %w", err)
	}
	defer rows.Close()
	all := []Waiting{}
	for rows.Next() {
		w := Waiting{Decision: revoke.Decision{Verdict: revoke.Held}}
		o := &w.Order
		o.Initiator = revoke.Policy
		var proposal string
		if err := rows.Scan(&o.ID, &w.At, &w.Why, &o.Tenant, (*string)(&o.Scope), &o.Subject, (*string)(&o.Action), &o.IssuedAt, &o.Until,
			&o.Detector, &o.Detection, &o.Reason, &w.Times, (*string)(&w.Verdict), &w.By, &proposal); err != nil {
			return nil, fmt.Errorf("cannot read what waits for a person: %w", err)
		}
		if proposal != "" {
			p, err := revoke.ParseProposal([]byte(proposal))
			if err != nil {
				return nil, fmt.Errorf("cannot read what waits for a second operator: %w", err)
			}
			w.Order, w.Approval = p.Order, p.Approval
		}
		if now.Before(o.Until) && (id == "" || id == o.ID) {
			all = append(all, w)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("cannot read on in what waits for a person: %w", err)
	}
	slices.Reverse(all)
	return all, nil
}
