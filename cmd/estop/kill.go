package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/estop-project/estop/pipeline/node"
	"github.com/estop-project/estop/revoke"
)

// target holds the flags that name what is stopped or released.
type target struct {
	tenant, agent, identity, session, chain string
	whole                                   bool // the whole tenant
	everything                              bool
}

func (t *target) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&t.tenant, "tenant", "", "the tenant (needed, but for --everything)")
	f.StringVar(&t.agent, "agent", "", "an agent of the tenant")
	f.StringVar(&t.identity, "identity", "", "an identity")
	f.StringVar(&t.session, "session", "", "a session")
	f.StringVar(&t.chain, "chain", "", "a member of delegation chains, and all below it")
	f.BoolVar(&t.whole, "whole-tenant", false, "everything of the tenant")
	f.BoolVar(&t.everything, "everything", false, "everything of every tenant; without --tenant")
}

// scope returns what the flags name. Empty never means all.
func (t *target) scope() (revoke.Scope, string, error) {
	var scope revoke.Scope
	var subject string
	n := 0
	for _, s := range []struct {
		scope revoke.Scope
		value string
	}{{revoke.Agent, t.agent}, {revoke.Identity, t.identity}, {revoke.Session, t.session}, {revoke.Chain, t.chain}} {
		if s.value != "" {
			scope, subject = s.scope, s.value
			n++
		}
	}
	if t.whole {
		scope, subject = revoke.Tenant, t.tenant
		n++
	}
	switch {
	case t.everything && (t.tenant != "" || n > 0):
		return "", "", usageError{errors.New("--everything stands alone: it is every tenant")}
	case t.everything:
		t.tenant = revoke.Everything
		return revoke.Global, revoke.Everything, nil
	case t.tenant == "":
		return "", "", usageError{errors.New("--tenant is needed")}
	case n != 1:
		return "", "", usageError{errors.New("name one of --agent, --identity, --session, --chain or --whole-tenant")}
	}
	return scope, subject, nil
}

// actions are what kill can do, weakest first.
var actions = []string{string(revoke.Throttle), string(revoke.Restrict), string(revoke.Revoke)}

func newKill() *cobra.Command {
	var t target
	var length, wait time.Duration
	var action, reason, key string
	var guards int
	var glass bool
	var p proposal
	cmd := &cobra.Command{
		Use:   "kill",
		Short: "Stop an agent, an identity, a session, a chain or a tenant now",
		Long: `Publishes a signed revocation and waits for the acknowledgements of all guards that are known to serve
the tenant. Only an acknowledgement counts as stopped: where one is missing the exit code is 4.`,
		Example: "  estop kill --tenant acme --agent invoice-bot --for 15m --reason 'reads what it should not'\n  estop kill --tenant acme --whole-tenant --for 5m --reason 'panic button' --guards 12",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			scope, subject, err := t.scope()
			if err != nil {
				return err
			}
			if length <= 0 {
				return usageError{errors.New("--for must be a positive time, such as 15m")}
			}
			if !slices.Contains(actions, action) {
				return usageError{fmt.Errorf("--action: %q is not one of %s%s", action, strings.Join(actions, ", "), node.DidYouMean(action, actions))}
			}
			if glass && (length > revoke.BreakGlassLimit || p.propose) {
				return usageError{fmt.Errorf("--break-glass is for at most %v, and without --propose", revoke.BreakGlassLimit)}
			}
			if err := withReason(reason); err != nil {
				return err
			}
			order := func() revoke.Revocation {
				now := time.Now()
				return revoke.Revocation{
					Tenant: t.tenant, Scope: scope, Subject: subject, Action: revoke.Action(action),
					IssuedAt: now, Until: now.Add(length), Reason: reason,
				}
			}
			if p.propose {
				return proposed(cmd, key, p.file, func(_ context.Context, k *node.Control) (revoke.Proposal, error) { return k.Propose(order()) })
			}
			return control(cmd, key, guards, wait, func(ctx context.Context, k *node.Control) (node.Stopped, error) {
				if glass {
					return k.KillAlone(ctx, order())
				}
				return k.Kill(ctx, order())
			})
		},
	}
	t.flags(cmd)
	f := cmd.Flags()
	f.DurationVar(&length, "for", 15*time.Minute, "how long, from now on")
	f.BoolVar(&glass, "break-glass", false, "stop for at most 15m what takes two operators, alone; it is recorded")
	p.flags(cmd)
	keyFlag(cmd, &key)
	f.StringVar(&action, "action", string(revoke.Revoke), "throttle, restrict or revoke")
	reasonFlag(cmd, &reason, "why; it is shown to whoever is denied")
	waitFlags(cmd, &guards, &wait)
	complete(cmd, "action", actions)
	return cmd
}

