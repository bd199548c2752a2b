package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/estop-project/estop/pipeline/node"
	"github.com/estop-project/estop/revoke"
)

func newDrill() *cobra.Command {
	var o node.DrillOptions
	var every time.Duration
	cmd := &cobra.Command{
		Use:   "drill",
		Short: "Test the kill switch: fire revocations that stop nobody, and see who confirms them",
		Long: `Signs revocations of sessions that no call has, publishes them, and waits for every known guard. With --calls it goes the
whole way: it sends marked calls of the tenant estop-drill to Kafka, and the detect role answers each with such a revocation. Nothing
is learned of them, and no limit counts them. The times are from before the publication, or the append of the call, to when
the acknowledgement is here, by this machine's clock. Where an acknowledgement is missing, or a call is not answered, the exit code is 4.`,
		Example: "  estop drill\n  estop drill --calls\n  estop drill --tenant acme --count 100 --json\n  estop drill --every 1h",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Count <= 0 || o.Wait <= 0 || every < 0 {
				return usageError{errors.New("--count and --wait must be positive, and --every not negative")}
			}
			c, err := remote(cmd)
			if err != nil {
				return err
			}
			ctx, ended := untilSignal(cmd)
			defer ended()
			k, err := node.NewControl(ctx, c, 0, c.Logger())
			if err != nil {
				return err
			}
			defer k.Close()
			return drills(ctx, cmd, k, o, every)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Tenant, "tenant", "", "whose guards are tried; empty: every known guard")
	f.IntVar(&o.Count, "count", 10, "how many revocations each tenant gets")
	f.DurationVar(&o.Wait, "wait", 2*time.Second, "how long guards may take for each")
	f.BoolVar(&o.Calls, "calls", false, "go the whole way: send marked calls, which the detect role answers with revocations")
	f.DurationVar(&every, "every", 0, "repeat the drill this often, until interrupted; 0: once")
	return cmd
}

// drills holds a drill, and again after a time until it is interrupted. What was wrong in one of them is not
// forgotten.
func drills(ctx context.Context, cmd *cobra.Command, k *node.Control, o node.DrillOptions, every time.Duration) error {
	var worst error
	for {
		bar := newBar("drill", 1, false)
		d, err := k.Drill(ctx, o, func(done, of int) {
			bar.ChangeMax(of)
			_ = bar.Set(done) // it is only for the eyes
		})
		_ = bar.Finish()
		if ctx.Err() != nil {
			return errors.Join(worst, interruptedUnless(every > 0))
		}
		if err != nil && !errors.Is(err, revoke.ErrUnconfirmed) && !errors.Is(err, node.ErrNotJudged) {
			return err
		}
		if err := print(cmd, d, func(w io.Writer) { writeDrill(w, d) }); err != nil {
			return err
		}
		if every == 0 {
			return err
		}
		if err != nil {
			worst = err
			fmt.Fprintln(cmd.ErrOrStderr(), "estop:", err)
		}
		select {
		case <-ctx.Done():
			return worst
		case <-time.After(every):
		}
	}
}

// interruptedUnless says that a signal ended the command, unless that is how it is meant to end.
func interruptedUnless(meant bool) error {
	if meant {
		return nil
	}
	return errInterrupted
}

func writeDrill(out io.Writer, d node.Drill) {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	defer w.Flush()
	fmt.Fprintf(w, "%d of %d confirmed\tp50 %s\tp99 %s\tworst %s\n", d.Confirmed, d.Expected, short(d.P50), short(d.P99), short(d.Worst))
	if d.Detect != nil {
		state := green("judged")
		if d.Judged < d.Sent {
			state = red("not judged")
		}
		fmt.Fprintf(w, "  detect\t%s %d of %d\tp50 %s\tp99 %s\tworst %s\n", state, d.Judged, d.Sent, short(d.Detect.P50), short(d.Detect.P99), short(d.Detect.Worst))
	}
	for _, g := range d.Guards {
		state := green("confirmed")
		if g.Confirmed < g.Expected {
			state = red("missing")
		}
		fmt.Fprintf(w, "  %s\t%s %d of %d\tp50 %s\tp99 %s\tworst %s\n", g.Guard, state, g.Confirmed, g.Expected, short(g.P50), short(g.P99), short(g.Worst))
	}
}

func short(d time.Duration) string { return d.Round(10 * time.Microsecond).String() }
