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
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}
