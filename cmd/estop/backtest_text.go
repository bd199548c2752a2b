package main

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/estop-project/estop/pipeline/backtest"
)

// writeBacktest writes a report for people.
func writeBacktest(w io.Writer, r *backtest.Report) {
	writePlayed(w, r)
	writeHits(w, r)
	if r.Comparison != nil {
		writeComparison(w, r.Comparison)
	}
	for i := range r.Detectors {
		writeExamples(w, &r.Detectors[i])
	}
	writeSuggestions(w, r.Suggestions)
	writeExceptions(w, r.Exceptions)
}

func writePlayed(w io.Writer, r *backtest.Report) {
	fmt.Fprintf(w, "%d calls, %s to %s\n", r.Reported, r.From.Format(time.RFC3339), r.To.Format(time.RFC3339))
	if n := r.Calls - r.Reported; n > 0 {
		fmt.Fprintf(w, "%d further calls were learned from\n", n)
	}
	for _, b := range r.Bad {
		fmt.Fprintf(w, "%s: %s\n", red(fmt.Sprintf("%d were no call", b.Calls)), b.Reason)
	}
	fmt.Fprintf(w, "%d agent-days with a call, %d of them of agents that a detector knew\n\n", r.AgentDays.All, r.AgentDays.Known)
}

func writeHits(out io.Writer, r *backtest.Report) {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "DETECTOR\tMODE\tCALLS\tENTITIES\tKNOWN\tDETECTIONS\tKILLS\tAGENTS\tOUT OF\tKILLS PER 1000\tAT MOST (95 %)\tBUDGET")
	line := func(name, mode, calls, entities, known string, units int, h *backtest.HitRate) {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d %s\t%s\t%s\t%s\n", name, mode, calls, entities, known,
			h.Detections, h.Kills, h.Agents, units, h.Units, rate(h.Value, units), rate(h.Upper, units), budgetText(h, units))
	}
	for i := range r.Detectors {
		d := &r.Detectors[i]
		units := d.Exposure.Known
		if d.Budget == "" {
			units = d.Exposure.All
		}
		mode := d.Mode
		if r.As != "" {
			mode = r.As
		}
		line(d.ID, mode, strconv.Itoa(d.Matched), strconv.Itoa(d.Entities), strconv.Itoa(d.Known), units, &d.HitRate)
	}
	if len(r.Detectors) > 1 {
		line("all", "", "", "", "", r.AgentDays.Known, &r.All)
	}
	w.Flush()
	fmt.Fprintln(out, "\nNobody labelled these calls: this is a hit rate. Which hits are false only you can say; if all are, it is the rate of false kills.")
}

func rate(x float64, units int) string {
	if units == 0 {
		return "not known"
	}
	return strconv.FormatFloat(x, 'f', 2, 64)
}

func budgetText(h *backtest.HitRate, units int) string {
	switch {
	case units == 0:
		return "not known"
	case h.Within == nil:
		return "none"
	case *h.Within:
		return green(rate(h.Budget, units))
	}
	return red(rate(h.Budget, units))
}

func writeExamples(w io.Writer, d *backtest.DetectorReport) {
	if len(d.Examples) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s: the first %d of %s\n", d.ID, len(d.Examples), plural(d.Detections, "detection"))
	for i := range d.Examples {
		e := &d.Examples[i]
		fmt.Fprintf(w, "  %s  %s %s/%s  %s %s", e.Time.Format(time.RFC3339), e.EntityBy, e.Tenant, e.Entity, e.Action, e.Resource)
		if e.Kill {
			fmt.Fprintf(w, "  %s", red(d.Response))
		}
		fmt.Fprintf(w, "\n      %s\n", faint("detection "+e.ID+", call "+e.CallID))
		for _, line := range e.Explanation {
			fmt.Fprintln(w, "      "+line)
		}
	}
}

func writeComparison(out io.Writer, c *backtest.Comparison) {
	fmt.Fprintf(out, "\nAgainst %s:\n", c.Against)
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "DETECTOR\tCHANGE\tDETECTIONS\tKILLS\tBOTH\tEARLIER\tLATER\tONLY BEFORE\tONLY NOW")
	for _, d := range c.Detectors {
		change := "none"
		switch {
		case d.VersionBefore == "":
			change = "new"
		case d.VersionNow == "":
			change = "gone"
		case d.Changed:
			change = d.VersionBefore + " → " + d.VersionNow
		}
		fmt.Fprintf(w, "%s\t%s\t%d → %d\t%d → %d\t%d\t%d\t%d\t%d\t%d\n", d.ID, change, d.Before, d.Now, d.KillsBefore, d.KillsNow, d.Both, d.Earlier, d.Later, d.OnlyBefore, d.OnlyNow)
	}
	w.Flush()
	for _, d := range c.Detectors {
		for _, x := range d.Differences {
			fmt.Fprintf(out, "  %s %s: %s/%s%s, call %s\n", d.ID, differenceWords[x.What], x.Tenant, x.Entity, when(x), x.CallID)
		}
	}
}

