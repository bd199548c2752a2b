package main

import (
	"github.com/spf13/cobra"

	"github.com/estop-project/estop/pipeline/embedded/clickhouse"
)

func newEngine() *cobra.Command {
	return &cobra.Command{
		Use:    engineCommand,
		Short:  "Serve the ClickHouse engine (estop up starts this)",
		Hidden: true,
		Args:   noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := untilSignal(cmd)
			defer stop()
			return clickhouse.ServeChild(ctx)
		},
	}
}
