package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/detector/catalog"
	"github.com/estop-project/estop/pipeline/backtest"
)

func newDetector() *cobra.Command {
	cmd := &cobra.Command{Use: "detector", Short: "Check and test detectors"}
	cmd.AddCommand(
		&cobra.Command{
			Use:     "check [DIR]",
			Short:   "Check the detectors of a folder; without one, the built-in ones",
			Example: "  estop detector check detectors/",
			Args:    upTo(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				set, errs := detector.Load(detectorFiles(args))
				if err := errs.Err(); err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%d detectors are right\n", len(set.Plan.Detectors))
				return nil
			},
		},
		&cobra.Command{
			Use:     "test [DIR]",
			Short:   "Run the tests that stand in detector files",
			Example: "  estop detector test detectors/",
			Args:    upTo(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				set, errs := detector.Load(detectorFiles(args))
				if err := errs.Err(); err != nil {
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
	return cmd
}

func detectorFiles(args []string) fs.FS {
	if len(args) == 0 {
		return catalog.FS
	}
	return os.DirFS(args[0])
}

func writeResults(w io.Writer, r backtest.Results) {
	for _, t := range r.Tests {
		if t.Failure == "" {
			fmt.Fprintf(w, "%s  %s: %s\n", green("ok"), t.Detector, t.Name)
		} else {
			fmt.Fprintf(w, "%s  %s: %s\n      %s:%d: %s\n", red("FAIL"), t.Detector, t.Name, t.File, t.Line, t.Failure)
		}
	}
	fmt.Fprintf(w, "%d passed, %d failed\n", r.Passed, r.Failed)
}
