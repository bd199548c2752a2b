package main

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/estop-project/estop/pipeline/node"
)

// strict makes every wrong call of cmd and the commands below it a usageError that says
// where the help is. Without it, cobra shows the help of a group for an unknown command, and
// calls that a success.
func strict(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		strict(sub)
	}
	if !cmd.Runnable() {
		cmd.Args = cobra.ArbitraryArgs
		cmd.RunE = runGroup
		return
	}
	accepts := cmd.Args
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if accepts == nil {
			return nil
		}
		if err := accepts(cmd, args); err != nil {
			return usage(cmd, err)
		}
		return nil
	}
}

// runGroup answers where a group is called without one of its commands.
func runGroup(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	var known []string
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			known = append(known, sub.Name())
		}
	}
	return usage(cmd, fmt.Errorf("unknown command %q%s", args[0], node.DidYouMean(args[0], known)))
}

func usage(cmd *cobra.Command, err error) error {
	return usageError{fmt.Errorf("%w; see '%s --help'", err, cmd.CommandPath())}
}

var unknownFlag = regexp.MustCompile(`^unknown flag: --(.+)$`)

// wrongFlag adds the nearest flag to what cobra says of an unknown one.
func wrongFlag(cmd *cobra.Command, err error) error {
	if m := unknownFlag.FindStringSubmatch(err.Error()); m != nil {
		var known []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
		err = fmt.Errorf("%w%s", err, node.DidYouMean(m[1], known))
	}
	return usage(cmd, err)
}

// noArgs is for commands that take none.
func noArgs(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%q is one argument too many", args[0])
	}
	return nil
}

// upTo wants n arguments at most.
func upTo(n int) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) > n {
			return fmt.Errorf("%q is one argument too many", args[n])
		}
		return nil
	}
}

// exactArgs wants n arguments and says what they are.
func exactArgs(n int, what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != n {
			return fmt.Errorf("%s", what)
		}
		return nil
	}
}

// usageTemplate is cobra's, with flags as people write them (a switch stands alone), and
// without the line that a group could be run by itself.
func usageTemplate(cmd *cobra.Command) string {
	t := strings.Replace(cmd.UsageTemplate(), "{{if .Runnable}}", "{{if and .Runnable (not .HasAvailableSubCommands)}}", 1)
	for _, set := range []string{".LocalFlags", ".InheritedFlags"} {
		t = strings.ReplaceAll(t, set+".FlagUsages", "flags "+set)
	}
	return t
}

func init() {
	cobra.EnableCommandSorting = false // the help lists commands in the order of use
	cobra.AddTemplateFunc("flags", func(f *pflag.FlagSet) string {
		const noise = "[=true|false]"
		return strings.ReplaceAll(f.FlagUsages(), noise, strings.Repeat(" ", len(noise)))
	})
}
