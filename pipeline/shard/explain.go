package shard

import (
	"math"
	"time"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// judged is where a judgement was made.
type judged struct {
	watch   *watch
	rule    *rule
	entity  *entity
	session *session // nil where none is asked for
	time    int64
	reason  string
}

// Account says how a judgement came about, step by step.
type Account struct {
	EntityBy string    `json:"entity_by"`
	Entity   string    `json:"entity"`
	Time     time.Time `json:"ts"` // of the call, held to MaxAhead
	Known    bool      `json:"known"`
	Warmup   Warmup    `json:"warmup"`
	// Features are those of the baselines, each with what it expected, then those of the hard limit alone.
	Features []FeatureAccount `json:"features"`
	When     string           `json:"when,omitempty"` // the hard limit,
	Limit    bool             `json:"limit"`          // and whether it broke
	// Evidence is a natural logarithm, as are the levels: that which the budget asks, that which the
	// entity's own past or its peers ask on top, and that which further alarms of one block ask.
	Evidence    float64   `json:"log_evidence"`
	BudgetLevel float64   `json:"log_level_budget"`
	PastLevel   float64   `json:"log_level_past"`
	AskedLevel  float64   `json:"log_level"`
	PastBlocks  int       `json:"past_blocks"`
	OffSchedule bool      `json:"off_schedule,omitempty"` // the schedule lets it not fire now
	Quiet       bool      `json:"quiet"`
	QuietUntil  time.Time `json:"quiet_until,omitzero"`
	// Fired is whether the detector fired at this call, Reason why, or why it would have but for Quiet or OffSchedule.
	Fired  bool   `json:"fired"`
	Reason string `json:"reason,omitempty"`
}

// Warmup is how much of an entity has been seen beside how much must be.
type Warmup struct {
	Calls      int64         `json:"calls"`
	NeedCalls  int           `json:"need_calls"`
	Slots      int64         `json:"slots"`
	NeedSlots  int           `json:"need_slots"`
	Time       time.Duration `json:"time_ns"`
	NeedTime   time.Duration `json:"need_time_ns"`
	Peers      int           `json:"peers"`
	NeedPeers  int           `json:"need_peers,omitempty"` // 0: peers do not stand in for a past
	Sessions   int           `json:"sessions,omitempty"`   // that ended
	NeedEnded  int           `json:"need_sessions,omitempty"`
	OwnEnough  bool          `json:"own_enough"`
	PeerEnough bool          `json:"peers_enough"`
}

// FeatureAccount is a feature and, where a baseline has it, its share of the evidence.
type FeatureAccount struct {
	detector.Sample
	Value    float64 `json:"value"`             // as a hard limit sees it
	Baseline bool    `json:"baseline"`          // it is evidence
	Weight   float64 `json:"weight,omitempty"`  // of all evidence
	LogE     float64 `json:"log_e,omitempty"`   // e-value of what it holds now
	Share    float64 `json:"share_of_evidence"` // of what the detector knows against the entity
}

// Fires reports whether the detector fires at the call, or would but for its quiet time or its schedule.
func (j Judgement) Fires() bool { return j.at.reason != "" }

// Explain returns how the judgement came about. It is to be called while Options.Judged runs.
func (j Judgement) Explain() Account {
	w, r, e := j.at.watch, j.at.rule, j.at.entity
	by, _, name := splitEntityKey(e.key)
	a := Account{
		EntityBy: by.String(), Entity: name, Time: time.Unix(0, j.at.time).UTC(),
		Known: j.Known, Warmup: w.warmup(r, e), When: r.WhenText,
		Evidence: finite(j.Evidence), BudgetLevel: r.Level, PastLevel: w.block.level, AskedLevel: j.Level,
		PastBlocks: int(w.block.past.Blocks()), Quiet: w.silent, Reason: j.at.reason,
		Fired:       j.at.reason != "" && !w.silent && r.FiresAt(w.latest) && !(r.Within && j.at.session.fired),
		OffSchedule: !r.FiresAt(w.latest),
	}
	a.Limit = j.at.reason != "" && j.at.reason != ByEvidence
	if w.quiet.own > 0 && w.silent {
		a.QuietUntil = time.Unix(0, w.quiet.own).UTC()
	}
	a.Features = w.account(r, e, j)
	return a
}

func (w *watch) warmup(r *rule, e *entity) Warmup {
	n := Warmup{
		Calls: e.calls - w.since, NeedCalls: r.WarmupCalls, Slots: w.slots, NeedSlots: r.WarmupSlots,
		Time: w.seen(e), NeedTime: r.WarmupTime, Peers: w.peers.warm(), NeedPeers: r.WarmupPeers,
		OwnEnough: w.warm,
	}
	n.PeerEnough = n.NeedPeers > 0 && n.Peers >= n.NeedPeers
	if r.Within {
		n.Sessions, n.NeedEnded = w.sessions.past.N(), leastSessions
	}
	return n
}

// seen is for how long the rule could see what the entity does.
func (w *watch) seen(e *entity) time.Duration {
	return time.Duration(w.latest - min(w.seenSince(e), w.latest))
}

func (w *watch) account(r *rule, e *entity, j Judgement) []FeatureAccount {
	samples := w.appendSamples(nil, r, e, j.at.time)
	all := make([]FeatureAccount, len(samples))
	for i := range samples {
		f := &all[i]
		f.Sample = samples[i]
		if i >= len(w.evidence) {
			f.Value = w.features[r.bare[i-len(w.evidence)]].value
			continue
		}
		at := r.Evidence[i].Feature
		f.Value, f.Baseline, f.Weight = w.features[at].value, true, math.Exp(r.logWeights[i])
		log := w.evidence[i].detector.Log()
		switch k := w.features[at].kinds; {
		case r.Within:
			log = j.at.session.logs[i]
			f.LogEvidence = finite(log)
		case k != nil && k.counts:
			f.LogE = finite(k.logE())
		case k == nil && w.slot != noSlot:
			f.LogE = finite(w.logE(r, i))
		}
		if !math.IsInf(j.Evidence, -1) {
			f.Share = math.Exp(r.logWeights[i] + log - j.Evidence)
		}
	}
	return all
}

// Step is one part of a condition, and what it said of a call.
type Step struct {
	detector.Step
	Value string `json:"value,omitempty"` // of the field that it tests
	Has   bool   `json:"has"`             // the call has the field
}

// Trace is what the match and the exceptions of a detector say of a call.
type Trace struct {
	Index      int              `json:"-"` // of the detector in the plan
	Matches    bool             `json:"matches"`
	Match      []Step           `json:"match"` // empty: every call
	Exceptions []ExceptionTrace `json:"exceptions"`
}

// ExceptionTrace is what an exception says of a call.
type ExceptionTrace struct {
	detector.Exception `json:"-"`

	Owner   string    `json:"owner,omitempty"`
	Reason  string    `json:"reason"`
	Until   time.Time `json:"until,omitzero"`
	Matches bool      `json:"matches"`
	InForce bool      `json:"in_force"` // at the call's own time
	Match   []Step    `json:"match"`
}

// Trace returns what each detector's conditions say of a call. It changes nothing.
func (s *Shard) Trace(c *telemetry.Call) []Trace {
	s.classify(c)
	traces := make([]Trace, len(s.plan.Detectors))
	for i, d := range s.plan.Detectors {
		t := Trace{Index: i, Matches: d.Match.Eval(s.bits), Match: s.steps(d.Match, c), Exceptions: []ExceptionTrace{}}
		for _, x := range d.For(string(c.Tenant)).Exceptions {
			t.Exceptions = append(t.Exceptions, ExceptionTrace{
				Exception: x, Owner: x.Owner, Reason: x.Reason, Until: x.Until,
				Matches: x.Match.Eval(s.bits), InForce: x.Holds(c.Time), Match: s.steps(x.Match, c),
			})
		}
		traces[i] = t
	}
	return traces
}

func (s *Shard) steps(f detector.Formula, c *telemetry.Call) []Step {
	steps := []Step{}
	for _, step := range s.plan.Trace(f, s.bits) {
		t := Step{Step: step}
		if step.Test {
			var context string
			if step.Field >= detector.FieldContext {
				context = s.plan.ContextKeys[step.Field-detector.FieldContext]
			}
			var value []byte
			value, t.Has = fieldValue(c, step.Field, context)
			t.Value = string(value)
		}
		steps = append(steps, t)
	}
	return steps
}
