package main

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/estop-project/estop/pipeline/node"
)

func newGate() *cobra.Command {
	cmd := &cobra.Command{Use: "gate", Short: "Put agents under the switch: ready-made enforcement points"}
	cmd.AddCommand(newGateMCP(), newGateHTTP(), newGateEnvoy(), newGateForwardAuth())
	return cmd
}

// addGateFlags adds the flags of a gate, and those by which every gate finds the node and is watched.
func addGateFlags(cmd *cobra.Command, f *pflag.FlagSet) {
	addKeyedFlags(cmd, f)
	cmd.Flags().String("http.addr", "", "where metrics and health of this gate are served; empty: nowhere")
	cmd.Flags().String("keys.verifier", "", "file of the public keys (default: that of the node in --dir)")
}

// addKeyedFlags adds flags whose keys are in the section gate: --max-stale is gate.max_stale.
func addKeyedFlags(cmd *cobra.Command, f *pflag.FlagSet) {
	f.VisitAll(func(f *pflag.Flag) {
		f.Annotations = map[string][]string{node.KeyOfFlag: {"gate." + strings.ReplaceAll(f.Name, "-", "_")}}
	})
	cmd.Flags().AddFlagSet(f)
}
