package detector

import (
	"math"
	"slices"
	"time"
)

// Field names a part of a call that match conditions can test. Fields from FieldContext
// on are context entries: FieldContext+i is the entry Plan.ContextKeys[i].
type Field uint16

// The fields of a call.
const (
	FieldTenant Field = iota
	FieldAgent
	FieldIdentity
	FieldSession
	FieldChainRoot
	FieldAction
	FieldResource
	FieldOutcome
	FieldParent  // the agent that delegated the call: the chain's last member but one; absent without one
	FieldChain   // the whole delegation chain; features only
	FieldShape   // the resource without its numbers: s3://logs/0/day=0 for s3://logs/7/day=12; features only
	FieldCall    // the action and the shape together; features only
	FieldContext // the first context entry
)

// Entity is the kind of thing that a detector groups calls by.
type Entity uint8

// The entities. Agent state lives in the shard of the agent's own partition; the others
// reach their shard through the exchange topic.
const (
	ByAgent Entity = iota
	ByIdentity
	BySession
	ByChainRoot
	ByTenant
	ByResource
	// ByParent is the agent that delegated the call, or the call's own agent where nobody did:
	// so a parent's own calls and those of its children meet.
	ByParent
)

// Measure is what a window adds up for each matching call.
type Measure uint8

// The measures.
const (
	MeasureCalls    Measure = iota // 1 for each call
	MeasureErrors                  // 1 for each call whose outcome is error
	MeasureDenied                  // 1 for each call whose outcome is denied
	MeasureMinutes                 // 1 for each minute with a call; for a baseline alone
	MeasureBytesIn                 // bytes
	MeasureBytesOut                // bytes
	MeasureLatency                 // seconds
)

// FeatureKind is how a feature is computed.
type FeatureKind uint8

// The kinds of features.
const (
	// KindCount is the sum of a measure over a sliding window: count(calls, 10s), sum(bytes_out, 1m).
	KindCount FeatureKind = iota
	// KindRate is KindCount for each second of the window: rate(calls, 1s).
	KindRate
	// KindDistinct is the number of different values of a field in a sliding window: distinct(resource, 1m).
	KindDistinct
	// KindNew is 1 where the edge from the entity to the call's value of a field was never
	// seen before, else 0: new(resource). As evidence it is the Pitman–Yor surprise of that
	// edge; each edge counts once.
	KindNew
	// KindSurprise is how unexpected the edge from the entity to the call's value of a field
	// is, in nats: surprise(agent). As evidence a new edge goes on counting at each of its
	// calls until it has proved itself: a thief is still a thief at the second call.
	KindSurprise
	// KindMax is the largest measure of one call in a sliding window: max(latency, 1m).
	KindMax
	// KindSequence is how unexpected the call's value of a field is after those of the calls
	// before it in its session, in nats: sequence(action).
	KindSequence
	// KindRepeats is how many calls in a row only went round in a circle of at most eight calls,
	// numbers in their resources left aside: repeats(call).
	KindRepeats
	// KindStale is how many calls in a row were each like one of the 32 latest different ones,
	// numbers in their resources left aside: stale(call).
	KindStale
	// KindDepth is the number of members of the delegation chain: depth(chain).
	KindDepth
	// KindRecurs is how many members of the delegation chain are ones that stood in it before:
	// recurs(chain).
	KindRecurs
	// KindBurst is how unexpected the traffic between the call's agent and its value of a field
	// is in this minute, among all agents of the tenant, in nats: burst(resource).
	KindBurst
	// KindQuantile is the value that a share of the calls in a sliding window do not exceed:
	// quantile(0.95, latency, 10m).
	KindQuantile
)

// Feature is one number that the shard keeps for each entity.
type Feature struct {
	Name    string // as the analyst wrote it, normalised: count(calls, 10s)
	Kind    FeatureKind
	Measure Measure       // KindCount, KindRate, KindMax, KindQuantile
	Field   Field         // KindDistinct, KindNew, KindSurprise, KindSequence, KindBurst
	Window  time.Duration // KindCount, KindRate, KindDistinct, KindMax, KindQuantile
	Share   float64       // KindQuantile: between 0 and 1
}

