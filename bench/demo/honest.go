package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"time"

	"github.com/estop-project/estop/bench/fleet"
	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/detector/catalog"
	"github.com/estop-project/estop/pipeline/node"
)

// checkPast claims that the past's false kills are within what the detectors' budgets allow.
// Only honest agents worked in it.
func (d *demo) checkPast() error {
	set, errs := detector.Load(catalog.FS)
	if err := errs.Err(); err != nil {
		return err
	}
	allowed := falseKills(set.Plan, len(d.fleet.Agents()), historyDays)
	d.suspected = d.watch.detections(enforced)
	for _, s := range d.suspected {
		d.story.say("false kill: %s for %s at %s", s.Agent, s.Detector, s.Time.UTC().Format(time.DateTime))
	}
	d.story.claim(float64(len(d.suspected)) <= allowed, "false kills in %d honest agent-days: %d; the budgets that count agent-days allow %.0f in all",
		historyDays*len(d.fleet.Agents()), len(d.suspected), allowed)
	return nil
}

// falseKills is how many false kills the budgets allow of agents that are watched for so many days: one
// in each detector's number of days, from its warm-up on. What budgets allow of sessions and
// of identities comes on top, and is left out.
func falseKills(plan *detector.Plan, agents, days int) float64 {
	var sum float64
	for _, c := range plan.Detectors {
		if c.Mode != detector.Enforce || c.GroupBy != detector.ByAgent || c.Within || len(c.Evidence) == 0 {
			continue
		}
		known := float64(days) - c.WarmupTime.Hours()/24
		sum += float64(agents) * max(known, 0) / c.Blocks
	}
	return sum
}

// releaseHonest does what an operator does about false kills. A kill holds from when it is
// sent, so those of the past would stop honest agents now.
func (d *demo) releaseHonest(ctx context.Context) error {
	released, stopped := 0, 0
	for _, s := range d.suspected {
		a, ok := d.fleet.Agent(s.Agent)
		if !ok || s.Revocation == "" || !d.stopped(a) {
			continue
		}
		if _, err := d.control(ctx, "release", a); err != nil {
			return err
		}
		released++
		if d.stopped(a) {
			stopped++
		}
	}
	if released > 0 {
		d.story.claim(stopped == 0, "stopped for nothing: %d; 'estop release' lets them work again", released)
	}
	return nil
}

// control runs 'estop kill' or 'estop release' for an agent and waits for its gate.
func (d *demo) control(ctx context.Context, verb string, a fleet.Agent) (node.Stopped, error) {
	out, err := exec.CommandContext(ctx, d.Binary, verb, "--dir", d.Dir, "--tenant", a.Tenant, "--agent", a.Name, "--guards", "1", "--reason", "shown in the demo", "--json").Output()
	var s node.Stopped
	if err == nil {
		err = json.Unmarshal(out, &s)
	}
	if err != nil {
		return s, fmt.Errorf("estop %s: %w", verb, err)
	}
	return s, nil
}

// checkHonest claims that nobody else was stopped since the present began.
func (d *demo) checkHonest(ctx context.Context) error {
	if err := d.awaitDetect(ctx); err != nil {
		return err
	}
	wrong := d.watch.detections(func(x *detector.Detection) bool {
		return enforced(x) && d.ours(x.Tenant) && !d.isBad(x.Agent) && !x.Time.Before(d.now)
	})
	for _, w := range wrong {
		d.story.say("%s %s for %s", red("false kill:"), w.Agent, w.Detector)
		d.explain(w)
	}
	d.gates.mu.Lock()
	defer d.gates.mu.Unlock()
	honest := 0
	for agent := range d.gates.denied {
		if !d.isBad(agent) {
			honest++
		}
	}
	d.story.claim(len(wrong) == 0 && honest == 0, "no good agent was suspected or denied; %d calls were let through", d.gates.allowed)
	return d.gates.failed
}

func (d *demo) isBad(agent string) bool {
	return slices.ContainsFunc(d.bad, func(b badAgent) bool { return b.Agent == agent })
}