func newRelease() *cobra.Command {
	var t target
	var wait, shield time.Duration
	var reason, key string
	var guards int
	var p proposal
	cmd := &cobra.Command{
		Use:     "release",
		Short:   "End a revocation early",
		Example: "  estop release --tenant acme --agent invoice-bot --reason 'false alarm'",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			scope, subject, err := t.scope()
			if err != nil {
				return err
			}
			if err := withReason(reason); err != nil {
				return err
			}
			if p.propose {
				return proposed(cmd, key, p.file, func(ctx context.Context, k *node.Control) (revoke.Proposal, error) {
					return k.ProposeRelease(ctx, t.tenant, scope, subject, reason, shield)
				})
			}
			return control(cmd, key, guards, wait, func(ctx context.Context, k *node.Control) (node.Stopped, error) {
				return k.Release(ctx, t.tenant, scope, subject, reason, shield)
			})
		},
	}
	t.flags(cmd)
	f := cmd.Flags()
	p.flags(cmd)
	keyFlag(cmd, &key)
	f.DurationVar(&shield, "shield", 10*time.Minute, "for how long detectors cannot stop it again")
	reasonFlag(cmd, &reason, "why")
	waitFlags(cmd, &guards, &wait)
	return cmd
}

func waitFlags(cmd *cobra.Command, guards *int, wait *time.Duration) {
	cmd.Flags().IntVar(guards, "guards", 0, "how many guards must acknowledge; 0: all that are known, or, where none is, at least one")
	cmd.Flags().DurationVar(wait, "wait", time.Second, "how long to wait for acknowledgements")
}

// control does something to the kill switch and prints what came of it.
func control(cmd *cobra.Command, key string, guards int, wait time.Duration, act func(context.Context, *node.Control) (node.Stopped, error)) error {
	ctx, ended := untilSignal(cmd)
	defer ended()
	ctx, cancel := context.WithTimeout(ctx, wait+10*time.Second)
	defer cancel()
	k, err := newControl(ctx, cmd, key, guards)
	if err != nil {
		return err
	}
	defer k.Close()
	waiting, stop := context.WithTimeout(ctx, wait)
	defer stop()
	s, err := act(waiting, k)
	err = twoHint(err)
	if s.Revocation.ID == "" || errors.Is(err, revoke.ErrUnapproved) {
		return err
	}
	if s.Warning != "" {
		fmt.Fprintln(cmd.ErrOrStderr(), "estop: "+s.Warning)
	}
	return errors.Join(print(cmd, s, func(w io.Writer) { writeStopped(w, s) }), err)
}

// newControl connects for the operator whose key that is.
func newControl(ctx context.Context, cmd *cobra.Command, key string, guards int) (*node.Control, error) {
	c, err := remote(cmd)
	if err != nil {
		return nil, err
	}
	if key != "" {
		c.Keys.Operator = key
	}
	return node.NewControl(ctx, c, guards, c.Logger())
}

func writeStopped(w io.Writer, s node.Stopped) {
	r := s.Revocation
	fmt.Fprintf(w, "%s until %s\n  id %s\n", what(r), r.Until.Local().Format(time.DateTime), r.ID)
	for _, name := range s.Missing {
		fmt.Fprintf(w, "  %s by %s\n", red("not confirmed"), name)
	}
	for _, a := range s.Acks {
		fmt.Fprintf(w, "  %s by %s after %v, %d calls in flight cut\n", green("enforced"), a.Guard, a.Latency.Round(time.Microsecond), a.Cancelled)
	}
}
