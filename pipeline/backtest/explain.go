package backtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/shard"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// Asked is the call of which one wants to know why detectors fired at it, or did not. One of Detection,
// CallID and Agent is set.
type Asked struct {
	Tenant    string // empty: any
	Detection string // id of the detection that the call led to
	CallID    string
	Agent     string
	At        time.Time // of Agent the last call up to then; zero: the last of all
	Detectors []string  // ids; empty: all, and of a detection its own
}

// CallExplanation is what detectors thought of a call, step by step.
type CallExplanation struct {
	Call      CalledBy              `json:"call"`
	Detectors []DetectorExplanation `json:"detectors"`
}

// CalledBy is the call that is explained.
type CalledBy struct {
	ID       string            `json:"id"`
	Time     time.Time         `json:"ts"`
	Tenant   string            `json:"tenant"`
	Agent    string            `json:"agent"`
	Identity string            `json:"identity,omitempty"`
	Session  string            `json:"session,omitempty"`
	Chain    []string          `json:"chain,omitempty"`
	Action   string            `json:"action"`
	Resource string            `json:"resource,omitempty"`
	Outcome  string            `json:"outcome"`
	Context  map[string]string `json:"context,omitempty"`
}

// DetectorExplanation is what one detector thought of the call.
type DetectorExplanation struct {
	ID      string `json:"id"`
	Version string `json:"version"`
	Mode    string `json:"mode"`
	Title   string `json:"title"`
	// Verdict is fired, quiet (it would have but for its quiet time), silent, not_known, not_matched,
	// excepted, out_of_schedule or no_entity (the call lacks what it groups by); Why says it in words.
	Verdict  string         `json:"verdict"`
	Why      string         `json:"why"`
	Trace    shard.Trace    `json:"trace"`
	Account  *shard.Account `json:"account,omitempty"` // nil where the call was not judged
	Response string         `json:"response,omitempty"`
	// Detection is the id of the detection where it fired.
	Detection string `json:"detection,omitempty"`
}

// explainer plays calls to a set and keeps what was thought of the one that is asked for.
type explainer struct {
	set      *detector.Set
	version  version
	asked    Asked
	lane     *player
	accounts map[int]*shard.Account
	looking  bool
	found    *CallExplanation
	ended    bool
}

// Explain plays a log up to the call that is asked for.
func Explain(ctx context.Context, log Log, set *detector.Set, asked Asked) (*CallExplanation, error) {
	x := &explainer{set: set, version: newVersion(set, ""), asked: asked}
	opt := shard.Options{Judged: x.judged}
	x.lane = newPlayer(set.Plan, opt, log.Partitions())
	v := Scope{Tenant: asked.Tenant}
	h := &history{scope: v, out: &played{bad: map[string]int64{}}}
	b := &batch{}
	err := log.Read(ctx, func(e Entry) error {
		b.made = 0
		b.decode(&e)
		for _, it := range b.calls[:b.made] {
			if h.place(it); it.skip {
				continue
			}
			x.call(it)
			if x.ended {
				return errEnded
			}
		}
		return ctx.Err()
	})
	if err != nil && !errors.Is(err, errEnded) {
		return nil, err
	}
	if x.found == nil {
		return nil, fmt.Errorf("the log holds no %s", asked.words())
	}
	return x.found, nil
}

var errEnded = errors.New("what was asked for was found")

func (a Asked) words() string {
	switch {
	case a.Detection != "":
		return "call that led to detection " + a.Detection + " by these detectors"
	case a.CallID != "":
		return "call with the id " + a.CallID
	case a.At.IsZero():
		return "call of agent " + a.Agent
	}
	return "call of agent " + a.Agent + " up to " + a.At.Format(time.RFC3339)
}

// call plays a call.
func (x *explainer) call(it *item) {
	c := it.call
	switch {
	case x.asked.CallID != "":
		x.looking = x.asked.CallID == string(c.ID)
	case x.asked.Detection != "":
		x.looking = true
	default:
		x.looking = x.asked.Agent == string(c.Agent) && (x.asked.At.IsZero() || c.Time <= x.asked.At.UnixNano())
	}
	if !x.looking {
		x.lane.call(c, it.src, it.stray)
		return
	}
	x.accounts = map[int]*shard.Account{}
	if x.asked.Detection != "" {
		x.detection(it)
		return
	}
	found := x.lane.call(c, it.src, it.stray)
	x.found = x.explain(c, found)
	x.ended = x.asked.CallID != ""
}

