package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/estop-project/estop/pipeline/node"
)

func newDetectorCanary() *cobra.Command {
	var version, since, until string
	cmd := &cobra.Command{
		Use:   "canary [ID]",
		Short: "Compare what canaries found with what the live detectors did",
		Long: `Compares each canary, a detector in a folder canary/, with the live one of its id, by the detections that
ClickHouse holds: how many only the live one made, how many only the canary, and how many both, which is
of the same entity within 10 minutes, and whom they hit. A canary counts from its first detection, or from when the
running node loaded it if that was before; one that has ended, up to its last detection. The dashboard of detectors shows the same, over time, and the flags
with which this command counts in the time that is chosen there.`,
		Example: "  estop detector canary\n  estop detector canary customer-export -o json\n" +
			"  estop detector canary customer-export --since 2026-11-01 --until 2026-11-07",
		Args:              upTo(1),
		ValidArgsFunction: runningIDs(func(d node.RunningDetector) bool { return d.Canary }),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := remote(cmd)
			if err != nil {
				return err
			}
			id := path(args)
			q := node.CanaryQuery{ID: id, Version: version}
			if q.Since, err = parseTime("since", since, false); err != nil {
				return err
			}
			if q.Until, err = parseTime("until", until, true); err != nil {
				return err
			}
			all, err := c.Canaries(cmd.Context(), q)
			if err != nil {
				return err
			}
			if id != "" && len(all) == 0 {
				name := id
				if version != "" {
					name += " " + version
				}
				return fmt.Errorf("no canary %q runs, and ClickHouse holds no detection of one", name)
			}
			return print(cmd, all, func(w io.Writer) { writeCanaries(w, all) })
		},
	}
	f := cmd.Flags()
	f.StringVar(&version, "version", "", "of this version, in place of the one that runs or the last")
	f.StringVar(&since, "since", "", "compare from this time or day on, in place of the canary's")
	f.StringVar(&until, "until", "", "compare up to this time or day, in place of the canary's")
	return cmd
}

// runningIDs offers the ids of the detectors that the node runs and that are wanted.
func runningIDs(wanted func(node.RunningDetector) bool) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var ids []string
		if c, err := remote(cmd); err == nil {
			if s, err := c.RunningDetectors(cmd.Context()); err == nil && s != nil {
				for _, d := range s.Running {
					if wanted(d) && !slices.Contains(ids, d.ID) {
						ids = append(ids, d.ID)
					}
				}
			}
		}
		return ids, cobra.ShellCompDirectiveNoFileComp
	}
}

func writeCanaries(out io.Writer, all []node.CanaryReport) {
	if len(all) == 0 {
		fmt.Fprintln(out, "no canary runs, and none has found anything")
		return
	}
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	defer w.Flush()
	fmt.Fprintln(w, "canary\tversion\tsince\tonly live\tonly canary\tboth\tagents live\tagents canary")
	for _, r := range all {
		since := r.Since.Local().Format(time.DateTime)
		if r.Ended {
			since += " to " + r.Until.Local().Format(time.DateTime) + ", ended"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%d\t%d\t%d\n", r.Detector, r.Version, since, r.OnlyLive, r.OnlyCanary, r.Both, r.LiveAgents, r.CanaryAgents)
	}
}
