package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/node"
)

const lintHelp = `Say what is right in detectors and yet may not be meant, where, and how to put it right; and what
each detector takes.

A comment silences a rule for its detector: # estop-lint: ignore no-test — a sketch

The costs are estimated from the detectors' features, for an agent that is at work; they are
no measurement.`

func newLint() *cobra.Command {
	o := detector.DefaultLintOptions(time.Now())
	var strict bool
	cmd := &cobra.Command{
		Use:   "lint [PATH]",
		Short: "Warn of what may not be meant, and estimate costs; without a path, of the built-in ones",
		Long:  lintHelp + "\n\nRules:\n" + rules(),
		Example: `  estop detector lint detectors/
  estop detector lint --strict --kept 4320h detectors/`,
		Args: upTo(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			files, err := node.DetectorPath(path(args))
			if err != nil {
				return err
			}
			report, errs := detector.Lint(files, o)
			if err := errs.Err(); err != nil {
				return err
			}
			if len(report.Costs) == 0 {
				return fmt.Errorf("no detector in %q: a detector is a file that ends in .yaml or .yml", path(args))
			}
			if err := print(cmd, lintOutput{report, estimateNote}, func(w io.Writer) { writeLint(w, report) }); err != nil {
				return err
			}
			if strict && len(report.Warnings) > 0 {
				return errors.New(counted(len(report.Warnings), "warning"))
			}
			return nil
		},
		ValidArgsFunction: detectorFiles,
	}
	f := cmd.Flags()
	f.BoolVar(&strict, "strict", false, "end with 1 where there is a warning")
	f.DurationVar(&o.Kept, "kept", o.Kept, "for how long calls are kept")
	f.Float64Var(&o.MostKills, "most-kills", o.MostKills, "false kills a day among 1000 agents that a detector's budget may allow")
	f.Float64Var(&o.Usage.Sessions, "sessions", o.Usage.Sessions, "sessions of an agent in a day")
	f.Float64Var(&o.Usage.Calls, "calls", o.Usage.Calls, "calls of an agent in a day")
	return cmd
}

// detectorFiles completes the path of detectors.
func detectorFiles(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return []string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
}

func rules() string {
	var b strings.Builder
	for _, r := range detector.LintRules() {
		fmt.Fprintf(&b, "  %-24s %s\n", r.Name, r.What)
	}
	return strings.TrimRight(b.String(), "\n")
}

const estimateNote = "estimated from the features, for an agent at work; no measurement"

// lintOutput is what programs get.
type lintOutput struct {
	*detector.LintReport
	Note string `json:"note"`
}

func writeLint(w io.Writer, r *detector.LintReport) {
	for _, warning := range r.Warnings {
		fmt.Fprintf(w, "%s:%d:%d: %s %s\n", warning.File, warning.Line, warning.Column, warning.Msg, faint("["+warning.Rule+"]"))
		fmt.Fprintf(w, "    %s\n", warning.Hint)
	}
	summary := green("no warnings")
	if n := len(r.Warnings); n > 0 {
		summary = red(counted(n, "warning"))
	}
	if r.Silenced > 0 {
		summary += fmt.Sprintf(", %d silenced", r.Silenced)
	}
	fmt.Fprintf(w, "%s\n\n", summary)
	writeCosts(w, r)
	fmt.Fprintln(w, faint(estimateNote))
}

func writeCosts(w io.Writer, r *detector.LintReport) {
	const all = "all, and the call itself"
	width := len(all)
	for _, c := range r.Costs {
		width = max(width, len(c.Detector))
	}
	row := func(name, ns, bytes, kills string) {
		fmt.Fprintf(w, "%-*s  %9s  %14s  %s\n", width, name, ns, bytes, kills)
	}
	row("detector", "ns a call", "bytes an agent", "false kills allowed a day among 1000 agents")
	for _, c := range append(slices.Clone(r.Costs), r.Total) {
		row(cmp.Or(c.Detector, all), fmt.Sprintf("%.0f", c.NsCall), fmt.Sprintf("%.0f", c.BytesAgent), kills(c))
	}
}

// kills is a dash where a detector stops nobody by its budget.
func kills(c detector.Cost) string {
	if c.Kills == 0 {
		return "-"
	}
	return fmt.Sprintf("%.3g", c.Kills)
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
