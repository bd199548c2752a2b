package main

import "github.com/spf13/cobra"

func newGate() *cobra.Command {
	cmd := &cobra.Command{Use: "gate", Short: "Put agents under the switch: ready-made enforcement points"}
	cmd.AddCommand(newGateMCP(), newGateHTTP(), newGateEnvoy(), newGateForwardAuth())
	return cmd
}
