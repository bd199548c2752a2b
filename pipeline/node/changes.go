package node

import (
	"context"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/archive"
)

// Changes returns who changed which detector, newest first, by what ClickHouse holds.
func (c Config) Changes(ctx context.Context, q archive.ChangesQuery) ([]detector.ChangeRecord, error) {
	conn, err := c.openClickHouse(ctx, c.ClickHouseOptions())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return archive.NewReader(conn).Changes(ctx, q)
}
