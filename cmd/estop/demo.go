package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/estop-project/estop/bench/demo"
)

func newDemo() *cobra.Command {
	var o demo.Options
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "See it work: a simulated fleet, three agents go bad, real engines",
		Long: `Starts 'estop up' in a folder of its own, puts a fleet of 200 simulated agents to work behind
enforcement points, lets three of them go bad, kills the node with SIGKILL and starts it
again. It checks each claim that it makes and exits with 1 if one is untrue. The agents are
simulated; Kafka's protocol, NATS and the ClickHouse engine are real.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := untilSignal(cmd)
			defer stop()
			var err error
			if o.Binary, err = os.Executable(); err != nil {
				return err
			}
			o.Out = cmd.OutOrStdout()
			if !cmd.Flags().Changed("dir") {
				return demo.Run(ctx, o)
			}
			if o.Dir, err = cmd.Flags().GetString("dir"); err != nil {
				return err
			}
			return demo.Run(ctx, o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.CloudTrail, "cloudtrail", "", "file or folder of CloudTrail records to replay; empty: synthetic ones")
	f.StringVar(&o.LibCHDB, "clickhouse.libchdb", "", "path of libchdb.so; empty: look for it")
	f.Uint64Var(&o.Seed, "seed", 1, "seed of the simulated fleet")
	return cmd
}
