package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// keys is where a key is.
type keys struct {
	KID      string `json:"kid"`
	Signer   string `json:"signer"`
	Verifier string `json:"verifier"`
}

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
			k := keys{s.KID, c.SignerPath(), c.VerifierPath()}
			return print(cmd, k, func(w io.Writer) {
				fmt.Fprintf(w, "key %s\n  private %s\n  public  %s (give this to guards)\n", k.KID, k.Signer, k.Verifier)
			})
		},
	})
	return cmd
}
