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
	"github.com/estop-project/estop/revoke/coverage"
)

func newStatus() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show who is stopped, which guards enforce, which detectors run, and how Kafka, NATS and ClickHouse are doing",
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
	writeGuards(w, s)
	fmt.Fprintf(w, "stopped now\t%d\n", len(s.Active))
	for _, r := range s.Active {
		fmt.Fprintf(w, "  %s %s\t%s/%s\tuntil %s  %s\n", r.Action, r.Scope, r.Tenant, r.Subject, r.Until.Local().Format(time.TimeOnly), faint(r.Reason))
	}
}

// writeGuards says how many guards enforce, and names those that do not.
func writeGuards(w io.Writer, s node.Status) {
	if s.GuardsError != "" {
		fmt.Fprintf(w, "guards\tnot known\t%s\n", faint(s.GuardsError))
		return
	}
	var known, enforcing int
	var slowest coverage.Guard
	for _, g := range s.Guards {
		if g.Known() {
			known++
		}
		if g.State == coverage.Enforcing {
			enforcing++
		}
		if g.Took > slowest.Took {
			slowest = g
		}
	}
	summary := fmt.Sprintf("%d known, %d enforcing", known, enforcing)
	if slowest.Guard != "" {
		summary += fmt.Sprintf(", slowest %s %v", slowest.Guard, slowest.Took.Round(time.Microsecond))
	}
	fmt.Fprintf(w, "guards\t%s\n", summary)
	for _, g := range s.Guards {
		if g.State != coverage.Enforcing {
			fmt.Fprintf(w, "  %s\t%s\tlast heard %s, knows what was %v before\n", g.Guard, red(string(g.State)), g.Seen.Local().Format(time.DateTime), g.Age.Round(time.Millisecond))
		}
		if g.Twins {
			fmt.Fprintf(w, "  %s\t%s\tan acknowledgement of one of them counts for both\n", g.Guard, red("two guards have this name"))
		}
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
