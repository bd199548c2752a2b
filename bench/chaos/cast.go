package chaos

import (
	"cmp"
	"embed"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/estop-project/estop/pipeline/telemetry"
	"github.com/estop-project/estop/revoke"
)

//go:embed detectors
var embedded embed.FS

// detectorFiles are the detectors of a campaign. The calls of each entity that they group by have one agent, so the
// exchange keeps their order whatever fails, and an undisturbed replay finds the same.
func detectorFiles() fs.FS {
	files, err := fs.Sub(embedded, "detectors")
	if err != nil {
		panic(err) // the name is a constant
	}
	return files
}

// Suspect is one who breaks a detector, or an honest one of whom guards are asked too.
type Suspect struct {
	Target                 string // TENANT/SCOPE/SUBJECT
	Tenant, Agent, Session string
	Honest                 bool
}

// call is a call that is to be appended.
type call struct {
	at               time.Duration // since the start; what is before it is the past
	tenant, agent    string
	session          string
	action, resource string
	number           int // of the agent's calls
}

// cast is who does what in a campaign: a pure function of the seed.
type cast struct {
	calls    []call // in the order of their times
	suspects []Suspect
}

const (
	honestAgents = 150
	tenants      = 3
	watched      = 20 // honest agents of whom guards are asked
	pastCalls    = 240
	pastEvery    = 15 * time.Second
)

// newCast makes the calls of a span: honest ones at a rate, and breaches one after the other.
func newCast(seed uint64, span time.Duration, perSecond, breachesPerMinute int) *cast {
	c := &cast{}
	r := rand.New(rand.NewPCG(seed, 1000))
	c.honest(r, span, perSecond)
	breaches := int(span.Minutes() * float64(breachesPerMinute))
	for i := range breaches {
		// Somewhere in its stretch of the span, the end of which is left for the burst itself.
		stretch := (span - 5*time.Second) / time.Duration(breaches)
		at := time.Duration(i)*stretch + time.Duration(r.Int64N(int64(stretch)))
		[]func(*rand.Rand, int, time.Duration){c.deletions, c.exports, c.spree}[i%3](r, i, at)
	}
	slices.SortStableFunc(c.calls, func(a, b call) int { return cmp.Compare(a.at, b.at) })
	numbers := map[string]int{}
	for i := range c.calls {
		x := &c.calls[i]
		x.number = numbers[x.key()]
		numbers[x.key()]++
	}
	return c
}

func (c *cast) honest(r *rand.Rand, span time.Duration, perSecond int) {
	for i := range watched {
		agent, tenant := honestName(i)
		c.suspects = append(c.suspects, Suspect{Target: target(tenant, revoke.Agent, agent), Tenant: tenant, Agent: agent, Honest: true})
	}
	for i := range int(span.Seconds() * float64(perSecond)) {
		agent, tenant := honestName(r.IntN(honestAgents))
		action := "doc.read"
		if r.IntN(500) == 0 {
			action = "doc.delete"
		}
		c.calls = append(c.calls, call{
			at: time.Duration(i) * time.Second / time.Duration(perSecond), tenant: tenant, agent: agent,
			session: agent + "-s", action: action, resource: fmt.Sprint("doc-", r.IntN(20)),
		})
	}
}

func honestName(i int) (agent, tenant string) {
	return fmt.Sprint("honest-", i), fmt.Sprint("t", i%tenants)
}

// deletions is a burst of one action by an agent that nobody knew.
func (c *cast) deletions(r *rand.Rand, i int, at time.Duration) {
	agent, tenant := fmt.Sprint("deleter-", i), fmt.Sprint("t", i%tenants)
	c.suspects = append(c.suspects, Suspect{Target: target(tenant, revoke.Agent, agent), Tenant: tenant, Agent: agent})
	c.burst(r, at, call{tenant: tenant, agent: agent, session: agent + "-s", action: "doc.delete"})
}

// exports is a burst in one session of an agent.
func (c *cast) exports(r *rand.Rand, i int, at time.Duration) {
	agent, tenant := fmt.Sprint("exporter-", i), fmt.Sprint("t", i%tenants)
	session := agent + "-s"
	c.suspects = append(c.suspects, Suspect{Target: target(tenant, revoke.Session, session), Tenant: tenant, Agent: agent, Session: session})
	c.burst(r, at, call{tenant: tenant, agent: agent, session: session, action: "doc.export"})
}

// burst is long enough that a crash may come in the middle.
func (c *cast) burst(r *rand.Rand, at time.Duration, x call) {
	for j := range 8 {
		x.at, x.resource = at, fmt.Sprint("doc-", j)
		c.calls = append(c.calls, x)
		at += 50*time.Millisecond + time.Duration(r.Int64N(int64(400*time.Millisecond)))
	}
}

// spree is an agent with an hour of habits that turns to what it never used.
func (c *cast) spree(_ *rand.Rand, i int, at time.Duration) {
	agent, tenant := fmt.Sprint("wanderer-", i), fmt.Sprint("t", i%tenants)
	c.suspects = append(c.suspects, Suspect{Target: target(tenant, revoke.Agent, agent), Tenant: tenant, Agent: agent})
	x := call{tenant: tenant, agent: agent, session: agent + "-s", action: "doc.read"}
	for j := range pastCalls {
		x.at, x.resource = time.Duration(j-pastCalls)*pastEvery, fmt.Sprint("doc-", j%2)
		c.calls = append(c.calls, x)
	}
	for j := range 30 {
		x.at, x.resource = at+time.Duration(j)*100*time.Millisecond, fmt.Sprintf("%s-new-%d", agent, j)
		c.calls = append(c.calls, x)
	}
}

func target(tenant string, scope revoke.Scope, subject string) string {
	return tenant + "/" + string(scope) + "/" + subject
}

// key names the agent, as in telemetry.Key.
func (x *call) key() string { return x.tenant + "/" + x.agent }

func (x *call) id() string { return fmt.Sprintf("%s#%d", x.key(), x.number) }

// telemetry is the call as it is appended; start is when the campaign began.
func (x *call) telemetry(start time.Time) *telemetry.Call {
	return &telemetry.Call{
		ID: []byte(x.id()), Time: start.Add(x.at).UnixNano(), Tenant: []byte(x.tenant), Agent: []byte(x.agent),
		Identity: []byte("role/" + x.agent), Session: []byte(x.session), Action: []byte(x.action), Resource: []byte(x.resource),
	}
}
