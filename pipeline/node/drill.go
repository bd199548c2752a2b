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

	"github.com/nats-io/nats.go"

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
	// Calls makes it go the whole way: in place of the revocation a marked call is sent, which the detect role answers with one.
	Calls bool
	kind  string // marks those that are on a schedule
}

// Drill is what revocations that stop nobody found out, from the signing key, or from a call on, to the guards and back.
type Drill struct {
	At      time.Time `json:"at"`
	Calls   bool      `json:"calls"` // it went the whole way
	Tenants []string  `json:"tenants"`
	Count   int       `json:"count"` // revocations to each tenant
	// Sent is how many revocations or marked calls were sent, and Judged how many of the calls the detect role answered
	// in time; Detect is how long that took.
	Sent   int    `json:"sent"`
	Judged int    `json:"judged,omitempty"`
	Detect *Times `json:"detect,omitempty"`
	// Expected is how many acknowledgements were to come, Confirmed how many did in time.
	Expected  int     `json:"expected"`
	Confirmed int     `json:"confirmed"`
	Coverage  float64 `json:"coverage"` // Confirmed / Expected
	Times
	Guards  []DrilledGuard  `json:"guards"`
	Missing []string        `json:"missing"` // guards that lack an acknowledgement
	took    []time.Duration // that the detect role took
}

// Times are from before a revocation is published, or a marked call appended, to when its acknowledgement is here, by one
// clock: an upper bound of the time to stop.
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

// ErrNotJudged says that the detect role did not answer marked calls: whatever it should stop goes on.
var ErrNotJudged = errors.New("the detect role did not answer in time")

// Drill fires revocations that stop nobody and waits for every known guard. Guards that lack one give an error
// that wraps revoke.ErrUnconfirmed, and none at all ErrNoGuard; calls that nobody judges ErrNotJudged. What came of it is
// written down. progress may be nil.
func (k *Control) Drill(ctx context.Context, o DrillOptions, progress func(done, of int)) (Drill, error) {
	guards, err := coverage.Ask(ctx, k.nats, o.Tenant)
	if err != nil {
		return Drill{}, err
	}
	guards = slices.DeleteFunc(guards, func(g coverage.Guard) bool { return !g.Known() })
	d := Drill{At: time.Now(), Calls: o.Calls, Count: o.Count, Tenants: []string{o.Tenant}, Guards: []DrilledGuard{}, Missing: []string{}}
	if o.Tenant == "" {
		d.Tenants = tenantsOf(guards)
	}
	if len(guards) == 0 {
		return d, ErrNoGuard
	}
	r, err := k.newDriller(o, guards)
	if err != nil {
		return d, err
	}
	defer r.close()
	for i := range o.Count {
		for j, tenant := range d.Tenants {
			if err := r.once(ctx, tenant, servingOf(guards, tenant, o.Tenant)); err != nil {
				return d, err
			}
			if progress != nil {
				progress(i*len(d.Tenants)+j+1, o.Count*len(d.Tenants))
			}
		}
	}
	d.sum(r.of)
	d.judged(o.Calls, r)
	err = d.outcome()
	return d, errors.Join(err, k.record(revoke.Decision{Verdict: revoke.Drilled, Why: d.String(), Order: r.last, Revocation: r.last.ID}))
}

// judged takes in how far the detect role came.
func (d *Drill) judged(calls bool, r *driller) {
	d.Sent = r.sent
	if calls {
		d.Judged = len(r.judged)
		d.took = r.judged
		t := timesOf(r.judged)
		d.Detect = &t
	}
}

// outcome is what was wrong.
func (d *Drill) outcome() error {
	var all []error
	if d.Calls && d.Judged < d.Sent {
		all = append(all, fmt.Errorf("%d of %d marked calls: %w", d.Sent-d.Judged, d.Sent, ErrNotJudged))
	}
	if len(d.Missing) > 0 {
		all = append(all, fmt.Errorf("the drill is %w: %s", revoke.ErrUnconfirmed, strings.Join(d.Missing, ", ")))
	}
	return errors.Join(all...)
}

// String says in one line what came of the drill.
func (d *Drill) String() string {
	round := func(t time.Duration) time.Duration { return t.Round(10 * time.Microsecond) }
	text := fmt.Sprintf("%d of %d confirmed, p50 %v, p99 %v, worst %v", d.Confirmed, d.Expected, round(d.P50), round(d.P99), round(d.Worst))
	if d.Calls {
		text += fmt.Sprintf("; %d of %d calls judged", d.Judged, d.Sent)
	}
	if len(d.Missing) > 0 {
		text += "; missing: " + strings.Join(d.Missing[:min(len(d.Missing), maxNamed)], ", ")
	}
	return text
}

