package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fatih/color"
	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"github.com/estop-project/estop/bench/eval"
	"github.com/estop-project/estop/bench/report"
	"github.com/estop-project/estop/pipeline/embedded/sourcetree"
	"github.com/estop-project/estop/pipeline/node"
)

// evalFlags are where 'estop eval' finds what it needs, and where it leaves what it found.
type evalFlags struct {
	detectors, data, python string
	html, results           string
	quick, develop, strict  bool
}

func newEval() *cobra.Command {
	var o evalFlags
	names := eval.Names()
	cmd := &cobra.Command{
		Use:   "eval [SET…]",
		Short: "Measure how well detectors judge, on synthetic agents and on labelled data",
		Long: `Runs detectors over sets of calls whose truth is known, through the same code as production,
and reports what is found, how soon, what a kill prevents, how many kills are for nothing
against the promised budget, and what other ways to score find in the same run.

The sets are fleet, whose agents are made here, and those of the folder of labelled data.
Without a name all are measured, and those that are not at hand are left out with a note.`,
		Example: "  estop eval\n  estop eval fleet --detectors detectors/\n  estop eval darpa --data data/ --html darpa.html",
		Args: func(_ *cobra.Command, args []string) error {
			for _, arg := range args {
				if !slices.Contains(names, arg) {
					return fmt.Errorf("there is no set %q%s", arg, node.DidYouMean(arg, names))
				}
			}
			return nil
		},
		ValidArgsFunction: cobra.FixedCompletions(names, cobra.ShellCompDirectiveNoFileComp),
		RunE:              func(cmd *cobra.Command, args []string) error { return runEval(cmd, args, o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.detectors, "detectors", "", "folder or file of detectors; empty: the built-in ones")
	f.StringVar(&o.data, "data", os.Getenv("ESTOP_DATA"), "folder of the labelled data; empty: ../shared/data beside the source tree")
	f.StringVar(&o.python, "python", "python3", "Python that may have the packages river and rrcf; empty: none")
	f.StringVar(&o.html, "html", "", "write a page with plots to this file")
	f.StringVar(&o.results, "results", "", "write detection.json and detection.md into this folder")
	f.BoolVar(&o.quick, "quick", false, "measure little, in seconds: shows that all works, claims nothing")
	f.BoolVar(&o.develop, "develop", false, "measure all, but on a seed for development: to change detectors by, claims nothing")
	f.BoolVar(&o.strict, "strict", false, "exit with 1 where a figure misses its goal")
	return cmd
}

func runEval(cmd *cobra.Command, sets []string, o evalFlags) error {
	ctx, stop := untilSignal(cmd)
	defer stop()
	set, err := node.LoadDetectors(o.detectors)
	if err != nil {
		return err
	}
	plan := set.Plan
	if o.detectors == "" {
		plan = plan.Enforcing() // the others of the catalogue stop nobody, so nothing is promised of them
	}
	root, err := sourcetree.Root()
	if err != nil {
		root = "" // installed, not built here
	}
	data, err := dataFolder(o.data, root)
	if err != nil {
		return err
	}
	progress, done := newSteps()
	opt := eval.Options{Plan: plan, Sets: sets, Data: data, Python: o.python, Quick: o.quick, Develop: o.develop, Progress: progress}
	r := report.New(root, "Detection", opt.Seed(), time.Now())
	err = eval.Run(ctx, r, opt)
	done()
	switch {
	case ctx.Err() != nil:
		return errInterrupted
	case errors.Is(err, eval.ErrAbsent):
		return fmt.Errorf("%w; name the folder of labelled data with --data or ESTOP_DATA", err)
	case err != nil:
		return err
	}
	if err := writeEval(r, o); err != nil {
		return err
	}
	style := report.Style{Good: green, Bad: red, Faint: faint, Head: color.New(color.Bold).SprintFunc()}
	if err := print(cmd, r, func(w io.Writer) { _ = r.Text(w, style) }); err != nil {
		return err
	}
	if missed := r.Missed(); o.strict && missed > 0 {
		return fmt.Errorf("%d figures miss their goals", missed)
	}
	return nil
}

// dataFolder returns the folder of labelled data. One that was named must be there.
func dataFolder(named, root string) (string, error) {
	if named == "" {
		return filepath.Join(root, "..", "shared", "data"), nil
	}
	if info, err := os.Stat(named); err != nil || !info.IsDir() {
		return "", usageError{fmt.Errorf("--data: %q is no folder", named)}
	}
	return named, nil
}

// writeEval writes the files that were asked for.
func writeEval(r *report.Report, o evalFlags) error {
	if o.results != "" {
		if err := r.Write(o.results, "detection"); err != nil {
			return err
		}
	}
	if o.html == "" {
		return nil
	}
	f, err := os.Create(o.html)
	if err != nil {
		return fmt.Errorf("cannot write the page: %w", err)
	}
	return errors.Join(r.HTML(f), f.Close())
}

// newSteps shows on a terminal what is being measured, in one line that is taken away at the end.
func newSteps() (show func(set, step string), done func()) {
	if !isatty.IsTerminal(os.Stderr.Fd()) {
		return nil, func() {}
	}
	const clear = "\r\x1b[K"
	began := time.Now()
	show = func(set, step string) {
		fmt.Fprintf(os.Stderr, "%s%s %s: %s", clear, faint(time.Since(began).Round(time.Second)), set, step)
	}
	return show, func() { fmt.Fprint(os.Stderr, clear) }
}
