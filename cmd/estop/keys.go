package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newKeys() *cobra.Command {
	cmd := &cobra.Command{Use: "keys", Short: "Make the keys that revocations are signed with"}
	cmd.AddCommand(&cobra.Command{
		Use:   "init",
		Short: "Make a signing key and the file of public keys, unless they are there",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config(cmd)
			if err != nil {
				return err
			}
			if err := c.MakeKeys(); err != nil {
				return err
			}
			s, err := c.Signer()
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "key %s\n  private %s\n  public  %s (give this to guards)\n", s.KID, c.SignerPath(), c.VerifierPath())
			return nil
		},
	})
	return cmd
}
