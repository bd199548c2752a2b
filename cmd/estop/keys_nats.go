package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	natsd "github.com/estop-project/estop/pipeline/embedded/nats"
	"github.com/estop-project/estop/pipeline/node"
)

// natsUses say who logs in with which role.
var natsUses = map[natsd.Role]string{
	natsd.Detector: "every node ('estop run')",
	natsd.Operator: "kill, release, drill, status",
	natsd.Monitor:  "whoever only looks",
	natsd.Guard:    "guards and gates",
}

func newKeysNATS() *cobra.Command {
	var out string
	var force bool
	cmd := &cobra.Command{
		Use:   "nats",
		Short: "Make logins to NATS, so that only the detector publishes",
		Long: `Makes an nkey for each role (detector, operator, monitor, guard): the seeds go to files that only you can read, one for each
role, and who may publish and hear what to accounts.conf, which the server's configuration includes. The server has the
public halves alone. What is there is not overwritten; with --force the old seeds get in no more once the server has the new file.`,
		Example: "  estop keys nats\n  estop keys nats --out /etc/nats/estop\n  ESTOP_NATS_NKEY=keys/nats/operator.nk estop status --nats.url tls://nats:4222",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config(cmd)
			if err != nil {
				return err
			}
			if out == "" {
				out = c.NATSPath()
			}
			made, err := node.MakeNATSLogins(out, force)
			if err != nil {
				return err
			}
			return print(cmd, made, func(w io.Writer) { writeNATSLogins(w, made) })
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "folder of the files; empty: keys/nats in the data folder")
	cmd.Flags().BoolVar(&force, "force", false, "replace the logins that are there")
	return cmd
}

func writeNATSLogins(out io.Writer, made node.NATSLogins) {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "role\tseed\tfor\tpublishes")
	for _, l := range made.Logins {
		var own []string
		for _, s := range l.Publish {
			if strings.HasPrefix(s, "estop.") {
				own = append(own, s)
			}
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", l.Role, l.Seed, natsUses[l.Role], strings.Join(own, " "))
	}
	w.Flush()
	fmt.Fprintf(out, "now put %s beside estop.conf of the server, and name a seed with nats.nkey where each one logs in\n", made.Accounts)
}
