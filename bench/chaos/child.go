package chaos

import (
	"context"
	"fmt"
	"os/signal"
	"syscall"

	"github.com/estop-project/estop/pipeline/embedded/clickhouse"
)

// The servers that run in processes of this same program.
const (
	childNATS       = "nats-server"
	childClickHouse = "clickhouse-server"
)

// Child runs a server if that is what this process was started for, until SIGTERM. It reports false if it was not.
func Child(args []string) (bool, error) {
	if len(args) == 0 || args[0] != childNATS && args[0] != childClickHouse {
		return false, nil
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	signal.Ignore(syscall.SIGXFSZ) // a write that finds the disk full fails, and ends nobody
	switch {
	case args[0] == childNATS && len(args) == 2:
		return true, serveNATS(ctx, args[1])
	case args[0] == childClickHouse && len(args) == 3:
		return true, clickhouse.Serve(ctx, clickhouse.Options{Dir: args[1], Addr: args[2]})
	}
	return true, fmt.Errorf("cannot run %q: wrong arguments", args)
}
