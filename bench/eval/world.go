package eval

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/estop-project/estop/bench/report"
	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/backtest"
	"github.com/estop-project/estop/pipeline/shard"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// row is what the labelled sets have of a call.
type row struct {
	ID       string    `json:"id"`
	TS       time.Time `json:"ts"`
	Tenant   string    `json:"tenant"`
	Agent    string    `json:"agent"`
	Identity string    `json:"identity"`
	Session  string    `json:"session"`
	Chain    []string  `json:"chain"`
	Action   string    `json:"action"`
	Resource string    `json:"resource"`
	Outcome  string    `json:"outcome"`
	Label    *int      `json:"label"` // 1 attack, 0 not, nil unknown
}

// CloudTrail measures on raw records of a real AWS account under a simulated attack, labelled
// by the ids in labels: how many of the agents that have an attack call are stopped, how many
// attack calls come after that, and how many agents without any are stopped. The set has too
// little honest history for a false-kill rate.
func CloudTrail(r *report.Report, plan *detector.Plan, raw, labels string) error {
	attack := map[string]bool{}
	if err := each(labels, func(row *row) error {
		attack[row.ID] = row.Label != nil && *row.Label == 1
		return nil
	}); err != nil {
		return err
	}
	file, err := os.Open(raw)
	if err != nil {
		return fmt.Errorf("cannot read the raw records: %w", err)
	}
	defer file.Close()
	t := trail{run: backtest.NewRunner(plan, shard.Options{}), attack: attack, agents: map[string]*agent{}}
	for raw, err := range telemetry.Split(file, telemetry.CloudTrail, telemetry.Limits{}) {
		if err != nil {
			return err
		}
		if err := t.record(raw); err != nil {
			return err
		}
	}
	t.report(r)
	return nil
}

// trail is what was seen of the agents of an account.
type trail struct {
	run     *backtest.Runner
	attack  map[string]bool // by id
	agents  map[string]*agent
	decoder telemetry.Decoder
	call    telemetry.Call
}

type agent struct {
	attacks, prevented int
	stopped            bool
}

func (t *trail) record(raw telemetry.Raw) error {
	t.decoder.Start(raw.Format, raw.Bytes)
	if err := t.decoder.Next(&t.call); err != nil {
		return err
	}
	a := t.agents[string(t.call.Agent)]
	if a == nil {
		a = &agent{}
		t.agents[string(t.call.Agent)] = a
	}
	if t.attack[string(t.call.ID)] {
		a.attacks++
		if a.stopped {
			a.prevented++
		}
	}
	for _, d := range t.run.Call(&t.call) {
		t.agents[d.Agent].stopped = true
	}
	return nil
}

func (t *trail) report(r *report.Report) {
	attackers, hit, wrong, attacks, prevented := 0, 0, 0, 0, 0
	for _, a := range t.agents {
		attacks += a.attacks
		prevented += a.prevented
		switch {
		case a.attacks > 0:
			attackers++
			if a.stopped {
				hit++
			}
		case a.stopped:
			wrong++
		}
	}
	add := func(name string, value int, unit string, goal report.Goal) {
		r.Add(report.Figure{Name: "CloudTrail under attack (real): " + name, Value: float64(value), Unit: unit, Goal: goal, Command: Command})
	}
	add(fmt.Sprintf("agents with attack calls that are stopped, of %d", attackers), hit, "agents", report.Goal{})
	add(fmt.Sprintf("attack calls that a kill would have prevented, of %d", attacks), prevented, "calls", report.Goal{})
	add("agents without attack calls that are stopped", wrong, "agents", report.AtMost(0))
}

// Benign counts detections among real LLM agents at honest work. Their timestamps are made
// up (order only), so nothing is said of rates.
func Benign(r *report.Report, plan *detector.Plan, paths ...string) error {
	calls, found := 0, 0
	for _, path := range paths {
		run := backtest.NewRunner(plan, shard.Options{})
		err := each(path, func(row *row) error {
			calls++
			found += len(run.Call(row.call()))
			return nil
		})
		if err != nil {
			return err
		}
	}
	r.Add(report.Figure{
		Name: fmt.Sprintf("detections among honest LLM agents (real, order only; %d calls, mostly within warm-up)", calls), Value: float64(found),
		Unit: "detections", Goal: report.AtMost(0), Command: Command,
	})
	return nil
}

// call turns the row into a call.
func (row *row) call() *telemetry.Call {
	c := &telemetry.Call{
		ID: []byte(row.ID), Time: row.TS.UnixNano(), Tenant: []byte(row.Tenant), Agent: []byte(row.Agent),
		Identity: []byte(row.Identity), Session: []byte(row.Session), Action: []byte(row.Action), Resource: []byte(row.Resource),
	}
	for _, m := range row.Chain {
		c.Chain = append(c.Chain, []byte(m))
	}
	switch {
	case row.Outcome == "ok" || row.Outcome == "":
	case row.Outcome == "denied", strings.Contains(row.Outcome, "Denied"), strings.HasPrefix(row.Outcome, "Client.Unauthorized"):
		c.Outcome = telemetry.OutcomeDenied
	default: // the sets name the error
		c.Outcome = telemetry.OutcomeError
	}
	return c
}

// each reads a gzipped file of JSON lines.
func each(path string, f func(*row) error) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("cannot read a labelled set: %w", err)
	}
	defer file.Close()
	unpacked, err := gzip.NewReader(bufio.NewReader(file))
	if err != nil {
		return fmt.Errorf("cannot unpack %q: %w", path, err)
	}
	dec := json.NewDecoder(unpacked)
	for n := 1; ; n++ {
		var r row
		err := dec.Decode(&r)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = f(&r)
		}
		if err != nil {
			return fmt.Errorf("%s, record %d: %w", filepath.Base(path), n, err)
		}
	}
}
