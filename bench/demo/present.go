package demo

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/estop-project/estop/bench/fleet"
	"github.com/estop-project/estop/detector"
)

// badAgent is an agent that goes bad, and what came of it.
type badAgent struct {
	fleet.Attack
	expected []string      // the detectors of which one is to stop it
	spacing  time.Duration // from one call to the next

	detector string        // that stopped it
	calls    int           // that were let through
	latency  time.Duration // from the append of the breaking call to the first denied call
}

// enough calls for the baselines of the detectors to be past their warm-up.
const enough = 220

// work puts the fleet behind its gates, in real time.
func (d *demo) work(ctx context.Context) error {
	tenants := d.tenants()
	var err error
	if d.gates, err = openGates(ctx, d.config, tenants); err != nil {
		return err
	}
	if err := d.releaseHonest(ctx); err != nil {
		return err
	}
	working, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	begin := time.Now()
	go func() {
		defer close(done)
		live := d.fleet.WithRate(liveRate)
		_ = fleet.Drive(working, time.Now, begin, live.Calls(begin, time.Time{}), 1, d.gates.call) // it ends when it is told to
	}()
	d.stop = func() { cancel(); <-done }
	if err := pause(ctx, 5*time.Second); err != nil {
		return err
	}
	d.gates.mu.Lock()
	defer d.gates.mu.Unlock()
	d.story.claim(len(d.gates.denied) == 0, "%d live calls in 5 s through %d gates, none denied", d.gates.allowed, len(tenants))
	return nil
}

