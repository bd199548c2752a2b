package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/estop-project/estop/pipeline/backtest"
	"github.com/estop-project/estop/pipeline/node"
)

func newDetector() *cobra.Command {
	cmd := &cobra.Command{Use: "detector", Short: "Check and test detectors"}
	cmd.AddCommand(
		&cobra.Command{
			Use:     "check [PATH]",
			Short:   "Check the detectors of a folder or a file; without a path, the built-in ones",
			Example: "  estop detector check detectors/",
			Args:    upTo(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				set, err := node.LoadDetectors(path(args))
				if err != nil {
					return err
				}
				return print(cmd, map[string]int{"detectors": len(set.Plan.Detectors)}, func(w io.Writer) { writeRight(w, len(set.Plan.Detectors)) })
			},
		},
		&cobra.Command{
			Use:     "test [PATH]",
			Short:   "Run the tests that stand in detector files; without a path, the built-in ones",
			Example: "  estop detector test detectors/",
			Args:    upTo(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				set, err := node.LoadDetectors(path(args))
				if err != nil {
					return err
				}
				results := backtest.TestAll(set)
				if err := print(cmd, results, func(w io.Writer) { writeResults(w, results) }); err != nil {
					return err
				}
				if results.Failed > 0 {
					return errors.New("tests fail")
				}
				return nil
			},
		})
	cmd.AddCommand(newLint(), newFmt(), newNew(), newSchema(), newImport(), newDetectorDiff(), newDetectorExplain(), newDetectorCanary(), newDetectorHistory())
	return cmd
}

// path returns the argument, if there is one.
func path(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

func writeRight(w io.Writer, n int) {
	if n == 1 {
		fmt.Fprintln(w, "1 detector is right")
		return
	}
	fmt.Fprintf(w, "%d detectors are right\n", n)
}

func writeResults(w io.Writer, r backtest.Results) {
	for _, t := range r.Tests {
		if t.Failure == "" {
			fmt.Fprintf(w, "%s  %s: %s\n", green("ok"), t.Detector, t.Name)
		} else {
			fmt.Fprintf(w, "%s  %s: %s\n", red("FAIL"), t.Detector, t.Name)
			for _, u := range t.Unmet {
				fmt.Fprintf(w, "      %s:%d:%d: %s\n", t.File, u.Line, u.Column, u)
			}
		}
	}
	fmt.Fprintf(w, "%d passed, %d failed\n", r.Passed, r.Failed)
}
