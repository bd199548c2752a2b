package clickhouse

import (
	"context"
	"fmt"
	"io"
	"strings"
)

// insert runs an INSERT whose rows come as bytes. The engine would take rows that follow the
// statement in its text, but cuts binary ones at a newline, so they go through a file that
// it reads with FROM INFILE. All rows are here before the engine sees the first: a client
// that goes away in the middle has inserted nothing.
func (h *handler) insert(ctx context.Context, req *request, in insertion, rows io.Reader) (stats, error) {
	spool, err := newSpool(h.spoolDir)
	if err != nil {
		return stats{}, err
	}
	defer spool.close()
	if _, err := io.Copy(spool, rows); err != nil {
		return stats{}, fmt.Errorf("cannot read the rows: %w", err)
	}
	path, err := spool.path()
	if err != nil {
		return stats{}, err
	}
	var counted stats
	err = h.session(ctx, req, func(c *conn) (err error) {
		_, counted, err = c.exec(in.fromFile(path), "")
		return err
	})
	return counted, err
}

// fromFile writes the statement so that the rows come from the file at path. Each part has a
// line of its own, as one may end in a comment.
func (in insertion) fromFile(path string) string {
	parts := []string{in.target, "FROM INFILE", quoteText(path)}
	if in.settings != "" {
		parts = append(parts, in.settings)
	}
	return strings.Join(append(parts, "FORMAT "+in.format), "\n")
}
