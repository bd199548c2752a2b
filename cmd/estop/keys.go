package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/estop-project/estop/pipeline/node"
	"github.com/estop-project/estop/revoke"
)

// keys is where a key is.
type keys struct {
	KID      string `json:"kid"`
	Signer   string `json:"signer"`
	Verifier string `json:"verifier"`
	Operator string `json:"operator"`
}

func newKeys() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "Make, show, rotate and retire keys: of revocations, and of logins to NATS",
		Long: `The detector has a key, and each operator one of their own. Guards have the public halves, in one file; they take what
changes in it while they run. Copy the file to the guards before a new key signs anything.`,
		Example: "  estop keys new --role operator --name ada\n  estop keys list\n  estop keys rotate\n  estop keys two-person --require release,tenant,global --break-glass\n  estop keys nats",
	}
	cmd.AddCommand(newKeysInit(), newKeysNew(), newKeysList(), newKeysShow(), newKeysRotate(), newKeysRetire(), newKeysTwoPerson(), newKeysNATS())
	return cmd
}

func newKeysInit() *cobra.Command {
	return &cobra.Command{
		Use:   "init",
		Short: "Make the detector's signing key, your own, and the file of public keys, unless they are there",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config(cmd)
			if err != nil {
				return err
			}
			if err := c.MakeKeys(); err != nil {
				return err
			}
			s, err := c.Signer()
			if err != nil {
				return err
			}
			k := keys{s.KID, c.SignerPath(), c.VerifierPath(), c.OperatorPath()}
			return print(cmd, k, func(w io.Writer) {
				fmt.Fprintf(w, "key %s\n  private %s\n  public  %s (give this to guards)\n  yours   %s (kill and release are signed with it)\n", k.KID, k.Signer, k.Verifier, k.Operator)
			})
		},
	}
}

// roles are what a key can be made for.
var roles = []string{string(revoke.DetectorRole), string(revoke.OperatorRole)}

func newKeysNew() *cobra.Command {
	var role, name, out string
	cmd := &cobra.Command{
		Use:   "new",
		Short: "Make a key for an operator or a detector, and trust it",
		Long: `Makes a key: the private half goes to a file that only you can read, the public half into the file of public keys. Give the
private file to its operator, who names it with --key or ESTOP_KEYS_OPERATOR, and the public one to the guards.`,
		Example: "  estop keys new --role operator --name ada\n  estop keys new --role operator --name bob --out bob.jwk",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case !slices.Contains(roles, role):
				return usageError{fmt.Errorf("--role: %q is not one of %s%s", role, strings.Join(roles, ", "), node.DidYouMean(role, roles))}
			case (role == string(revoke.OperatorRole)) != (name != ""):
				return usageError{errors.New("--name: an operator needs one, a detector has none")}
			case out == "" && strings.ContainsAny(name, `/\`):
				return usageError{errors.New("--out: say where the key of such a name is to be")}
			}
			c, err := config(cmd)
			if err != nil {
				return err
			}
			if out == "" {
				out = filepath.Join(filepath.Dir(c.VerifierPath()), strings.Trim(role+"-"+name, "-")+".jwk")
			}
			k, err := c.NewKey(revoke.Role(role), name, out)
			if err != nil {
				return err
			}
			return print(cmd, k, func(w io.Writer) {
				fmt.Fprintf(w, "key %s\n  private %s\n  public  %s (give this to guards)\n", k.KID, k.Private, c.VerifierPath())
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&role, "role", string(revoke.OperatorRole), "operator or detector")
	f.StringVar(&name, "name", "", "of the operator: what they decide carries it")
	f.StringVar(&out, "out", "", "file of the private key; empty: beside the public keys, with the name")
	complete(cmd, "role", roles)
	return cmd
}

func newKeysList() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "Show which keys guards trust, and what takes two operators",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config(cmd)
			if err != nil {
				return err
			}
			s, err := c.KeySet()
			if err != nil {
				return err
			}
			return print(cmd, s, func(w io.Writer) { writeKeySet(w, s) })
		},
	}
}

func writeKeySet(out io.Writer, s node.KeySet) {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "kid\trole\tname\tsince\tuntil")
	for _, k := range s.Keys {
		role := string(k.Role)
		if role == "" {
			role = "any"
		}
		until := day(k.Until)
		if k.Ended {
			until += " (ended)"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", k.KID, role, orDash(k.Name), day(k.Since), until)
	}
	w.Flush()
	fmt.Fprintf(out, "takes two operators: %s\n", s.Rules)
}

func day(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format(time.DateTime)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func newKeysShow() *cobra.Command {
	return &cobra.Command{
		Use:   "show",
		Short: "Show where the keys of this machine are, and who you are to guards",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config(cmd)
			if err != nil {
				return err
			}
			s, err := c.OperatorSigner(c.Logger())
			if err != nil {
				return err
			}
			k := node.Key{KID: s.KID, Role: s.Role, Name: s.Name, Private: c.OperatorPath()}
			return print(cmd, k, func(w io.Writer) {
				fmt.Fprintf(w, "key %s\n  role    %s\n  name    %s\n  private %s\n  public  %s\n", k.KID, orDash(string(k.Role)), orDash(k.Name), k.Private, c.VerifierPath())
			})
		},
	}
}

func newKeysRotate() *cobra.Command {
	var keep time.Duration
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Make a new key for the detector; the old one is trusted for a while",
		Long: `Makes a new key for the detector in the place of the old one, whose public half stays in the file of public keys until
--keep has passed. Then copy that file to the guards, and only then restart the detector: it signs with the old key until it does.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if keep < 0 {
				return usageError{errors.New("--keep must not be negative")}
			}
			c, err := config(cmd)
			if err != nil {
				return err
			}
			made, old, err := c.Rotate(keep)
			if err != nil {
				return err
			}
			rotated := struct {
				New node.Key `json:"new"`
				Old node.Key `json:"old"`
			}{made, old}
			return print(cmd, rotated, func(w io.Writer) {
				fmt.Fprintf(w, "new key %s in %s\nold key %s until %s, aside in %s\nnow copy %s to the guards, and then restart the detector\n",
					made.KID, made.Private, old.KID, day(old.Until), old.Private, c.VerifierPath())
			})
		},
	}
	cmd.Flags().DurationVar(&keep, "keep", revoke.MaxDuration, "how long the old key is trusted: as long as what it signed may last")
	return cmd
}

