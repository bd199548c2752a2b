package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/fatih/color"
	"github.com/spf13/cobra"

	"github.com/estop-project/estop/pipeline/node"
)

// The exit codes.
const (
	exitFailure   = 1
	exitUsage     = 2
	exitNoNode    = 3 // nothing to talk to
	exitUnstopped = 4 // published, but not acknowledged
)

// usageError is a wrong call of a command.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func exitCode(err error) int {
	var usage usageError
	switch {
	case errors.As(err, &usage):
		return exitUsage
	case errors.Is(err, node.ErrNoNode):
		return exitNoNode
	case errors.Is(err, node.ErrNoGuard):
		return exitUnstopped
	}
	return exitFailure
}

const rootHelp = `estop watches every call that AI agents make, knows when an agent breaches its own
baseline, and stops it at every enforcement point.

  estop demo      see it work: a fleet of simulated agents, three of them go bad
  estop up        run everything in this process: Kafka, NATS, ClickHouse and the roles
  estop run       run roles against Kafka, NATS and ClickHouse of your own
  estop kill      stop an agent, an identity, a session, a chain or a tenant now

Settings come from a YAML file (--config), then the environment (ESTOP_KAFKA_BROKERS for
kafka.brokers), then flags; the later wins.

Exit codes: 0 done, 1 failed, 2 wrong call, 3 no node to talk to, 4 published but no guard
acknowledged.`

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "estop",
		Short:         "The emergency stop for AI agents",
		Long:          rootHelp,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w; see '%s --help'", err, cmd.CommandPath())}
	})
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
	root.AddCommand(newUp(), newRun(), newReplay(), newKill(), newRelease(), newStatus(), newVerify(),
		newDetector(), newConfig(), newKeys(), newDemo(), newVersion(), newEngine())
	return root
}

// config loads the configuration that the command was given.
func config(cmd *cobra.Command) (node.Config, error) {
	path, err := cmd.Flags().GetString("config")
	if err != nil {
		return node.Config{}, err
	}
	return node.Load(path, os.Environ(), cmd.Flags())
}

// remote loads the configuration and finds the node that it means.
func remote(cmd *cobra.Command) (node.Config, error) {
	c, err := config(cmd)
	if err != nil {
		return c, err
	}
	return c.Find()
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
		return false, usageError{fmt.Errorf("output %q is neither text nor json", o)}
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