// Evidence is one baseline whose e-detector adds to a detector's evidence.
type Evidence struct {
	Feature int // index into Compiled.Features; any but KindRate, KindDistinct, KindDepth, KindRecurs, KindQuantile
	Weight  float64
	// Seasonal says that the baseline of a count knows the hour of the week.
	Seasonal bool
	// Memory is for how long a baseline of counts and sizes remembers, in the calls' own time
	// if every slot is active; 0 is the shard's default.
	Memory time.Duration
}

// Scope is what a response stops.
type Scope uint8

// The scopes of a response.
const (
	ScopeAgent Scope = iota
	ScopeIdentity
	ScopeSession
	ScopeChain
	ScopeTenant
)

// Action is what an enforced detection does to its scope.
type Action uint8

// The actions, weakest first.
const (
	Throttle Action = iota + 1
	Restrict
	Revoke
)

// Response is what is done when an enforcing detector fires. Only an Enforcer has one.
type Response struct {
	Action Action
	Scope  Scope
	For    time.Duration // how long; always positive
}

// Compiled is a checked detector: what it matches, keeps, and when it fires. It carries no
// response, so nothing that holds only a Compiled can stop anybody.
type Compiled struct {
	ID          string
	Version     string // hash of the source, 12 hex digits: names the version in detections
	Title       string
	Description string
	Severity    string
	Tags        []string
	References  []string // what to read about it: addresses, or texts
	Mode        Mode
	// Canary says that the detector runs beside the live one of its ID, to be compared with it. It observes,
	// whatever Mode its file says it has once it is live.
	Canary bool

	Match   Formula // nil matches every call
	GroupBy Entity
	// Features are what Evidence and When name, without repeats.
	Features []Feature
	Evidence []Evidence
	// Slot is the step of the e-detector. Level is the natural logarithm of the alarm level:
	// of the mean number of active slots, those that hold a call, to a false alarm.
	Slot  time.Duration
	Level float64
	// Blocks is the mean number of blocks to a false alarm that the budget allows, at least 10. A
	// block is a day of the calls' own time, or BlockCalls calls if that is not 0, or, within
	// sessions, a session. Evidence must also be higher than it is in one of so many blocks of
	// the entity's own past.
	Blocks     float64
	BlockCalls int
	// Budget is what the analyst wrote, for explanations.
	Budget string
	// WarmupCalls and WarmupSlots must both have been seen of an entity before its evidence
	// can fire. Before that the detector answers "not known", never "normal".
	WarmupCalls, WarmupSlots int
	// WarmupTime must have passed, in the calls' own time, since the entity's first call: what
	// comes once a day must have had a day to come.
	WarmupTime time.Duration
	// WarmupPeers is from how many entities of the tenant on that have warmed up a further one
	// is judged at once, by what those are like; 0: each only by its own past.
	WarmupPeers int
	// When is the hard limit; nil if there is none. Its values are Features, by index.
	When     *Program
	WhenText string
	// Correlation is what the detector makes of the detections of others; nil for those that judge calls.
	Correlation *Correlation
	Exceptions  []Exception
	// Within says that evidence gathers inside one session of the entity and the budget counts
	// sessions: what is learned is the entity's, what is judged is the session.
	Within bool
	// Relearn is the field whose new value lets an entity's baselines relearn: the version that
	// its calls carry. HasRelearn says whether there is one.
	Relearn    Field
	HasRelearn bool
	// Quiet is for how long after a detection the same entity does not fire again; QuietAt knows the steps.
	Quiet time.Duration
	// Steps are those of a graded answer: for how long the same entity does not fire again after each. It is nil where
	// every detection is answered alike. A detection takes the step after that of the one before if it comes within
	// Escalate after the end of its quiet time, else the first; the last one repeats.
	Steps    []time.Duration
	Escalate time.Duration
	// Schedule is when the detector may fire; nil: at any time. ModeAt asks it.
	Schedule *Schedule
	// Overrides are the detector as some tenants have it: of those whose Tenants holds, the first.
	Overrides []Override
}

