// Command estop is the emergency stop for AI agents.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() { os.Exit(run()) }

func run() int {
	if err := newRoot().ExecuteContext(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "estop:", err)
		return exitCode(err)
	}
	return 0
}

// untilSignal returns the command's context, which ends at the first Ctrl-C or SIGTERM. It
// is for commands that have something to bring to an end; the others end at once. A second
// signal ends these too.
func untilSignal(cmd *cobra.Command) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(cmd.Context())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		select {
		case <-signals:
		case <-ctx.Done():
		}
		// Before ctx ends, so that a signal that comes after that is the system's.
		signal.Stop(signals)
		cancel()
	}()
	return ctx, cancel
}