// maxNamed bounds how many guards a record names.
const maxNamed = 50

// driller sends what a drill sends and hears what comes of it.
type driller struct {
	*Control
	o      DrillOptions
	of     map[string]*DrilledGuard
	heard  chan heard
	acks   *revoke.AckCollector
	orders *nats.Subscription
	sent   int
	judged []time.Duration
	last   revoke.Revocation
}

// heard is an acknowledgement, or the publication of a revocation.
type heard struct {
	ack     revoke.Ack
	subject string // of the publication; empty: an acknowledgement
	at      time.Time
}

func (k *Control) newDriller(o DrillOptions, guards []coverage.Guard) (*driller, error) {
	r := &driller{Control: k, o: o, of: make(map[string]*DrilledGuard, len(guards)), heard: make(chan heard, 1<<16)}
	for _, g := range guards {
		r.of[g.Guard] = &DrilledGuard{Guard: g.Guard, State: g.State}
	}
	var err error
	if r.orders, err = k.nats.Subscribe(drilledSubjects, func(m *nats.Msg) { r.heard <- heard{subject: m.Subject, at: time.Now()} }); err != nil {
		return nil, fmt.Errorf("cannot hear what is revoked: %w", err)
	}
	if r.acks, err = revoke.CollectAcks(k.nats, func(a revoke.Ack) { r.heard <- heard{ack: a, at: time.Now()} }, nil); err != nil {
		_ = r.orders.Unsubscribe() // it fails only where the connection is closed already
		return nil, err
	}
	return r, nil
}

func (r *driller) close() {
	_ = r.orders.Unsubscribe() // it fails only where the connection is closed already
	_ = r.acks.Close()
}

// drilledSubjects are those of what drills stop.
const drilledSubjects = revoke.RevokePrefix + ".*." + string(revoke.Session) + ".*"

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

// once sends one revocation, or the call that leads to it, and waits for those who must confirm it.
func (r *driller) once(ctx context.Context, tenant string, names []string) error {
	record, err := r.client.DrillRecord(tenant, r.o.kind)
	if err != nil {
		return err
	}
	lacking := map[string]bool{}
	for _, name := range names {
		lacking[name] = true
		r.of[name].Expected++
	}
	began := time.Now()
	kept, err := r.send(ctx, record)
	if err != nil {
		return err
	}
	r.sent++
	r.last = record.Revocation
	if err := r.await(ctx, record, began, lacking); err != nil {
		return err
	}
	keeping, cancel := context.WithTimeout(ctx, keepWait)
	defer cancel()
	// The next one waits for it: what a drill leaves behind is written down before it says that all is well.
	return kept(keeping)
}

// send sends the call, or the revocation, and returns what waits until it is kept.
func (r *driller) send(ctx context.Context, record revoke.Record) (kept func(context.Context) error, err error) {
	if r.o.Calls {
		ctx, cancel := context.WithTimeout(ctx, keepWait)
		defer cancel()
		if err := r.kafka.ProduceSync(ctx, pipeline.DrillCall(record, time.Now())).FirstErr(); err != nil {
			return nil, fmt.Errorf("cannot append the marked call of a drill: %w", err)
		}
		return func(context.Context) error { return nil }, nil // the detect role writes down what it did
	}
	stored, err := r.client.Publisher().Publish(ctx, record)
	return func(ctx context.Context) error {
		return errors.Join(stored.Wait(ctx), r.kafka.ProduceSync(ctx, pipeline.RevocationRecord(record)).FirstErr())
	}, err
}

// await waits until nobody lacks the revocation, and, where a call leads to it, until it is published.
func (r *driller) await(ctx context.Context, record revoke.Record, began time.Time, lacking map[string]bool) error {
	subject := revoke.Subject(record.Revocation)
	judging := r.o.Calls
	timeout := time.NewTimer(r.o.Wait)
	defer timeout.Stop()
	for judging || len(lacking) > 0 {
		select {
		case h := <-r.heard:
			switch {
			case h.subject != "":
				if judging && h.subject == subject {
					judging = false
					r.judged = append(r.judged, h.at.Sub(began))
				}
			case h.ack.Revocation == record.ID && lacking[h.ack.Guard] && !h.ack.Report():
				delete(lacking, h.ack.Guard)
				g := r.of[h.ack.Guard]
				g.Confirmed++
				g.took = append(g.took, h.at.Sub(began))
			}
		case <-timeout.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
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
