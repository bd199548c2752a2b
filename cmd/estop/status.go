package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/estop-project/estop/pipeline/node"
)

func newStatus() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show who is stopped, which detectors run, and how Kafka, NATS and ClickHouse are doing",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := remote(cmd)
			if err != nil {
				return err
			}
			s := node.ReadStatus(cmd.Context(), c, c.Logger())
			if err := print(cmd, s, func(w io.Writer) { writeStatus(w, s) }); err != nil {
				return err
			}
			if !s.Healthy() {
				return fmt.Errorf("a part of the node does not answer")
			}
			return nil
		},
	}
}

func writeStatus(out io.Writer, s node.Status) {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	defer w.Flush()
	part := func(name, at, failure string) {
		state := green("ok")
		if failure != "" {
			state = red(failure)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", name, at, state)
	}
	part("Kafka", strings.Join(s.Kafka, ","), s.KafkaError)
	for _, group := range slices.Sorted(maps.Keys(s.Lag)) {
		fmt.Fprintf(w, "  %s\tlag %d\n", group, s.Lag[group])
	}
	for _, topic := range slices.Sorted(maps.Keys(s.Topics)) {
		fmt.Fprintf(w, "  %s\t%d records\n", topic, s.Topics[topic])
	}
	part("NATS", s.NATS, s.NATSError)
	part("ClickHouse", s.ClickHouse, s.ClickHouseError)
	for _, table := range slices.Sorted(maps.Keys(s.Rows)) {
		fmt.Fprintf(w, "  %s\t%d rows\n", table, s.Rows[table])
	}
	if s.DetectorsError != "" {
		part("detectors", "", s.DetectorsError)
	}
	if d := s.Detectors; d != nil {
		writeRunning(w, d)
	}
	fmt.Fprintf(w, "stopped now\t%d\n", len(s.Active))
	for _, r := range s.Active {
		fmt.Fprintf(w, "  %s %s\t%s/%s\tuntil %s  %s\n", r.Action, r.Scope, r.Tenant, r.Subject, r.Until.Local().Format(time.TimeOnly), faint(r.Reason))
	}
}

func writeRunning(w io.Writer, d *node.DetectorStatus) {
	fmt.Fprintf(w, "detectors\t%d run\n", len(d.Running))
	for _, r := range d.Running {
		mode := r.Mode
		if r.Canary {
			mode = "canary"
		}
		fmt.Fprintf(w, "  %s\t%s\tversion %s since %s  %s\n", r.ID, mode, r.Version, r.Since.Local().Format(time.DateTime), faint(r.File))
	}
	if len(d.Refused) > 0 {
		fmt.Fprintf(w, "%s\t%d\n", red("refused"), len(d.Refused))
	}
	for _, r := range d.Refused {
		fmt.Fprintf(w, "  %s\n", r.Error)
	}
}
