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

// CloudTrail measures on a real AWS account under a simulated attack: how many of the agents
// that have an attack call are stopped, how many attack calls come before that, and how many
// agents without any are stopped. The set has too little honest history for a false-kill rate.
func CloudTrail(r *report.Report, plan *detector.Plan, path string) error {
	run := backtest.NewRunner(plan, shard.Options{})
	attackers, stopped, honest := map[string]bool{}, map[string]bool{}, map[string]bool{}
	before, attacks := 0, 0
	err := each(path, func(row *row) error {
		honest[row.Agent] = true
		if row.Label != nil && *row.Label == 1 {
			attackers[row.Agent] = true
			attacks++
			if !stopped[row.Agent] {
				before++
			}
		}
		for _, d := range run.Call(row.call()) {
			stopped[d.Agent] = true
		}
		return nil
	})
	if err != nil {
		return err
	}
	hit, wrong := 0, 0
	for a := range honest {
		switch {
		case attackers[a] && stopped[a]:
			hit++
		case stopped[a]:
			wrong++
		}
	}
	add := func(name string, value float64, unit string, goal report.Goal) {
		r.Add(report.Figure{Name: "CloudTrail under attack (real): " + name, Value: value, Unit: unit, Goal: goal, Command: Command})
	}
	add(fmt.Sprintf("agents with attack calls that are stopped, of %d", len(attackers)), float64(hit), "agents", report.Goal{})
	add(fmt.Sprintf("attack calls that a kill would have prevented, of %d", attacks), float64(attacks-before), "calls", report.Goal{})
	add("agents without attack calls that are stopped", float64(wrong), "agents", report.AtMost(0))
	return nil
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
