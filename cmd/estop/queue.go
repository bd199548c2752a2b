package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/estop-project/estop/pipeline/archive"
	"github.com/estop-project/estop/pipeline/node"
	"github.com/estop-project/estop/revoke"
)

func newQueue() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "queue",
		Short: "Show what waits for a person, and decide about it",
		Long: `Lists what detectors would have stopped and the interlock held back: past a number of targets, past a share
of a tenant, or protected; and what an operator proposed that takes two. Each waits for a person until the stop would have ended by itself.`,
		Example: "  estop queue\n  estop queue approve 9645a27if78v1vvbm38tg7u0ee --reason 'seen in the logs'",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := remote(cmd)
			if err != nil {
				return err
			}
			all, err := c.Queue(cmd.Context())
			if err != nil {
				return err
			}
			return print(cmd, all, func(w io.Writer) { writeQueue(w, all) })
		},
	}
	cmd.AddCommand(newApprove(), newDismiss())
	return cmd
}

func writeQueue(out io.Writer, all []archive.Waiting) {
	if len(all) == 0 {
		fmt.Fprintln(out, "nothing waits")
		return
	}
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	defer w.Flush()
	fmt.Fprintln(w, "id\tsince\tuntil\twhat\ttenant\tdetector\ttimes\twhy")
	for _, h := range all {
		o := &h.Order
		fmt.Fprintf(w, "%s\t%s\t%s\t%s %s %s\t%s\t%s\t%d\t%s\n", o.ID, h.At.Local().Format(time.DateTime), o.Until.Local().Format(time.DateTime),
			o.Action, o.Scope, o.Subject, o.Tenant, by(h), h.Times, h.Why)
	}
}

// by is who ordered it: a detector, or the operator who proposed it.
func by(h archive.Waiting) string {
	if h.Verdict == revoke.Proposed {
		return h.By
	}
	return h.Order.Detector
}

func newApprove() *cobra.Command {
	var wait time.Duration
	var guards int
	var reason, key, file string
	cmd := &cobra.Command{
		Use:   "approve ID",
		Short: "Send what waits, in your own name",
		Long:  "Publishes what a detector ordered as yours, for as long as it had ordered, or, with your agreement, what another operator\nproposed; and waits for guards as 'estop kill' does.",
		Args: func(cmd *cobra.Command, args []string) error {
			if file != "" && len(args) == 0 {
				return nil
			}
			return oneID(cmd, args)
		},
		ValidArgsFunction: waitingIDs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := withReason(reason); err != nil {
				return err
			}
			var held revoke.Decision
			var err error
			if file != "" {
				held, err = readProposal(file)
			} else {
				held, err = waiting(cmd, args[0])
			}
			if err != nil {
				return err
			}
			return control(cmd, key, guards, wait, func(ctx context.Context, k *node.Control) (node.Stopped, error) {
				return k.Approve(ctx, held, reason)
			})
		},
	}
	reasonFlag(cmd, &reason, "why")
	cmd.Flags().StringVar(&file, "file", "", "a proposal as --propose --file wrote it, in place of an ID")
	keyFlag(cmd, &key)
	waitFlags(cmd, &guards, &wait)
	return cmd
}

func newDismiss() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:               "dismiss ID",
		Short:             "Let be what the interlock held back",
		Args:              oneID,
		ValidArgsFunction: waitingIDs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := withReason(reason); err != nil {
				return err
			}
			c, err := remote(cmd)
			if err != nil {
				return err
			}
			held, err := waiting(cmd, args[0])
			if err != nil {
				return err
			}
			k, err := node.NewControl(cmd.Context(), c, 0, c.Logger())
			if err != nil {
				return err
			}
			defer k.Close()
			if err := k.Dismiss(held, reason); err != nil {
				return err
			}
			return print(cmd, held, func(w io.Writer) {
				fmt.Fprintf(w, "dismissed: %s %s %q of tenant %q; it leaves the queue within seconds\n", held.Order.Action, held.Order.Scope, held.Order.Subject, held.Order.Tenant)
			})
		},
	}
	reasonFlag(cmd, &reason, "why")
	return cmd
}

func oneID(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usageError{errors.New("name one id, as 'estop queue' shows it")}
	}
	return nil
}

func waiting(cmd *cobra.Command, id string) (revoke.Decision, error) {
	c, err := remote(cmd)
	if err != nil {
		return revoke.Decision{}, err
	}
	w, err := c.Waiting(cmd.Context(), id)
	return w.Decision, err
}

// waitingIDs offers what waits.
func waitingIDs(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var ids []string
	if c, err := remote(cmd); err == nil && len(args) == 0 {
		if all, err := c.Queue(cmd.Context()); err == nil {
			for _, w := range all {
				ids = append(ids, fmt.Sprintf("%s\t%s %s", w.Order.ID, w.Order.Scope, w.Order.Subject))
			}
		}
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}
