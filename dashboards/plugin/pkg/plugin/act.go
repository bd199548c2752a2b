package plugin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"github.com/estop-project/estop/pipeline/node"
	"github.com/estop-project/estop/revoke"
)

// Target is what is to be stopped or released.
type Target struct {
	Tenant  string       `json:"tenant"`
	Scope   revoke.Scope `json:"scope"`
	Subject string       `json:"subject"`
}

// Order is what a person wants.
type Order struct {
	Target
	Action revoke.Action `json:"action"` // of a kill: throttle, restrict or revoke (empty)
	For    string        `json:"for"`    // of a kill: how long, such as 15m
	Shield string        `json:"shield"` // of a release: for how long detectors cannot stop it again; empty: 10m
	Reason string        `json:"reason"`
	// Propose lets it wait for a second operator.
	Propose bool `json:"propose"`
}

// Verdict is what a person says of what waits.
type Verdict struct {
	ID     string `json:"id"`
	Reason string `json:"reason"`
}

// Outcome is what came of an act.
type Outcome struct {
	// Confirmed says that all guards that are known to serve the tenant enforce it. Only then is anything known to be stopped.
	Confirmed bool `json:"confirmed"`
	// Warning says what is not known or not kept.
	Warning string           `json:"warning,omitempty"`
	By      string           `json:"by"`
	Stopped *node.Stopped    `json:"stopped,omitempty"`
	Waits   *revoke.Proposal `json:"waits,omitempty"` // for a second operator
}

// errOrder is wrapped where an order is not what it should be.
var errOrder = errors.New("wrong order")

// target checks what is meant. An empty field never means all.
func (d *Datasource) target(t *Target) error {
	switch t.Scope {
	case revoke.Global:
		if !d.settings.AllTenants {
			return fmt.Errorf("%w: everything", errScope)
		}
		if t.Tenant != "" || t.Subject != "" {
			return fmt.Errorf("%w: the scope global has neither tenant nor subject", errOrder)
		}
		t.Tenant, t.Subject = revoke.Everything, revoke.Everything
		return nil
	case revoke.Tenant:
		if t.Subject != "" && t.Subject != t.Tenant {
			return fmt.Errorf("%w: the scope tenant has no other subject than the tenant", errOrder)
		}
		t.Subject = t.Tenant
	case revoke.Agent, revoke.Identity, revoke.Session, revoke.Chain:
	default:
		return fmt.Errorf("%w: scope %q is none of session, identity, agent, chain, tenant, global", errOrder, t.Scope)
	}
	if t.Tenant == "" || t.Subject == "" {
		return fmt.Errorf("%w: name a tenant and a subject", errOrder)
	}
	if !d.settings.serves(t.Tenant, t.Scope) {
		return fmt.Errorf("%w: %q", errScope, t.Tenant)
	}
	return nil
}

// stop is the revocation that an order means.
func (d *Datasource) stop(o *Order) (revoke.Revocation, error) {
	if err := d.target(&o.Target); err != nil {
		return revoke.Revocation{}, err
	}
	length, err := time.ParseDuration(o.For)
	if err != nil || length <= 0 {
		return revoke.Revocation{}, fmt.Errorf("%w: for: %q is no time, such as 15m", errOrder, o.For)
	}
	if o.Action == "" {
		o.Action = revoke.Revoke
	}
	if o.Action == revoke.Release || !o.Action.Valid() {
		return revoke.Revocation{}, fmt.Errorf("%w: action %q is none of throttle, restrict, revoke", errOrder, o.Action)
	}
	if o.Reason == "" {
		return revoke.Revocation{}, fmt.Errorf("%w: a reason is needed; whoever is denied reads it", errOrder)
	}
	now := time.Now()
	return revoke.Revocation{Tenant: o.Tenant, Scope: o.Scope, Subject: o.Subject, Action: o.Action, IssuedAt: now, Until: now.Add(length), Reason: o.Reason}, nil
}

func (d *Datasource) kill(ctx context.Context, u *backend.User, o Order) (Outcome, error) {
	r, err := d.stop(&o)
	if err != nil {
		return Outcome{}, err
	}
	return d.act(ctx, u, func(ctx context.Context, k *node.Control) (Outcome, error) {
		if o.Propose {
			return waits(k.Propose(r))
		}
		return stopped(k.Kill(ctx, r))
	})
}

