package eval

import (
	"cmp"
	"io"
	"maps"
	"slices"

	"github.com/estop-project/estop/bench/report"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// cloudTrailSet measures on records of a real account under a simulated attack, and on
// detonation logs of single techniques, each grafted on the work of honest agents.
func cloudTrailSet(m *measurement) error {
	if err := invictus(m); err != nil {
		return err
	}
	return stratus(m)
}

// invictus plays the records of the real account as they came. It has too little honest
// history for a false-kill rate.
func invictus(m *measurement) error {
	if err := m.step("a real account under attack"); err != nil {
		return err
	}
	attacks, err := labels(m.file("invictus.jsonl.gz"))
	if err != nil {
		return err
	}
	calls, err := records(m.file("raw", "invictus.cloudtrail.jsonl.gz"))
	if err != nil {
		return err
	}
	byAgent := map[string]*attack{} // agents with attack calls
	for _, c := range calls {
		if attacks[string(c.ID)] != "" {
			name := string(c.Agent)
			byAgent[name] = &attack{name: name, tenant: string(c.Tenant), agent: name}
		}
	}
	var all []*attack
	for _, name := range slices.Sorted(maps.Keys(byAgent)) {
		all = append(all, byAgent[name])
	}
	x, err := newAttacked(m.opt.Plan, nil, all...)
	if err != nil {
		return err
	}
	for _, c := range calls {
		if attacks[string(c.ID)] != "" {
			x.call(c, byAgent[string(c.Agent)])
		} else {
			x.call(c, nil)
		}
	}
	o := outcomeOf(all)
	m.add(float64(o.stopped), "agents", report.Goal{}, "account under attack (real): agents with attack calls that are stopped, of %d", o.all)
	m.add(float64(o.prevented), "calls", report.Goal{}, "account under attack (real): attack calls that kills prevented, of %d", o.bad)
	m.add(float64(len(x.wrong)), "agents", report.AtMost(0), "account under attack (real): agents without attack calls that are stopped")
	return nil
}

// labels returns the technique of each attack call, by id. One that has no name is "attack".
func labels(path string) (map[string]string, error) {
	attacks := map[string]string{}
	err := each(path, func(row *row) error {
		if row.bad() {
			attacks[row.ID] = cmp.Or(row.Attack, "attack")
		}
		return nil
	})
	return attacks, err
}

// records decodes a file of raw CloudTrail records as production does.
func records(path string) ([]*telemetry.Call, error) {
	in, err := unpacked(path)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	return decoded(in)
}

// decoded returns the calls of a stream of CloudTrail records.
func decoded(r io.Reader) ([]*telemetry.Call, error) {
	var d telemetry.Decoder
	var c telemetry.Call
	var calls []*telemetry.Call
	for raw, err := range telemetry.Split(r, telemetry.CloudTrail, telemetry.Limits{}) {
		if err != nil {
			return nil, err
		}
		d.Start(raw.Format, raw.Bytes)
		if err := d.Next(&c); err != nil {
			return nil, err
		}
		calls = append(calls, c.Clone())
	}
	return calls, nil
}

// stratus grafts every technique on agents of an honest account.
func stratus(m *measurement) error {
	if err := m.step("honest account"); err != nil {
		return err
	}
	honestCalls, err := account(m)
	if err != nil {
		return err
	}
	techniques, err := techniques(m)
	if err != nil {
		return err
	}
	h := newHonest(m.opt.Plan, nil, false)
	var g *grafts
	err = parallel(func() error {
		for _, c := range honestCalls {
			*h.next() = *c
		}
		h.end()
		return m.ctx.Err()
	}, func() (err error) {
		g, err = newGrafts(m.opt.Plan, honestCalls, m.much(graftHosts, 2))
		return err
	})
	if err != nil {
		return err
	}
	m.add(dispersion(honestCalls), "times", report.Goal{}, "honest account (synthetic): variance of an agent's calls in an hour over their mean, median of busy agents")
	h.report(m, "honest account (synthetic)")
	return g.measure(m, techniques)
}

// technique is what was recorded of one, in order of time.
type technique struct {
	name  string
	calls []*telemetry.Call
}

func techniques(m *measurement) ([]technique, error) {
	names, err := labels(m.file("stratus.jsonl.gz"))
	if err != nil {
		return nil, err
	}
	calls, err := records(m.file("raw", "stratus.cloudtrail.jsonl.gz"))
	if err != nil {
		return nil, err
	}
	byName := map[string][]*telemetry.Call{}
	for _, c := range calls {
		if name := names[string(c.ID)]; name != "" {
			byName[name] = append(byName[name], c)
		}
	}
	var all []technique
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		calls := byName[name]
		slices.SortStableFunc(calls, func(a, b *telemetry.Call) int { return cmp.Compare(a.Time, b.Time) })
		all = append(all, technique{name, calls})
	}
	if m.opt.Quick {
		all = all[:min(len(all), 2)]
	}
	return all, nil
}
