package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/backtest"
	"github.com/estop-project/estop/pipeline/shard"
)

// detectionID is what ids of detections look like: 128 bits in base 32.
var detectionID = regexp.MustCompile(`^[0-9a-v]{26}$`)

func newDetectorExplain() *cobra.Command {
	var h historyFlags
	var call, at, detectors string
	cmd := &cobra.Command{
		Use:   "explain DETECTION|PATH [DETECTOR…] [--from LOG]",
		Short: "Show why a detector fired, or why it did not, step by step",
		Long: `Shows, for one call, which conditions held and with which values, what excused it, how much was known
of the agent, what each feature was and what its baseline expected, and how far the evidence is from the level.

DETECTION is the id of a detection. Without --from, the running node's ClickHouse tells what was
seen when it was made; with --from, the log is played again up to it, which shows every step.

PATH is a folder or file of detectors; then --call names the call, or --agent and --at: the last call
of the agent up to that time. The log is played up to it, and what the detectors thought of it is shown.`,
		Example: "  estop detector explain 9645a27if78v1vvbm38tg7u0ee\n  estop detector explain detectors/ --from calls.jsonl --agent support --at 2026-01-16T00:00:30Z\n  estop detector explain detectors/ customer-export --from kafka --call call-17",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{errors.New("name a detection, or a folder or file of detectors")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			asked := backtest.Asked{Tenant: h.tenant, CallID: call, Agent: h.agent}
			if _, err := os.Stat(args[0]); err != nil && detectionID.MatchString(args[0]) {
				if len(h.from) == 0 {
					return explainStored(cmd, args[0])
				}
				asked.Detection, asked.CallID, asked.Agent = args[0], "", ""
				args[0] = detectors
				if args[0] == "" {
					args = args[1:]
				}
			} else if (call == "") == (h.agent == "") {
				return usageError{errors.New("name the call with --call, or the agent with --agent and the time with --at")}
			}
			set, ids, err := detectorArgs(args)
			if err != nil {
				return err
			}
			asked.Detectors = ids
			if asked.At, err = parseTime("at", at, true); err != nil {
				return err
			}
			return explainPlayed(cmd, &h, set, asked)
		},
	}
	f := cmd.Flags()
	h.source(cmd)
	f.StringVar(&h.tenant, "tenant", "", "play the calls of this tenant alone")
	f.StringVar(&h.agent, "agent", "", "explain a call of this agent: the last one up to --at")
	f.StringVar(&at, "at", "", "a time, or a day; without it, the last call of all")
	f.StringVar(&call, "call", "", "explain the call with this id")
	f.StringVar(&detectors, "detectors", "", "for a detection: the folder or file of its detector; empty: the built-in ones")
	return cmd
}

// explainStored shows what the running node keeps of a detection.
func explainStored(cmd *cobra.Command, id string) error {
	c, err := remote(cmd)
	if err != nil {
		return err
	}
	d, ok, err := c.Detection(cmd.Context(), id)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("ClickHouse holds no detection %s", id)
	}
	return print(cmd, d, func(w io.Writer) { writeDetection(w, &d) })
}

// explainPlayed plays the log and shows what was thought of the call.
func explainPlayed(cmd *cobra.Command, h *historyFlags, set *detector.Set, asked backtest.Asked) (err error) {
	var e *backtest.CallExplanation
	if err := h.play(cmd, func(ctx context.Context, log backtest.Log) error {
		e, err = backtest.Explain(ctx, log, set, asked)
		return err
	}); err != nil {
		return err
	}
	return print(cmd, e, func(w io.Writer) { writeExplanation(w, e) })
}

func writeDetection(w io.Writer, d *detector.Detection) {
	name := d.Detector
	if d.Canary {
		name += ", a canary,"
	}
	fmt.Fprintf(w, "%s %s fired at %s on %s %s/%s\n", name, faint(d.Version), d.Time.Format(time.RFC3339Nano), d.EntityBy, d.Tenant, d.Entity)
	fmt.Fprintf(w, "  call      %s by %s: %s %s\n", d.CallID, d.Agent, d.Action, d.Resource)
	if d.FirstBad != d.CallID {
		fmt.Fprintf(w, "  first bad %s\n", d.FirstBad)
	}
	if d.Budget == "" {
		fmt.Fprintf(w, "  reason    %s\n", d.Reason)
	} else {
		fmt.Fprintf(w, "  reason    %s; evidence %.4g, level %.4g, budget %s\n", d.Reason, d.LogEvidence, d.LogLevel, d.Budget)
	}
	for i := range d.Features {
		fmt.Fprintf(w, "  feature   %s\n", backtest.SampleText(&d.Features[i]))
	}
	for _, s := range d.Signs {
		fmt.Fprintf(w, "  sign      %s at %s  %s\n", s.Detector, s.Time.Format(time.RFC3339Nano), faint(s.ID))
	}
	if d.Step > 0 {
		fmt.Fprintf(w, "  step      %d of a graded answer\n", d.Step)
	}
	answer := d.Revocation
	if answer == "" {
		answer = "none"
	}
	fmt.Fprintf(w, "  mode      %s\n  revocation %s\n", d.Mode, answer)
}