func (d *Datasource) release(ctx context.Context, u *backend.User, o Order) (Outcome, error) {
	if err := d.target(&o.Target); err != nil {
		return Outcome{}, err
	}
	if o.Reason == "" {
		return Outcome{}, fmt.Errorf("%w: a reason is needed", errOrder)
	}
	shield := 10 * time.Minute
	if o.Shield != "" {
		var err error
		if shield, err = time.ParseDuration(o.Shield); err != nil || shield < 0 {
			return Outcome{}, fmt.Errorf("%w: shield: %q is no time, such as 10m", errOrder, o.Shield)
		}
	}
	return d.act(ctx, u, func(ctx context.Context, k *node.Control) (Outcome, error) {
		if o.Propose {
			return waits(k.ProposeRelease(ctx, o.Tenant, o.Scope, o.Subject, o.Reason, shield))
		}
		return stopped(k.Release(ctx, o.Tenant, o.Scope, o.Subject, o.Reason, shield))
	})
}

func (d *Datasource) approve(ctx context.Context, u *backend.User, v Verdict) (Outcome, error) {
	held, err := d.held(ctx, v)
	if err != nil {
		return Outcome{}, err
	}
	return d.act(ctx, u, func(ctx context.Context, k *node.Control) (Outcome, error) {
		return stopped(k.Approve(ctx, held, v.Reason))
	})
}

func (d *Datasource) dismiss(ctx context.Context, u *backend.User, v Verdict) (Outcome, error) {
	held, err := d.held(ctx, v)
	if err != nil {
		return Outcome{}, err
	}
	return d.act(ctx, u, func(_ context.Context, k *node.Control) (Outcome, error) {
		return Outcome{}, k.Dismiss(held, v.Reason)
	})
}

// held returns what waits, if it is of a tenant that may be seen here.
func (d *Datasource) held(ctx context.Context, v Verdict) (revoke.Decision, error) {
	if v.ID == "" || v.Reason == "" {
		return revoke.Decision{}, fmt.Errorf("%w: name what waits by its id, and a reason", errOrder)
	}
	ctx, cancel := context.WithTimeout(ctx, d.settings.timeout())
	defer cancel()
	all, err := d.queue(ctx, v.ID)
	if err != nil {
		return revoke.Decision{}, err
	}
	if len(all) == 0 {
		return revoke.Decision{}, fmt.Errorf("%w: %q", node.ErrNotWaiting, v.ID)
	}
	if held := all[0].Decision; held.Order.Scope != revoke.Global || d.settings.AllTenants {
		return held, nil
	}
	return revoke.Decision{}, fmt.Errorf("%w: everything", errScope)
}

// act does something with the key of the person.
func (d *Datasource) act(ctx context.Context, u *backend.User, f func(context.Context, *node.Control) (Outcome, error)) (Outcome, error) {
	key, err := d.operatorKey(u.Login)
	if err != nil {
		return Outcome{}, err
	}
	if d.settings.NATS.URL == "" {
		return Outcome{}, errNoNATS
	}
	if len(d.settings.Kafka.Brokers) == 0 {
		return Outcome{}, errNoKafka
	}
	if _, err := d.verifier(); err != nil {
		return Outcome{}, err
	}
	c := d.config
	c.Keys.Operator = key
	// Whoever closes the browser has ordered it all the same.
	ctx = context.WithoutCancel(ctx)
	connecting, cancel := context.WithTimeout(ctx, healthWait)
	defer cancel()
	k, err := node.NewControl(connecting, c, 0, d.log)
	if err != nil {
		return Outcome{}, err
	}
	defer k.Close()
	acting, stop := context.WithTimeout(ctx, time.Duration(d.settings.Wait)*time.Second)
	defer stop()
	o, err := f(acting, k)
	o.By = u.Login
	return o, err
}

// stopped makes an outcome of what was published. What is published and not confirmed is no failure of the act, but no
// success that anybody may rely on either.
func stopped(s node.Stopped, err error) (Outcome, error) {
	if s.Revocation.ID == "" || errors.Is(err, revoke.ErrUnapproved) {
		return Outcome{}, err
	}
	o := Outcome{Confirmed: err == nil, Warning: s.Warning, Stopped: &s}
	switch {
	case err == nil:
	case errors.Is(err, revoke.ErrUnconfirmed), errors.Is(err, node.ErrNoGuard):
		o.Warning = err.Error()
	default:
		return o, err
	}
	return o, nil
}

func waits(p revoke.Proposal, err error) (Outcome, error) {
	if p.Approval == "" {
		return Outcome{}, err
	}
	o := Outcome{Waits: &p}
	if err != nil {
		o.Warning = err.Error()
	}
	return o, nil
}