// Exception lets calls pass that would count against an entity. It holds at the call's own time.
type Exception struct {
	Match  Formula
	Until  time.Time // zero: no end
	Owner  string
	Reason string
}

// Mode says how far a detector may go.
type Mode uint8

// The modes of a detector.
const (
	Observe Mode = iota // detections are recorded
	Alert               // and shown to people
	Enforce             // and answered
)

// Enforcer is a detector that may stop agents. It can only be made by compiling a
// detector whose mode is enforce, always or in a part of its schedule.
type Enforcer struct {
	*Compiled
	responses []Response // by step; one where the answer is not graded
	step      int
}

// Response returns what the enforcer does when it fires: its first step, or that of the detection which
// EnforcerOf was asked about.
func (e Enforcer) Response() Response {
	if len(e.responses) == 0 {
		return Response{}
	}
	return e.responses[min(e.step, len(e.responses)-1)]
}

// Plan is what a set of detectors needs computed. It is immutable and shared by all shards.
type Plan struct {
	Detectors   []*Compiled
	ContextKeys []string
	Words       int // length in uint64 of the bit set that Classify fills

	// enforcers are, by index of Detectors, that of the detector itself and those of its overrides; zero where
	// the mode is never enforce.
	enforcers [][]Enforcer
	atoms     []atom
	byField   [][]uint32 // indexes of atoms, by field
}

// Enforcer returns detector i as an enforcer, and whether it is one at any time for tenants without
// an override.
func (p *Plan) Enforcer(i int) (Enforcer, bool) {
	e := p.enforcers[i][0]
	return e, e.Compiled != nil
}

// EnforcerOf returns the enforcer that answers a detection of detector i, and whether there is one: by what its
// tenant has overridden and by the mode in which it was found. A detection by another version has none.
func (p *Plan) EnforcerOf(i int, found *Detection) (Enforcer, bool) {
	e := p.enforcers[i][1+p.Detectors[i].OverrideOf(found.Tenant)]
	if e.Compiled == nil || e.ID != found.Detector || e.Version != found.Version || found.Mode != Enforce.String() {
		return Enforcer{}, false
	}
	e.step = max(found.Step-1, 0)
	return e, true
}

// ScaleBudget returns the same plan with k times the budget of every detector: k = 10 allows
// ten times as many false alarms. Levels below that of one false alarm in 100 slots stay there.
func (p *Plan) ScaleBudget(k float64) *Plan {
	scaled := *p
	scaled.Detectors = make([]*Compiled, len(p.Detectors))
	scaled.enforcers = make([][]Enforcer, len(p.Detectors))
	for i, d := range p.Detectors {
		c := d.scaled(k)
		all := []*Compiled{c}
		c.Overrides = slices.Clone(d.Overrides)
		for j := range c.Overrides {
			c.Overrides[j].Compiled = c.Overrides[j].scaled(k)
			all = append(all, c.Overrides[j].Compiled)
		}
		scaled.Detectors[i], scaled.enforcers[i] = c, slices.Clone(p.enforcers[i])
		for j := range all {
			if scaled.enforcers[i][j].Compiled != nil {
				scaled.enforcers[i][j].Compiled = all[j]
			}
		}
	}
	return &scaled
}

// scaled returns the detector with k times its budget.
func (c *Compiled) scaled(k float64) *Compiled {
	s := *c
	if len(s.Evidence) > 0 {
		s.Level = max(s.Level-math.Log(k), math.Log(minSlots))
		s.Blocks = max(s.Blocks/k, leastBlocks)
	}
	return &s
}

// minSlots is the least number of slots to a false alarm that a budget may ask for.
const minSlots = 100
