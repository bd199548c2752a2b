package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/detector/catalog"
	"github.com/estop-project/estop/pipeline/backtest"
	"github.com/estop-project/estop/pipeline/node"
)

// liveDetectors is what --against calls those that the node runs.
const liveDetectors = "live"

var supposedModes = []string{detector.Observe.String(), detector.Alert.String(), detector.Enforce.String()}

func newBacktest() *cobra.Command {
	var h historyFlags
	var as, against string
	var suggest, exceptions bool
	var examples int
	cmd := &cobra.Command{
		Use:   "backtest [PATH] [DETECTOR…] --from LOG",
		Short: "Play history to detectors: what they would have found, and whom they would have stopped",
		Long: `Plays calls that were kept to detectors, through the same code as production, and reports what they
find and whom they would have stopped. Nothing is published and nobody is stopped.

PATH is a folder or a file of detectors; without it they are the built-in ones. DETECTOR is the id
of one that is to be reported; without one, all are. Histories come from files, as 'estop replay'
reads them, from the topic of calls in Kafka up to its end at the start, or from ClickHouse.

Nobody labelled the calls, so this is a hit rate: which hits are false only you can say. The same
log gives the same report, byte for byte; how fast it went stands on standard error.`,
		Example: "  estop backtest detectors/ --from calls.jsonl.gz\n  estop backtest detectors/ customer-export --from kafka --against live\n  estop backtest --from clickhouse --since 2026-11-01 --suggest\n  estop backtest detectors/ --from clickhouse --since 2026-11-01 --exceptions",
		RunE: func(cmd *cobra.Command, args []string) error {
			set, ids, err := detectorArgs(args)
			if err != nil {
				return err
			}
			opt := backtest.Options{Detectors: ids, As: as, Suggest: suggest, Exceptions: exceptions, Examples: examples}
			if opt.Against, err = againstSet(cmd, against); err != nil {
				return err
			}
			opt.AgainstName = against
			return runBacktest(cmd, &h, set, opt, func(r *backtest.Report) any { return r }, writeBacktest)
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return builtIn(), cobra.ShellCompDirectiveDefault
		},
	}
	h.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&as, "as", "", "suppose this mode of all detectors: observe, alert or enforce")
	f.StringVar(&against, "against", "", "compare with these: 'live' for those of the running node, or a folder or file")
	f.BoolVar(&suggest, "suggest", false, "propose exceptions and budgets for the noise, and show what each would drop")
	f.BoolVar(&exceptions, "exceptions", false, "show what each exception dropped: what would have been found without it")
	f.IntVar(&examples, "examples", 3, "how many detections of each detector are shown")
	complete(cmd, "as", supposedModes)
	return cmd
}

// runBacktest plays the log that the flags name and writes the report: for a program what the one function makes
// of it, for people what the other writes.
func runBacktest(cmd *cobra.Command, h *historyFlags, set *detector.Set, opt backtest.Options,
	value func(*backtest.Report) any, write func(io.Writer, *backtest.Report),
) error {
	var err error
	if opt.Scope, err = h.scope(); err != nil {
		return err
	}
	if opt.As != "" && !slices.Contains(supposedModes, opt.As) {
		return usageError{fmt.Errorf("--as: %q is not one of %s%s", opt.As, strings.Join(supposedModes, ", "), node.DidYouMean(opt.As, supposedModes))}
	}
	if _, err := wantsJSON(cmd); err != nil {
		return err
	}
	var report *backtest.Report
	var took time.Duration
	if err := h.play(cmd, func(ctx context.Context, log backtest.Log) error {
		began := time.Now()
		report, err = backtest.Run(ctx, log, set, opt)
		took = time.Since(began)
		return err
	}); err != nil {
		return err
	}
	if err := print(cmd, value(report), func(w io.Writer) { write(w, report) }); err != nil {
		return err
	}
	speed(cmd.ErrOrStderr(), report.Calls, took)
	return nil
}

// detectorArgs takes the arguments apart: a path that is there, and ids of detectors.
func detectorArgs(args []string) (set *detector.Set, ids []string, err error) {
	path := ""
	if len(args) > 0 {
		if _, err := os.Stat(args[0]); err == nil || strings.ContainsAny(args[0], "/.") {
			path, args = args[0], args[1:]
		}
	}
	if set, err = node.LoadDetectors(path); err != nil {
		return nil, nil, err
	}
	set = set.Live()
	var known []string
	for _, d := range set.Plan.Detectors {
		known = append(known, d.ID)
	}
	for _, id := range args {
		if !slices.Contains(known, id) {
			return nil, nil, usageError{fmt.Errorf("there is no detector %q%s", id, node.DidYouMean(id, known))}
		}
	}
	return set, args, nil
}

// againstSet loads what --against names; nil if it names nothing.
func againstSet(cmd *cobra.Command, against string) (*detector.Set, error) {
	switch against {
	case "":
		return nil, nil
	case liveDetectors:
		c, err := remote(cmd)
		if err != nil {
			return nil, err
		}
		set, note, err := c.LiveDetectors(cmd.Context())
		if err == nil && note != "" {
			fmt.Fprintf(cmd.ErrOrStderr(), "note: %s; compared with the files of this configuration\n", note)
		}
		return set, err
	}
	set, err := node.LoadDetectors(against)
	if err != nil {
		return nil, fmt.Errorf("--against: %w", err)
	}
	return set.Live(), nil
}

// builtIn returns the ids of the built-in detectors.
func builtIn() []string {
	set, errs := detector.Load(catalog.FS)
	if errors.Join(errs.Err()) != nil {
		return nil
	}
	var ids []string
	for _, d := range set.Plan.Detectors {
		ids = append(ids, d.ID)
	}
	return ids
}
