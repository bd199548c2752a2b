package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/estop-project/estop/pipeline/node"
	"github.com/estop-project/estop/revoke"
)

// panicFor is for how long panic stops everything.
const panicFor = 5 * time.Minute

func newPanic() *cobra.Command {
	var yes bool
	var wait time.Duration
	var reason, key string
	var guards int
	cmd := &cobra.Command{
		Use:   "panic",
		Short: "Stop everything for five minutes, now",
		Long: `For whoever is on call: stops every agent of every tenant for five minutes, in your name, without asking anybody else. It is
'estop kill --everything --break-glass --for 5m', and asks you to type the word unless you say --yes.

It ends by itself. To undo it before:  estop release --everything --reason 'false alarm'
To go on for longer, run it again; to stop only what is bad:  estop kill --tenant T --agent A --reason WHY`,
		Example: "  estop panic --reason 'agents delete customers'\n  estop panic --yes --reason 'agents delete customers'",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := withReason(reason); err != nil {
				return err
			}
			if !yes {
				fmt.Fprint(cmd.ErrOrStderr(), "This stops every agent of every tenant for five minutes. Type 'panic' to do it: ")
				line, _ := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
				if strings.TrimSpace(line) != "panic" {
					return errors.New("nothing was stopped: the word was not typed; --yes does not ask")
				}
			}
			err := control(cmd, key, guards, wait, func(ctx context.Context, k *node.Control) (node.Stopped, error) {
				now := time.Now()
				return k.KillAlone(ctx, revoke.Revocation{
					Tenant: revoke.Everything, Scope: revoke.Global, Subject: revoke.Everything, Action: revoke.Revoke,
					IssuedAt: now, Until: now.Add(panicFor), Reason: reason,
				})
			})
			if err == nil || errors.Is(err, revoke.ErrUnconfirmed) || errors.Is(err, node.ErrNoGuard) {
				fmt.Fprintln(cmd.ErrOrStderr(), "to undo it:  estop release --everything --reason 'false alarm'")
			}
			return err
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&yes, "yes", "y", false, "do not ask")
	reasonFlag(cmd, &reason, "why; it is shown to whoever is denied")
	keyFlag(cmd, &key)
	waitFlags(cmd, &guards, &wait)
	return cmd
}
