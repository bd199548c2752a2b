package main

import (
	"bytes"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/estop-project/estop/revoke"
)

func newVerify() *cobra.Command {
	var keys string
	cmd := &cobra.Command{
		Use:   "verify TOKEN|-",
		Short: "Check the signature of a revocation, offline",
		Long: `Checks a Security Event Token against the public keys, offline, and prints what it says. It
fails if a single bit differs from what was signed.`,
		Example: "  nats sub --raw --count 1 'estop.v1.revoke.>' | estop verify -",
		Args:    exactArgs(1, "give the token, or - for standard input"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := config(cmd)
			if err != nil {
				return err
			}
			if keys == "" {
				keys = c.VerifierPath()
			}
			v, err := revoke.LoadVerifier(keys)
			if err != nil {
				return err
			}
			token := []byte(args[0])
			if args[0] == "-" {
				if token, err = io.ReadAll(io.LimitReader(cmd.InOrStdin(), revoke.MaxToken+2)); err != nil {
					return fmt.Errorf("cannot read standard input: %w", err)
				}
			}
			r, err := v.Verify(bytes.TrimRight(token, "\r\n"), time.Now())
			if err != nil {
				return fmt.Errorf("refused: %w", err)
			}
			return print(cmd, r, func(w io.Writer) {
				fmt.Fprintf(w, "%s %s %s %q of tenant %q, issued %s, until %s\n  id %s\n  reason %s\n", green("genuine:"), r.Action, r.Scope, r.Subject, r.Tenant,
					r.IssuedAt.Local().Format(time.DateTime), r.Until.Local().Format(time.DateTime), r.ID, r.Reason)
			})
		},
	}
	cmd.Flags().StringVar(&keys, "keys", "", "file of public keys (default: the one in --dir)")
	return cmd
}