// judged takes an account of a judgement. Where a detection is asked for, only those that fire are looked at.
func (x *explainer) judged(j shard.Judgement) {
	if x.looking && (x.asked.Detection == "" || j.Fires()) {
		a := j.Explain()
		x.accounts[j.Index] = &a
	}
}

// detection plays a call and looks whether it led to the detection.
func (x *explainer) detection(it *item) {
	for _, d := range x.lane.call(it.call, it.src, it.stray) {
		if d.ID == x.asked.Detection {
			x.asked.Detectors = []string{d.Detector}
			x.found = x.explain(it.call, []shard.Detected{d})
			x.ended = true
			return
		}
	}
}

func (x *explainer) explain(c *telemetry.Call, found []shard.Detected) *CallExplanation {
	e := &CallExplanation{Call: calledBy(c), Detectors: []DetectorExplanation{}}
	opt := Options{Detectors: x.asked.Detectors}
	for _, t := range x.lane.calls[0].Trace(c) {
		d := x.set.Plan.Detectors[t.Index]
		if !opt.wants(d.ID) {
			continue
		}
		one := DetectorExplanation{
			ID: d.ID, Version: d.Version, Mode: d.Mode.String(), Title: d.Title,
			Trace: t, Account: x.accounts[t.Index], Response: responseText(x.version.responses[t.Index]),
		}
		for _, f := range found {
			if f.Index == t.Index {
				one.Detection = f.ID
			}
		}
		one.Verdict, one.Why = verdict(d, &one, c.Time)
		e.Detectors = append(e.Detectors, one)
	}
	return e
}

func calledBy(c *telemetry.Call) CalledBy {
	by := CalledBy{
		ID: string(c.ID), Time: time.Unix(0, c.Time).UTC(), Tenant: string(c.Tenant), Agent: string(c.Agent), Identity: string(c.Identity),
		Session: string(c.Session), Action: string(c.Action), Resource: string(c.Resource), Outcome: c.Outcome.String(),
	}
	for _, m := range c.Chain {
		by.Chain = append(by.Chain, string(m))
	}
	for _, p := range c.Context {
		if by.Context == nil {
			by.Context = map[string]string{}
		}
		by.Context[string(p.Key)] = string(p.Value)
	}
	return by
}

// verdict says how it ended.
func verdict(d *detector.Compiled, e *DetectorExplanation, at int64) (verdict, why string) {
	if e.Detection != "" {
		return "fired", e.Account.Reason
	}
	if !e.Trace.Matches {
		return "not_matched", "the call does not meet the match"
	}
	for _, x := range e.Trace.Exceptions {
		if x.Matches && x.InForce {
			return "excepted", "an exception lets the call pass: " + x.Reason + owned(x.Owner)
		}
	}
	a := e.Account
	switch {
	case d.Correlation != nil:
		return "silent", "it is made of detections: " + d.Correlation.Text + ", of " + strings.Join(d.Correlation.Of, ", ")
	case a == nil:
		return "no_entity", "the call names no " + d.GroupBy.String()
	case a.Quiet && a.Reason != "":
		return "quiet", "it would fire, but fired shortly before"
	case a.Quiet:
		return "quiet", "it fired shortly before"
	case !d.FiresAt(at):
		return "out_of_schedule", "its schedule does not let it fire at this time"
	case !a.Known && len(d.Evidence) > 0:
		return "not_known", "this " + d.GroupBy.String() + " is not known yet: " + WarmupText(&a.Warmup) + "; nothing is said of it, never that it is normal"
	case len(d.Evidence) == 0:
		return "silent", "the limit holds"
	}
	return "silent", fmt.Sprintf("evidence %s is below the level %s", number(a.Evidence), number(a.AskedLevel))
}

// owned says who answers for an exception.
func owned(owner string) string {
	if owner == "" {
		return ""
	}
	return " (" + owner + " answers for it)"
}
