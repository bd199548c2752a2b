package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/fatih/color"
	"github.com/spf13/cobra"

	"github.com/estop-project/estop/pipeline/gate/mcp"
	"github.com/estop-project/estop/pipeline/node"
	"github.com/estop-project/estop/pipeline/notify"
	"github.com/estop-project/estop/revoke"
)

// The exit codes.
const (
	exitFailure   = 1
	exitUsage     = 2
	exitNoNode    = 3 // nothing to talk to
	exitUnstopped = 4 // published, but not acknowledged
	exitSignal    = 130
)

// usageError is a wrong call of a command, or a wrong configuration.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// errInterrupted says that a signal ended a command before its work was done.
var errInterrupted = errors.New("interrupted")

func exitCode(err error) int {
	var usage usageError
	var exited mcp.Exited
	switch {
	case errors.As(err, &exited):
		return exited.Code
	case errors.As(err, &usage), errors.Is(err, notify.ErrFile):
		return exitUsage
	case errors.Is(err, node.ErrNoNode):
		return exitNoNode
	case errors.Is(err, node.ErrNoGuard), errors.Is(err, revoke.ErrUnconfirmed), errors.Is(err, node.ErrNotJudged):
		return exitUnstopped
	case errors.Is(err, errInterrupted), errors.Is(err, context.Canceled):
		return exitSignal
	}
	return exitFailure
}

const rootHelp = `estop watches every call that AI agents make, knows when an agent breaches its own
baseline, and stops it at every enforcement point.

Settings come from a YAML file (--config), then the environment (ESTOP_KAFKA_BROKERS for
kafka.brokers), then flags; the later wins.

Exit codes: 0 done, 1 failed, 2 wrong call or wrong configuration, 3 no node to talk to,
4 published but not acknowledged, 130 interrupted.`

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "estop",
		Short:         "The emergency stop for AI agents",
		Long:          rootHelp,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetFlagErrorFunc(wrongFlag)
	root.SetUsageTemplate(usageTemplate(root))
	f := root.PersistentFlags()
	d := node.Default()
	f.StringP("config", "c", os.Getenv("ESTOP_CONFIG"), "configuration file")
	f.String("dir", d.Dir, "folder of the embedded engines' data, the keys, and how to reach the node")
	f.StringSlice("kafka.brokers", nil, "Kafka brokers, host:port")
	f.String("nats.url", "", "NATS server")
	f.String("clickhouse.addr", "", "ClickHouse, host:port")
	f.String("http.addr", d.HTTP.Addr, "where metrics and health are served; empty: nowhere")
	f.String("log.level", d.Log.Level, "debug, info, warn or error")
	f.String("log.format", d.Log.Format, "text or json")
	f.StringP("output", "o", "text", "text or json")
	f.Bool("json", false, "the same as -o json")
	for flag, words := range map[string][]string{
		"output": {"text", "json"}, "log.format": {"text", "json"}, "log.level": {"debug", "info", "warn", "error"},
	} {
		complete(root, flag, words)
	}
	addGroup(root, "run", "See it work, and run it:", newDemo(), newUp(), newRun(), newReplay())
	addGroup(root, "stop", "Stop agents:", newKill(), newPanic(), newRelease(), newQueue(), newStatus(), newCoverage(), newDrill(), newVerify(), newGate())
	addGroup(root, "set", "Set it up:", newDetector(), newPolicy(), newBacktest(), newEval(), newConfig(), newKeys(), newNotify())
	addGroup(root, "prove", "Prove it:", newAudit())
	root.AddCommand(newVersion(), newEngine())
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	strict(root)
	return root
}

// addGroup adds commands under a heading in the help.
func addGroup(root *cobra.Command, id, title string, cmds ...*cobra.Command) {
	root.AddGroup(&cobra.Group{ID: id, Title: title})
	for _, c := range cmds {
		c.GroupID = id
		root.AddCommand(c)
	}
}

// complete makes the shell offer words for a flag.
func complete(cmd *cobra.Command, flag string, words []string) {
	if err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // the flag does not exist: our own mistake
	}
}

// config loads the configuration that the command was given.
func config(cmd *cobra.Command) (node.Config, error) {
	path, err := cmd.Flags().GetString("config")
	if err != nil {
		return node.Config{}, err
	}
	c, err := node.Load(path, os.Environ(), cmd.Flags())
	if err != nil {
		return c, usageError{err}
	}
	return c, nil
}

// remote loads the configuration and finds the node that it means.
func remote(cmd *cobra.Command) (node.Config, error) {
	c, err := config(cmd)
	if err != nil {
		return c, err
	}
	c, err = c.Find()
	if errors.Is(err, node.ErrNoAddress) {
		err = usageError{err}
	}
	return c, err
}

// wantsJSON reports whether the output is for a program.
func wantsJSON(cmd *cobra.Command) (bool, error) {
	if j, err := cmd.Flags().GetBool("json"); j || err != nil {
		return j, err
	}
	switch o, err := cmd.Flags().GetString("output"); {
	case err != nil:
		return false, err
	case o == "json":
		return true, nil
	case o != "text":
		return false, usageError{fmt.Errorf("--output: %q is neither text nor json", o)}
	}
	return false, nil
}

// print writes v as JSON, or, for people, with text.
func print(cmd *cobra.Command, v any, text func(io.Writer)) error {
	asJSON, err := wantsJSON(cmd)
	if err != nil {
		return err
	}
	if !asJSON {
		text(cmd.OutOrStdout())
		return nil
	}
	enc := json.NewEncoder(cmd.OutOrStdout())
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// Colours; the library turns them off where the output is no terminal or NO_COLOR is set.
var (
	red   = color.New(color.FgRed, color.Bold).SprintFunc()
	green = color.New(color.FgGreen).SprintFunc()
	faint = color.New(color.Faint).SprintFunc()
)
