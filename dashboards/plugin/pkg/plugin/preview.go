package plugin

import (
	"context"
	"fmt"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"github.com/estop-project/estop/revoke"
)

// Preview is what an order would hit, for whoever is asked whether they are sure.
type Preview struct {
	Target
	// What used the target in the last day: a stop hits these.
	Agents    uint64     `json:"agents"`
	Sessions  uint64     `json:"sessions"`
	Calls     uint64     `json:"calls"`
	LastCall  *time.Time `json:"last_call"`
	Resources uint64     `json:"resources"`
	// Below are the agents that act for an agent, and are not stopped with it unless the scope is chain.
	Below []string `json:"below"`

	// Active says what is in force on the target now.
	Active *Active `json:"active"`
	// Guards are those that said lately that they serve the tenant: they would have to acknowledge.
	Guards uint64 `json:"guards"`
	// StoppedByDetectors is how many targets of the tenant detectors stopped in the last ten minutes, and Held how many stops
	// of it wait for a person. The interlock bounds detectors; it does not bound people.
	StoppedByDetectors uint64 `json:"stopped_by_detectors"`
	Held               int    `json:"held"`
	// TwoToStop and TwoToRelease say that guards want a second operator.
	TwoToStop    bool `json:"two_to_stop"`
	TwoToRelease bool `json:"two_to_release"`
	// Refused says why this person could not act; empty: they could.
	Refused string `json:"refused,omitempty"`
}

// Active is a revocation in force.
type Active struct {
	ID     string    `json:"id"`
	Action string    `json:"action"`
	Until  time.Time `json:"until"`
	By     string    `json:"by"`
	Reason string    `json:"reason"`
}

// listed bounds how many names a preview holds.
const listed = 20

// targets is the condition that a call is the target's. A chain is a member and all below it.
var targets = map[revoke.Scope]string{
	revoke.Agent:    "tenant = {tenant:String} AND agent = {subject:String}",
	revoke.Identity: "tenant = {tenant:String} AND identity = {subject:String}",
	revoke.Session:  "tenant = {tenant:String} AND session = {subject:String}",
	revoke.Chain:    "tenant = {tenant:String} AND (agent = {subject:String} OR has(chain, {subject:String}))",
	revoke.Tenant:   "tenant = {tenant:String} AND {subject:String} != ''",
	revoke.Global:   "{tenant:String} != '' AND {subject:String} != ''",
}

func (d *Datasource) preview(ctx context.Context, u *backend.User, o Order) (Preview, error) {
	if err := d.target(&o.Target); err != nil {
		return Preview{}, err
	}
	store, err := d.clickHouse()
	if err != nil {
		return Preview{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, d.settings.timeout())
	defer cancel()
	p := Preview{Target: o.Target, Below: []string{}}
	for _, read := range []func(context.Context, driver.Conn, []any) error{p.readCalls, p.readBelow, p.readActive, p.readGuards, p.readStops} {
		if err := read(ctx, store, []any{ch.Named("tenant", o.Tenant), ch.Named("subject", o.Subject), ch.Named("scope", string(o.Scope))}); err != nil {
			return p, fmt.Errorf("cannot tell what would be hit: %w", err)
		}
	}
	waiting, err := d.queue(ctx, "")
	if err != nil {
		return p, err
	}
	for _, w := range waiting {
		if w.Order.Tenant == o.Tenant {
			p.Held++
		}
	}
	return p, d.rules(&p, u)
}

// rules says what guards want of an order.
func (d *Datasource) rules(p *Preview, u *backend.User) error {
	v, err := d.verifier()
	if err == nil {
		_, err = d.operatorKey(u.Login)
	}
	if err != nil {
		p.Refused = err.Error()
		return nil
	}
	r := revoke.Revocation{Tenant: p.Tenant, Scope: p.Scope, Subject: p.Subject, Action: revoke.Revoke, Initiator: revoke.Admin, Until: time.Now().Add(revoke.MaxDuration)}
	p.TwoToStop = v.Rules.Wants(r)
	r.Action = revoke.Release
	p.TwoToRelease = v.Rules.Wants(r)
	return nil
}

func (p *Preview) readCalls(ctx context.Context, store driver.Conn, named []any) error {
	var last time.Time
	err := store.QueryRow(ctx, `SELECT uniqExact(tenant, agent), uniqExact(session), count(), uniqExact(resource), max(ts) FROM calls
		WHERE ts > now() - INTERVAL 1 DAY AND `+targets[p.Scope], named...).Scan(&p.Agents, &p.Sessions, &p.Calls, &p.Resources, &last)
	if p.Calls > 0 {
		p.LastCall = &last
	}
	return err
}

func (p *Preview) readBelow(ctx context.Context, store driver.Conn, named []any) error {
	if p.Scope != revoke.Agent && p.Scope != revoke.Chain {
		return nil
	}
	return store.QueryRow(ctx, fmt.Sprintf(`SELECT arraySort(groupUniqArray(%d)(toString(agent))) FROM access_edges
		WHERE tenant = {tenant:String} AND kind = 'parent' AND target = {subject:String}`, listed), named...).Scan(&p.Below)
}

func (p *Preview) readActive(ctx context.Context, store driver.Conn, named []any) error {
	var a Active
	var n uint64
	err := store.QueryRow(ctx, `SELECT count(), argMax(id, at), argMax(action, at), argMax(until, at), argMax(if(`+"`by`"+` != '', `+"`by`"+`, detector), at), argMax(reason, at)
		FROM (SELECT *, (issued_at, ingested_at) AS at FROM revocations_once WHERE tenant = {tenant:String} AND scope = {scope:String} AND subject = {subject:String})`, named...).
		Scan(&n, &a.ID, &a.Action, &a.Until, &a.By, &a.Reason)
	if n > 0 && a.Action != string(revoke.Release) && a.Until.After(time.Now()) {
		p.Active = &a
	}
	return err
}

func (p *Preview) readGuards(ctx context.Context, store driver.Conn, named []any) error {
	return store.QueryRow(ctx, `SELECT count() FROM guards_last WHERE kind != 'bye' AND ts > now() - INTERVAL 130 SECOND
		AND (all OR has(tenants, {tenant:String}) OR {scope:String} = 'global')`, named...).Scan(&p.Guards)
}

func (p *Preview) readStops(ctx context.Context, store driver.Conn, named []any) error {
	return store.QueryRow(ctx, `SELECT uniqExact(tenant, scope, subject) FROM revocations
		WHERE issued_at > now() - INTERVAL 10 MINUTE AND initiator = 'policy' AND action != 'release' AND (tenant = {tenant:String} OR {scope:String} = 'global')`, named...).
		Scan(&p.StoppedByDetectors)
}
