package node

import (
	"context"
	"errors"
	"fmt"

	"github.com/estop-project/estop/pipeline/archive"
)

// ErrNoRevocation says that ClickHouse knows no revocation of that id, or not yet.
var ErrNoRevocation = errors.New("no revocation of that id is known")

// Coverages returns how far guards confirmed the last n revocations of a tenant; of all where it is empty.
func (c Config) Coverages(ctx context.Context, tenant string, n int) ([]archive.Coverage, error) {
	conn, err := c.openClickHouse(ctx, c.ClickHouseOptions())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return archive.NewReader(conn).Coverages(ctx, tenant, n)
}

// Confirmations returns what each guard did of one revocation.
func (c Config) Confirmations(ctx context.Context, revocation string) ([]archive.Confirmation, error) {
	conn, err := c.openClickHouse(ctx, c.ClickHouseOptions())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	all, err := archive.NewReader(conn).Confirmations(ctx, revocation)
	if err == nil && len(all) == 0 {
		err = fmt.Errorf("%w: %s; no guard was to confirm it, or ClickHouse has not got that far", ErrNoRevocation, revocation)
	}
	return all, err
}