func writeExplanation(w io.Writer, e *backtest.CallExplanation) {
	c := &e.Call
	fmt.Fprintf(w, "call %s at %s: %s/%s %s %s, %s\n", c.ID, c.Time.Format(time.RFC3339Nano), c.Tenant, c.Agent, c.Action, c.Resource, c.Outcome)
	for i := range e.Detectors {
		writeThought(w, &e.Detectors[i])
	}
}

// mark shows whether a step held.
func mark(holds bool) string {
	if holds {
		return green("✓")
	}
	return red("✗")
}

func writeThought(w io.Writer, d *backtest.DetectorExplanation) {
	verdict := strings.ReplaceAll(d.Verdict, "_", " ")
	if d.Verdict == "fired" {
		verdict = red(verdict)
	}
	fmt.Fprintf(w, "\n%s: %s; %s\n", d.ID, verdict, d.Why)
	if len(d.Trace.Match) == 0 {
		fmt.Fprintf(w, "  match      %s every call\n", mark(true))
	} else {
		fmt.Fprintf(w, "  match      %s\n", mark(d.Trace.Matches))
		writeSteps(w, d.Trace.Match)
	}
	for i := range d.Trace.Exceptions {
		x := &d.Trace.Exceptions[i]
		fmt.Fprintf(w, "  exception  %s %s%s\n", mark(x.Matches && x.InForce), x.Reason, faint("  "+exceptionText(x.Owner, x.Until, x.InForce)))
		writeSteps(w, x.Match)
	}
	if a := d.Account; a != nil {
		writeAccount(w, a)
	}
	answer := "none in this mode"
	if d.Response != "" {
		answer = d.Response
	}
	fmt.Fprintf(w, "  mode       %s, response: %s\n", d.Mode, answer)
}

func writeSteps(w io.Writer, steps []shard.Step) {
	for _, s := range steps {
		fmt.Fprintf(w, "    %s%s %s", strings.Repeat("  ", s.Depth), mark(s.Holds), s.Text)
		switch {
		case s.Test && s.Has:
			fmt.Fprintf(w, "  %s", faint("the call has "+s.Value))
		case s.Test:
			fmt.Fprintf(w, "  %s", faint("the call has none"))
		}
		fmt.Fprintln(w)
	}
}

func writeAccount(w io.Writer, a *shard.Account) {
	if a.OffSchedule {
		fmt.Fprintf(w, "  schedule   %s it may not fire at this time\n", mark(false))
	}
	baseline := slices.ContainsFunc(a.Features, func(f shard.FeatureAccount) bool { return f.Baseline })
	if baseline {
		fmt.Fprintf(w, "  known      %s %s\n", mark(a.Known), backtest.WarmupText(&a.Warmup))
	}
	for i := range a.Features {
		f := &a.Features[i]
		if !f.Baseline {
			fmt.Fprintf(w, "  feature    %s %.6g\n", f.Feature, f.Value)
			continue
		}
		fmt.Fprintf(w, "  feature    %s", backtest.SampleText(&f.Sample))
		if f.LogE != 0 {
			fmt.Fprintf(w, ", e-value of this slot %.4g", f.LogE)
		}
		fmt.Fprintf(w, ", weight %.3g, %.0f %% of the evidence\n", f.Weight, 100*f.Share)
	}
	if baseline {
		fmt.Fprintf(w, "  evidence   %s %.4g; the budget asks %.4g, its own past and peers %.4g", mark(a.Evidence >= a.AskedLevel), a.Evidence, a.BudgetLevel, a.PastLevel)
		if a.AskedLevel > max(a.BudgetLevel, a.PastLevel) {
			fmt.Fprintf(w, ", a further alarm %.4g", a.AskedLevel)
		}
		fmt.Fprintf(w, " (natural logarithms)\n  past       %d days or sessions of its own\n", a.PastBlocks)
	}
	if a.When != "" {
		fmt.Fprintf(w, "  limit      %s %s\n", mark(a.Limit), a.When)
	}
	if a.Quiet {
		fmt.Fprintf(w, "  quiet      until %s, after its last detection\n", a.QuietUntil.Format(time.RFC3339))
	}
}
