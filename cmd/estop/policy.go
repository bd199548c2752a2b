package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/estop-project/estop/revoke/gate/policy"
	"github.com/estop-project/estop/revoke/gate/policy/cases"
)

const policyHelp = `Policies in the Cedar language decide what a gate's guard lets through: by who calls and on whose
behalf, the action, the resource, the time, and how high the agent's live risk is. A gate takes
them with --policy, and goes over to what they become when they are edited.

A policy stands in a file that ends in .cedar; tests stand beside it, in files that end in _test.yaml.`

func newPolicy() *cobra.Command {
	cmd := &cobra.Command{Use: "policy", Short: "Check and test the policies of gates", Long: policyHelp}
	cmd.AddCommand(
		&cobra.Command{
			Use:     "check PATH",
			Short:   "Check the policies of a folder or a file, with the entities and the schema beside them",
			Example: "  estop policy check policies/",
			Args:    onePath,
			RunE: func(cmd *cobra.Command, args []string) error {
				set, err := policy.Load(args[0])
				if err != nil {
					return err
				}
				if _, err := cases.Load(args[0]); err != nil {
					return err
				}
				return print(cmd, map[string]int{"policies": set.Len(), "files": set.Files()}, func(w io.Writer) { writeRightPolicies(w, set.Len()) })
			},
		},
		&cobra.Command{
			Use:     "test PATH",
			Short:   "Run the tests that stand beside policies",
			Example: "  estop policy test policies/",
			Args:    onePath,
			RunE:    testPolicies,
		})
	return cmd
}

func onePath(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usageError{errors.New("name the folder or the file of the policies")}
	}
	return nil
}

func writeRightPolicies(w io.Writer, n int) {
	if n == 1 {
		fmt.Fprintln(w, "1 policy is right")
		return
	}
	fmt.Fprintf(w, "%d policies are right\n", n)
}

// policyResults is what 'estop policy test' prints as JSON.
type policyResults struct {
	Tests    []cases.Result `json:"tests"`
	Untested []string       `json:"untested"` // ids of policies that decided none of them
	Passed   int            `json:"passed"`
	Failed   int            `json:"failed"`
}

func testPolicies(cmd *cobra.Command, args []string) error {
	set, err := policy.Load(args[0])
	if err != nil {
		return err
	}
	all, err := cases.Load(args[0])
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return fmt.Errorf("no test beside %q: tests stand in files that end in %s", args[0], cases.Suffix)
	}
	r := policyResults{Untested: []string{}}
	r.Tests, r.Untested = cases.Run(set, all)
	for _, t := range r.Tests {
		if t.Failure == "" {
			r.Passed++
		} else {
			r.Failed++
		}
	}
	if err := print(cmd, r, r.write); err != nil {
		return err
	}
	if r.Failed > 0 {
		return errors.New("tests fail")
	}
	return nil
}

func (r policyResults) write(w io.Writer) {
	for _, t := range r.Tests {
		if t.Failure == "" {
			fmt.Fprintf(w, "%s  %s\n", green("ok"), t.Name)
		} else {
			fmt.Fprintf(w, "%s  %s\n      %s:%d: %s\n", red("FAIL"), t.Name, t.File, t.Line, t.Failure)
		}
	}
	for _, id := range r.Untested {
		fmt.Fprintf(w, "note  no test is decided by policy %s\n", id)
	}
	fmt.Fprintf(w, "%d passed, %d failed\n", r.Passed, r.Failed)
}
