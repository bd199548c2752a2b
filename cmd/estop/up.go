package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/estop-project/estop/pipeline/node"
)

// engineCommand starts the process that holds ClickHouse.
const engineCommand = "clickhouse-engine"

func newUp() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run everything in this process: Kafka, NATS, ClickHouse and all roles",
		Long: `Runs the embedded engines and all roles until it is interrupted. The data stays in --dir;
a new start goes on where the last one ended.

ClickHouse needs its library, libchdb ('make libchdb' installs it). Without it the rest
runs, and calls wait in Kafka until it is there.`,
		Example: "  estop up\n  estop up --dir /var/lib/estop --kafka.port 9092 --nats.port 4222 --clickhouse.port 8123",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := untilSignal(cmd)
			defer stop()
			c, err := config(cmd)
			if err != nil {
				return err
			}
			self, err := os.Executable()
			if err != nil {
				return fmt.Errorf("cannot find this binary for ClickHouse's process: %w", err)
			}
			return node.Up(ctx, c, []string{self, engineCommand}, c.Logger(), func(e node.Endpoints) {
				writeEndpoints(cmd.OutOrStdout(), e)
			})
		},
	}
	d := node.Default()
	f := cmd.Flags()
	f.Int("kafka.port", 0, "port of the embedded Kafka; 0: a free one, kept over restarts")
	f.Int("nats.port", 0, "port of the embedded NATS")
	f.Int("clickhouse.port", 0, "port of the embedded ClickHouse")
	f.String("clickhouse.libchdb", "", "path of libchdb.so; empty: look for it")
	f.String("detectors.dir", "", "folder of detectors of your own, loaded live")
	f.Bool("detectors.catalog", d.Detectors.Catalog, "run the built-in detectors")
	f.String("notify.file", "", "file of sinks: whom to tell")
	return cmd
}

func writeEndpoints(w io.Writer, e node.Endpoints) {
	fmt.Fprintf(w, "estop is up\n  Kafka       %s\n  NATS        %s\n  ClickHouse  http://%s\n", e.Kafka[0], e.NATS, e.ClickHouse)
	if e.HTTP != "" {
		fmt.Fprintf(w, "  metrics     http://%s/metrics\n", e.HTTP)
	}
	fmt.Fprintf(w, "  public keys %s\n", e.Keys[1])
}
