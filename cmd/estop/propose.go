package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/estop-project/estop/pipeline/node"
	"github.com/estop-project/estop/revoke"
)

// proposal holds the flags of an order that waits for a second operator.
type proposal struct {
	propose bool
	file    string
}

func (p *proposal) flags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&p.propose, "propose", false, "send nothing: let it wait in the queue for a second operator")
	cmd.Flags().StringVar(&p.file, "file", "", "with --propose: also write it there, for 'estop queue approve --file'")
}

func keyFlag(cmd *cobra.Command, key *string) {
	cmd.Flags().StringVar(key, "key", "", "your private key; empty: ESTOP_KEYS_OPERATOR, or keys/operator.jwk in --dir")
}

// proposed lets an order wait and prints it.
func proposed(cmd *cobra.Command, key, file string, act func(context.Context, *node.Control) (revoke.Proposal, error)) error {
	ctx, cancel := context.WithTimeout(cmd.Context(), 15*time.Second)
	defer cancel()
	k, err := newControl(ctx, cmd, key, 0)
	if err != nil {
		return err
	}
	defer k.Close()
	p, err := act(ctx, k)
	if p.Approval == "" {
		return err
	}
	if file != "" {
		b, e := json.MarshalIndent(p, "", "  ")
		if e == nil {
			e = os.WriteFile(file, append(b, '\n'), 0o600)
		}
		err = errors.Join(err, e)
	}
	return errors.Join(print(cmd, p, func(w io.Writer) {
		fmt.Fprintf(w, "proposed: %s, until %s\n  id %s\nanother operator sends it with: estop queue approve %s\n", what(p.Order), p.Order.Until.Local().Format(time.DateTime), p.Order.ID, p.Order.ID)
	}), err)
}

// what says in words what an order does to what.
func what(r revoke.Revocation) string {
	if r.Scope == revoke.Global {
		return string(r.Action) + " everything"
	}
	return fmt.Sprintf("%s %s %q of tenant %q", r.Action, r.Scope, r.Subject, r.Tenant)
}

// readProposal reads what --propose --file wrote.
func readProposal(file string) (revoke.Decision, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return revoke.Decision{}, err
	}
	p, err := revoke.ParseProposal(b)
	return revoke.Decision{Verdict: revoke.Proposed, Order: p.Order, Approval: p.Approval}, err
}

// twoHint says how to go on where one operator is not enough.
func twoHint(err error) error {
	if errors.Is(err, revoke.ErrUnapproved) {
		return fmt.Errorf("%w; nothing was sent. Let another operator agree with --propose, or, to stop for at most %v where the keys allow it, say --break-glass", err, revoke.BreakGlassLimit)
	}
	return err
}