func pause(ctx context.Context, t time.Duration) error {
	select {
	case <-time.After(t):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// attacks lets three agents go bad, one after the other.
func (d *demo) attacks(ctx context.Context) error {
	plans, err := d.plan()
	if err != nil {
		return err
	}
	for _, b := range plans {
		if err := d.attack(ctx, b); err != nil {
			return fmt.Errorf("%s by %s: %w", b.Kind, b.Agent, err)
		}
	}
	return d.checkHonest(ctx)
}

// plan chooses the bad agents among those that are known well enough to be breached.
func (d *demo) plan() ([]badAgent, error) {
	live := d.fleet.WithRate(liveRate)
	at := time.Now()
	exfiltrator, err := d.pick("researcher")
	if err != nil {
		return nil, err
	}
	victim, err := d.pick("invoice-reader")
	if err != nil {
		return nil, err
	}
	crawler, err := d.pick("doc-reader")
	if err != nil {
		return nil, err
	}
	exfiltration, err := live.Exfiltrate(exfiltrator.Name, at, 200)
	if err != nil {
		return nil, err
	}
	theft, err := live.StealCredential(victim.Name, "shadow-runner", at)
	if err != nil {
		return nil, err
	}
	crawl, err := live.Crawl(crawler.Name, at)
	if err != nil {
		return nil, err
	}
	return []badAgent{
		{Attack: exfiltration, expected: []string{"call-rate-breach"}, spacing: 5 * time.Millisecond},
		{Attack: theft, expected: []string{"stolen-identity"}, spacing: 5 * time.Millisecond},
		{Attack: crawl, expected: []string{"first-time-calls", "new-territory", "new-resource-spree"}, spacing: 5 * time.Millisecond},
	}, nil
}

// pick returns an agent of a role that is known well, and its own identity too, and that was
// never suspected.
func (d *demo) pick(role string) (fleet.Agent, error) {
	suspected := func(a fleet.Agent) bool {
		return slices.ContainsFunc(d.suspected, func(s detector.Detection) bool { return s.Agent == a.Name })
	}
	for _, a := range d.fleet.Agents() {
		if a.Role == role && !suspected(a) && d.counts[a.Name] >= enough && d.counts[a.Tenant+"/"+a.Identities[0]] >= enough {
			return a, nil
		}
	}
	return fleet.Agent{}, fmt.Errorf("the fleet has no %s that is known well enough", role)
}

// maxBadCalls is how many calls a bad agent may make before the demo gives up on it.
const maxBadCalls = 400

// attack plays the calls of a bad agent until it is denied, and then some more.
func (d *demo) attack(ctx context.Context, b badAgent) error {
	d.story.say("%s", bold(describe(b)))
	s := d.gates.watch(b.Agent)
	tries, after := 0, 0
	for c := range b.Calls(time.Time{}) {
		c.Time = time.Now() // its order and targets are the attack's; its pace is the demo's
		d.gates.call(ctx, c)
		if !d.gates.seen(s).firstDenied.IsZero() {
			if after++; after == 20 {
				break
			}
		}
		if tries++; tries == maxBadCalls {
			break
		}
		if err := pause(ctx, b.spacing); err != nil {
			return err
		}
	}
	seen := d.gates.seen(s)
	if seen.firstDenied.IsZero() {
		d.story.claim(false, "%s was stopped within %d calls", b.Agent, tries)
		return nil
	}
	var found []detector.Detection // the first one comes first: they are of one partition
	if err := until(ctx, 5*time.Second, "the detection is in Kafka", func() bool {
		found = d.watch.detections(func(x *detector.Detection) bool {
			return enforced(x) && x.Agent == b.Agent && x.Tenant == b.Tenant && !x.Time.Before(d.now)
		})
		return len(found) > 0
	}); err != nil {
		return err
	}
	d.tell(&b, found[0], seen, after)
	d.bad = append(d.bad, b)
	return nil
}

// tell tells how a bad agent was stopped and claims what was measured.
func (d *demo) tell(b *badAgent, found detector.Detection, seen suspect, after int) {
	d.gates.mu.Lock()
	broke, ok := d.gates.appended[found.CallID]
	d.gates.mu.Unlock()
	b.detector, b.calls = found.Detector, seen.calls
	b.latency = seen.firstDenied.Sub(broke)
	d.story.say("%s %s by call %s of %s", red("detection:"), found.Detector, found.CallID, found.Entity)
	d.explain(found)
	d.story.say("kill sent: revocation %s; %d calls in flight cut, the first after %v", found.Revocation, seen.cut, cutAfter(seen, broke))
	d.story.claim(ok && b.latency > 0 && b.latency < bound, "gate-%s denied the next call %v after the breaking call was appended (bound %v)",
		b.Tenant, b.latency.Round(10*time.Microsecond), bound)
	d.story.claim(slices.Contains(b.expected, found.Detector), "%s stopped it; %d bad calls were let through", found.Detector, seen.calls)
	d.story.claim(after >= 20, "all %d calls that it tried after that were denied", after)
}

func cutAfter(s suspect, broke time.Time) time.Duration {
	if s.cut == 0 {
		return 0
	}
	return s.firstCut.Sub(broke).Round(10 * time.Microsecond)
}

func describe(b badAgent) string {
	switch b.Kind {
	case fleet.Exfiltration:
		return fmt.Sprintf("%s of %s reads all it can reach, 200 calls a second", b.Agent, b.Tenant)
	case fleet.StolenCredential:
		return fmt.Sprintf("%s acts with an identity of %s, who goes on working", b.Agent, b.Victim)
	case fleet.SlowCrawl:
		return fmt.Sprintf("%s of %s turns to one resource after another that it never touched, with its usual actions", b.Agent, b.Tenant)
	}
	return b.Agent
}

// operator stops an honest agent by hand and lets it go again.
func (d *demo) operator(ctx context.Context) error {
	agent, err := d.pick("log-watcher")
	if err != nil {
		return err
	}
	for _, verb := range []string{"kill", "release"} {
		s, err := d.control(ctx, verb, agent)
		if err != nil {
			return err
		}
		stopped := d.stopped(agent)
		d.story.claim(len(s.Acks) == 1 && stopped == (verb == "kill"), "'estop %s --agent %s': acknowledged by %s after %v; its next call is %s",
			verb, agent.Name, s.Acks[0].Guard, s.Acks[0].Latency.Round(10*time.Microsecond), map[bool]string{true: "denied", false: "allowed"}[stopped])
	}
	return nil
}