func newKeysRetire() *cobra.Command {
	var keep time.Duration
	cmd := &cobra.Command{
		Use:   "retire KID",
		Short: "End the trust in a key",
		Long: `Guards take nothing more from the key. What it has stopped stays stopped at the guards that run, but not at those that start
later: stop again what must stay so.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{errors.New("name one key, as 'estop keys list' shows it")}
			}
			return nil
		},
		ValidArgsFunction: keyIDs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if keep < 0 {
				return usageError{errors.New("--keep must not be negative")}
			}
			c, err := config(cmd)
			if err != nil {
				return err
			}
			k, err := c.Retire(args[0], keep)
			if err != nil {
				return err
			}
			return print(cmd, k, func(w io.Writer) {
				fmt.Fprintf(w, "key %s ends at %s\nnow copy %s to the guards\n", k.KID, day(k.Until), c.VerifierPath())
			})
		},
	}
	cmd.Flags().DurationVar(&keep, "keep", 0, "how long it is trusted still")
	return cmd
}

// keyIDs offers the keys of the set.
func keyIDs(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var ids []string
	if c, err := config(cmd); err == nil && len(args) == 0 {
		if s, err := c.KeySet(); err == nil {
			for _, k := range s.Keys {
				ids = append(ids, fmt.Sprintf("%s\t%s %s", k.KID, k.Role, k.Name))
			}
		}
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}

func newKeysTwoPerson() *cobra.Command {
	var require []string
	var glass, none bool
	cmd := &cobra.Command{
		Use:   "two-person",
		Short: "Say what takes two operators; guards hold to it",
		Long: `Writes into the file of public keys what takes two operators: release (and whatever else would weaken a stop), tenant (a stop of a
whole tenant), global (a stop of everything). Guards refuse such an order of one alone, whatever console sent it. With --break-glass one
operator may stop for at most 15 minutes; never release.`,
		Example: "  estop keys two-person --require release,global --break-glass\n  estop keys two-person --none",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if none == (len(require) > 0) {
				return usageError{errors.New("name what takes two operators with --require, or say --none")}
			}
			r := revoke.Rules{BreakGlass: glass}
			for _, d := range require {
				r.TwoPerson = append(r.TwoPerson, revoke.Demand(d))
			}
			if err := r.Check(); err != nil {
				return usageError{err}
			}
			c, err := config(cmd)
			if err != nil {
				return err
			}
			s, err := c.Demand(r)
			if err != nil {
				return err
			}
			return print(cmd, s, func(w io.Writer) {
				fmt.Fprintf(w, "takes two operators: %s\nnow copy %s to the guards\n", s.Rules, s.Public)
			})
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&require, "require", nil, "release, tenant, global")
	f.BoolVar(&glass, "break-glass", false, "one operator alone may stop for at most 15 minutes")
	f.BoolVar(&none, "none", false, "nothing takes two")
	complete(cmd, "require", []string{"release", "tenant", "global"})
	return cmd
}
