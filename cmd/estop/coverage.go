package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/estop-project/estop/pipeline/archive"
)

func newCoverage() *cobra.Command {
	var tenant string
	var last int
	cmd := &cobra.Command{
		Use:   "coverage [REVOCATION]",
		Short: "Show which guards confirmed a revocation, and which did not",
		Long: `Lists the last revocations with how many of the guards that were known then have acknowledged them; with the
id of a revocation, what each guard did of it. ClickHouse is asked, which has it within a second or two.`,
		Example:           "  estop coverage --tenant acme\n  estop coverage ru40blli4b01u7ccebsnmohbd4",
		Args:              atMostOneID,
		ValidArgsFunction: recentIDs,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := remote(cmd)
			if err != nil {
				return err
			}
			if last <= 0 {
				return usageError{fmt.Errorf("--last must be a positive number")}
			}
			if len(args) == 1 {
				all, err := c.Confirmations(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				return print(cmd, all, func(w io.Writer) { writeConfirmations(w, all) })
			}
			all, err := c.Coverages(cmd.Context(), tenant, last)
			if err != nil {
				return err
			}
			return print(cmd, all, func(w io.Writer) { writeCoverages(w, all) })
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "of one tenant; empty: of all")
	cmd.Flags().IntVar(&last, "last", 20, "how many revocations, the newest first")
	return cmd
}

func atMostOneID(_ *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usageError{fmt.Errorf("name one id at most, as 'estop coverage' shows it")}
	}
	return nil
}

func writeCoverages(out io.Writer, all []archive.Coverage) {
	if len(all) == 0 {
		fmt.Fprintln(out, "nothing was revoked")
		return
	}
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	defer w.Flush()
	fmt.Fprintln(w, "id\tissued\twhat\ttenant\tconfirmed\tslowest\tmissing")
	for _, c := range all {
		slowest := ""
		if c.Slowest != "" {
			slowest = fmt.Sprintf("%s %v", c.Slowest, c.SlowestBy.Round(time.Microsecond))
		}
		fmt.Fprintf(w, "%s\t%s\t%s %s %s\t%s\t%d of %d\t%s\t%s\n", c.Revocation, c.IssuedAt.Local().Format(time.DateTime), c.Action, c.Scope, c.Subject,
			c.Tenant, c.Confirmed, c.Known, slowest, red(strings.Join(c.Missing, ", ")))
	}
}

func writeConfirmations(out io.Writer, all []archive.Confirmation) {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	defer w.Flush()
	fmt.Fprintln(w, "guard\tstate\ttook\tcut\tfirst denied")
	for _, c := range all {
		state, took, denied := red("missing"), "", ""
		if c.Confirmed {
			state, took = green("confirmed"), c.Latency.Round(time.Microsecond).String()
		}
		if !c.Known {
			state += " " + faint("(came later)")
		}
		if !c.FirstDenied.IsZero() {
			denied = c.FirstDenied.Local().Format("15:04:05.000")
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\n", c.Guard, state, took, c.Cancelled, denied)
	}
}

// recentIDs offers what was revoked lately.
func recentIDs(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var ids []string
	if c, err := remote(cmd); err == nil && len(args) == 0 {
		if all, err := c.Coverages(cmd.Context(), "", 20); err == nil {
			for _, r := range all {
				ids = append(ids, fmt.Sprintf("%s\t%s %s", r.Revocation, r.Scope, r.Subject))
			}
		}
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}