var differenceWords = map[string]string{"only_before": "no longer", "only_now": "only now", "earlier": "earlier", "later": "later"}

func when(x backtest.Difference) string {
	switch {
	case x.Before.IsZero():
		return " at " + x.Now.Format(time.RFC3339)
	case x.Now.IsZero():
		return " at " + x.Before.Format(time.RFC3339)
	}
	moved := x.Now.Sub(x.Before).Abs().Round(time.Millisecond)
	return fmt.Sprintf(" at %s, by %v", x.Now.Format(time.RFC3339), moved)
}

func writeSuggestions(w io.Writer, all []backtest.Suggestion) {
	for i, s := range all {
		if i == 0 {
			fmt.Fprintln(w, "\nProposals, if all that was found is noise. Look at what each drops before you take one.")
		}
		fmt.Fprintf(w, "\n%s: %s", s.Detector, plural(s.Detections, "detection"))
		if s.Allowed > 0 {
			fmt.Fprintf(w, ", the budget allows %s", strconv.FormatFloat(math.Round(s.Allowed*100)/100, 'f', -1, 64))
		}
		fmt.Fprintln(w)
		if len(s.Proposals) == 0 {
			fmt.Fprintln(w, "  no exception and no budget that was tried drops any of them")
		}
		for _, p := range s.Proposals {
			writeProposal(w, &p)
		}
	}
}

func writeProposal(w io.Writer, p *backtest.Proposal) {
	fmt.Fprintf(w, "  drops %d of %d, leaves %d", p.Dropped, p.Before, p.Left)
	if p.Others > 0 {
		fmt.Fprintf(w, "; %s", red(fmt.Sprintf("%d of the dropped broke the detector with other calls", p.Others)))
	}
	if p.New > 0 {
		fmt.Fprintf(w, "; %d come only with it", p.New)
	}
	if p.Kind == "exception" {
		fmt.Fprintf(w, "; excuses %d of %d calls", p.Excused, p.Matched)
	}
	fmt.Fprintln(w)
	for _, d := range p.Drops {
		fmt.Fprintf(w, "    %s/%s: %d", d.Tenant, d.Entity, d.Drops)
		if d.Others > 0 {
			fmt.Fprintf(w, ", %d with other calls", d.Others)
		}
		fmt.Fprintln(w)
	}
	if p.Kind == "exception" {
		fmt.Fprintln(w, "      exceptions:")
	}
	for line := range strings.Lines(p.YAML) {
		fmt.Fprint(w, "      ")
		if p.Kind == "exception" {
			fmt.Fprint(w, "  ")
		}
		fmt.Fprint(w, line)
	}
}

func writeExceptions(w io.Writer, all []backtest.Exception) {
	for i := range all {
		x := &all[i]
		if i == 0 {
			fmt.Fprintln(w, "\nExceptions, and what would have been found without each.")
		}
		fmt.Fprintf(w, "\n%s %s: %s  %s\n", x.Detector, x.Where, x.Reason, faint(exceptionText(x.Owner, x.Until, true)))
		if x.Excused == 0 && x.Dropped == 0 {
			fmt.Fprintf(w, "  excuses none of %s and drops nothing: is it still needed?\n", plural(x.Matched, "call"))
			continue
		}
		fmt.Fprintf(w, "  excuses %d of %s, drops %s", x.Excused, plural(x.Matched, "call"), plural(x.Dropped, "detection"))
		if x.Kills > 0 {
			fmt.Fprintf(w, ", %s", red(plural(x.Kills, "kill")))
		}
		if x.New > 0 {
			fmt.Fprintf(w, "; %d come only with it", x.New)
		}
		fmt.Fprintln(w)
		for _, d := range x.Drops {
			fmt.Fprintf(w, "    %s/%s: %d\n", d.Tenant, d.Entity, d.Drops)
		}
		for i := range x.Examples {
			e := &x.Examples[i]
			fmt.Fprintf(w, "  %s  %s %s/%s  %s %s  %s\n", e.Time.Format(time.RFC3339), e.EntityBy, e.Tenant, e.Entity, e.Action, e.Resource, faint("call "+e.CallID))
			for _, line := range e.Explanation {
				fmt.Fprintln(w, "      "+line)
			}
		}
	}
}

// exceptionText says who answers for an exception, and how long it holds or held.
func exceptionText(owner string, until time.Time, inForce bool) string {
	text := "nobody answers for it"
	if owner != "" {
		text = "owner " + owner
	}
	switch last := until.Add(-time.Nanosecond).UTC().Format(time.DateOnly); {
	case until.IsZero():
		return text + ", without end"
	case !inForce:
		return text + ", but it had ended: its last day was " + last
	default:
		return text + ", until " + last
	}
}

// plural writes a number of things.
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
