package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/backtest"
	"github.com/estop-project/estop/pipeline/node"
)

// detectorDiff is how two versions of detectors differ.
type detectorDiff struct {
	Changes []detector.Change `json:"changes"`
	History *backtest.Report  `json:"history,omitempty"`
}

func newDetectorDiff() *cobra.Command {
	var h historyFlags
	var as string
	cmd := &cobra.Command{
		Use:   "diff BEFORE NOW [--from LOG]",
		Short: "Show what changed in detectors, and what the change would have done",
		Long: `Compares two folders or files of detectors, key by key. With --from it plays history to both, and
shows which detections only one of them makes, and which come earlier or later.`,
		Example: "  estop detector diff detectors/ draft/\n  estop detector diff burst.yaml burst-new.yaml --from calls.jsonl.gz",
		Args:    exactArgs(2, "name the detectors before and now"),
		RunE: func(cmd *cobra.Command, args []string) error {
			before, err := node.LoadDetectors(args[0])
			if err != nil {
				return err
			}
			now, err := node.LoadDetectors(args[1])
			if err != nil {
				return err
			}
			diff := detectorDiff{Changes: detector.Diff(before, now)}
			if len(h.from) == 0 {
				return print(cmd, diff, func(w io.Writer) { writeChanges(w, diff.Changes) })
			}
			opt := backtest.Options{As: as, Against: before, AgainstName: args[0]}
			return runBacktest(cmd, &h, now, opt, func(r *backtest.Report) any {
				diff.History = r
				return diff
			}, func(w io.Writer, r *backtest.Report) {
				writeChanges(w, diff.Changes)
				fmt.Fprintln(w)
				writePlayed(w, r)
				writeComparison(w, r.Comparison)
			})
		},
	}
	h.flags(cmd)
	cmd.Flags().StringVar(&as, "as", "", "suppose this mode of all detectors: observe, alert or enforce")
	complete(cmd, "as", supposedModes)
	return cmd
}

func writeChanges(w io.Writer, changes []detector.Change) {
	if len(changes) == 0 {
		fmt.Fprintln(w, "the detectors are the same")
	}
	for _, c := range changes {
		switch c.Kind {
		case "added":
			fmt.Fprintln(w, green("+ "+c.ID))
		case "removed":
			fmt.Fprintln(w, red("- "+c.ID))
		default:
			fmt.Fprintf(w, "~ %s  %s\n", c.ID, faint(c.Before+" → "+c.Now))
			if len(c.Keys) == 0 {
				fmt.Fprintln(w, "    only comments or the layout")
			}
		}
		for _, k := range c.Keys {
			switch k.Kind {
			case "added":
				fmt.Fprintf(w, "    %s\n", green("+ "+k.Key+": "+k.Now))
			case "removed":
				fmt.Fprintf(w, "    %s\n", red("- "+k.Key+": "+k.Before))
			default:
				fmt.Fprintf(w, "    ~ %s: %s → %s\n", k.Key, k.Before, k.Now)
			}
		}
	}
}
