package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/coverage"
)

// DrillOptions say what a drill does.
type DrillOptions struct {
	// Tenant whose guards are tried; empty: as many tenants as it takes to try every guard.
	Tenant string
	Count  int           // revocations to each tenant
	Wait   time.Duration // how long the guards may take for each
	kind   string        // marks those that are on a schedule
}

// Drill is what revocations that stop nobody found out, from the signing key to the guards and back.
type Drill struct {
	At      time.Time `json:"at"`
	Tenants []string  `json:"tenants"`
	Count   int       `json:"count"` // revocations to each tenant
	// Expected is how many acknowledgements were to come, Confirmed how many did in time.
	Expected  int     `json:"expected"`
	Confirmed int     `json:"confirmed"`
	Coverage  float64 `json:"coverage"` // Confirmed / Expected
	Times
	Guards  []DrilledGuard `json:"guards"`
	Missing []string       `json:"missing"` // guards that lack an acknowledgement
}

// Times are from before a revocation is published to when its acknowledgement is here, by one clock: an upper
// bound of the time to stop.
type Times struct {
	P50   time.Duration `json:"p50_ns"`
	P99   time.Duration `json:"p99_ns"`
	Worst time.Duration `json:"worst_ns"`
}

// DrilledGuard is one guard in a drill.
type DrilledGuard struct {
	Guard     string         `json:"guard"`
	State     coverage.State `json:"state"` // before the drill
	Expected  int            `json:"expected"`
	Confirmed int            `json:"confirmed"`
	Times
	took []time.Duration
}

// drillTenant is whose session a drill stops where all guards serve all tenants.
const drillTenant = "estop-drill"

// Drill fires revocations that stop nobody and waits for every known guard. Guards that lack one give an error
// that wraps revoke.ErrUnconfirmed, and none at all ErrNoGuard. progress may be nil.
func (k *Control) Drill(ctx context.Context, o DrillOptions, progress func(done, of int)) (Drill, error) {
	guards, err := coverage.Ask(ctx, k.nats, o.Tenant)
	if err != nil {
		return Drill{}, err
	}
	guards = slices.DeleteFunc(guards, func(g coverage.Guard) bool { return !g.Known() })
	d := Drill{At: time.Now(), Count: o.Count, Tenants: []string{o.Tenant}, Guards: []DrilledGuard{}, Missing: []string{}}
	if o.Tenant == "" {
		d.Tenants = tenantsOf(guards)
	}
	if len(guards) == 0 {
		return d, ErrNoGuard
	}
	of := make(map[string]*DrilledGuard, len(guards))
	for _, g := range guards {
		of[g.Guard] = &DrilledGuard{Guard: g.Guard, State: g.State}
	}
	heard := make(chan heardAck, 1<<16)
	acks, err := revoke.CollectAcks(k.nats, func(a revoke.Ack) { heard <- heardAck{a, time.Now()} }, nil)
	if err != nil {
		return d, err
	}
	defer acks.Close()
	for i := range o.Count {
		for j, tenant := range d.Tenants {
			if err := k.drillOnce(ctx, tenant, o, of, servingOf(guards, tenant, o.Tenant), heard); err != nil {
				return d, err
			}
			if progress != nil {
				progress(i*len(d.Tenants)+j+1, o.Count*len(d.Tenants))
			}
		}
	}
	d.sum(of)
	if len(d.Missing) > 0 {
		return d, fmt.Errorf("the drill is %w: %s", revoke.ErrUnconfirmed, strings.Join(d.Missing, ", "))
	}
	return d, nil
}

type heardAck struct {
	revoke.Ack
	at time.Time
}

// tenantsOf returns tenants so that each guard serves one of them.
func tenantsOf(guards []coverage.Guard) []string {
	var tenants []string
	for _, g := range guards {
		if !g.All && len(g.Tenants) > 0 && !slices.ContainsFunc(tenants, g.Serves) {
			tenants = append(tenants, g.Tenants[0])
		}
	}
	if len(tenants) == 0 {
		tenants = []string{drillTenant}
	}
	return tenants
}

// servingOf returns the names of guards that serve a tenant. Where all were asked for by that tenant, all do.
func servingOf(guards []coverage.Guard, tenant, asked string) []string {
	var names []string
	for _, g := range guards {
		if asked != "" || g.Serves(tenant) {
			names = append(names, g.Guard)
		}
	}
	return names
}

func (k *Control) drillOnce(ctx context.Context, tenant string, o DrillOptions, of map[string]*DrilledGuard, names []string, heard <-chan heardAck) error {
	record, err := k.client.DrillRecord(tenant, o.kind)
	if err != nil {
		return err
	}
	lacking := map[string]bool{}
	for _, name := range names {
		lacking[name] = true
		of[name].Expected++
	}
	began := time.Now()
	stored, err := k.client.Publisher().Publish(ctx, record)
	if err != nil {
		return err
	}
	timeout := time.NewTimer(o.Wait)
	defer timeout.Stop()
	for waiting := true; waiting && len(lacking) > 0; {
		select {
		case a := <-heard:
			if a.Revocation != record.ID || !lacking[a.Guard] || a.Report() {
				continue
			}
			delete(lacking, a.Guard)
			g := of[a.Guard]
			g.Confirmed++
			g.took = append(g.took, a.at.Sub(began))
		case <-timeout.C:
			waiting = false
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	keeping, cancel := context.WithTimeout(ctx, keepWait)
	defer cancel()
	// The next one waits for it: what a drill leaves behind is written down before it says that all is well.
	kept := k.kafka.ProduceSync(keeping, pipeline.RevocationRecord(record)).FirstErr()
	return errors.Join(stored.Wait(keeping), kept)
}

// sum makes the figures of the drill out of those of its guards.
func (d *Drill) sum(of map[string]*DrilledGuard) {
	var all []time.Duration
	for _, name := range slices.Sorted(maps.Keys(of)) {
		g := of[name]
		g.Times = timesOf(g.took)
		all = append(all, g.took...)
		d.Expected += g.Expected
		d.Confirmed += g.Confirmed
		if g.Confirmed < g.Expected {
			d.Missing = append(d.Missing, name)
		}
		d.Guards = append(d.Guards, *g)
	}
	slices.SortStableFunc(d.Guards, func(a, b DrilledGuard) int { return cmp.Compare(b.Worst, a.Worst) })
	d.Times = timesOf(all)
	d.Coverage = float64(d.Confirmed) / float64(max(d.Expected, 1))
}

func timesOf(took []time.Duration) Times {
	if len(took) == 0 {
		return Times{}
	}
	slices.Sort(took)
	at := func(q float64) time.Duration { return took[int(math.Ceil(q*float64(len(took))))-1] }
	return Times{P50: at(0.5), P99: at(0.99), Worst: took[len(took)-1]}
}
