package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/estop-project/estop/pipeline/node"
)

func newRun() *cobra.Command {
	var names []string
	cmd := &cobra.Command{
		Use:     "run",
		Short:   "Run roles against Kafka, NATS and ClickHouse of your own",
		Example: "  estop run --role detect,acks --kafka.brokers kafka:9092 --nats.url nats://nats:4222\n  estop run --role archive --kafka.brokers kafka:9092 --nats.url nats://nats:4222 --clickhouse.addr clickhouse:8123",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := untilSignal(cmd)
			defer stop()
			roles, err := node.ParseRoles(names)
			if err != nil {
				return usageError{err}
			}
			c, err := config(cmd)
			if err != nil {
				return err
			}
			if err := c.CheckRemote(); err != nil {
				return usageError{err}
			}
			return node.Run(ctx, c, roles, c.Logger(), func(http string) error {
				fmt.Fprintf(cmd.OutOrStdout(), "estop runs %s\n", strings.Join(names, ", "))
				if http != "" {
					fmt.Fprintf(cmd.OutOrStdout(), "  metrics  http://%s/metrics\n", http)
				}
				return nil
			})
		},
	}
	var all, usual []string
	for _, r := range node.UsualRoles() {
		usual = append(usual, string(r))
	}
	for _, r := range node.Roles() {
		all = append(all, string(r))
	}
	f := cmd.Flags()
	f.StringSliceVar(&names, "role", usual, "roles to run")
	f.String("detectors.dir", "", "folder of detectors of your own, loaded live")
	f.Bool("detectors.catalog", true, "run the built-in detectors")
	f.String("notify.file", "", "file of sinks: whom the notify role tells")
	f.Int32("kafka.partitions", node.Default().Kafka.Partitions, "partitions of the topics that are made on start")
	complete(cmd, "role", all)
	return cmd
}
