// Package history reads what agents did from where it is kept: files, Kafka or ClickHouse.
package history

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/pipeline/backtest"
	"github.com/estop-project/estop/pipeline/shard"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// Progress is told how much of how much was read; of what nobody knows the size of, total is -1.
type Progress func(done, total int64)

// Files are files of calls, one behind the other: what 'estop replay' reads. Their calls stand where they
// would if the files were replayed into an empty topic with one partition.
type Files struct {
	Paths    []string // - is Input
	Input    io.Reader
	Format   telemetry.Format
	Progress Progress

	inputRead bool
}

// Partitions returns 1.
func (f *Files) Partitions() int { return 1 }

// ErrOnce says that standard input was to be read a second time.
var ErrOnce = errors.New("standard input can be read once only; write it to a file first")

// Read gives the calls of the files.
func (f *Files) Read(ctx context.Context, each func(backtest.Entry) error) error {
	total, err := f.size()
	if err != nil {
		return err
	}
	var done int64
	for _, path := range f.Paths {
		if err := f.read(ctx, path, &done, total, each); err != nil {
			return err
		}
	}
	return nil
}

// size returns the size of all files, -1 where nobody knows.
func (f *Files) size() (total int64, err error) {
	for _, path := range f.Paths {
		if path == "-" {
			return -1, nil
		}
		info, err := os.Stat(path)
		if err != nil {
			return 0, err
		}
		if info.IsDir() {
			return 0, fmt.Errorf("%s is a folder; name the files", path)
		}
		total += info.Size()
	}
	return total, nil
}

func (f *Files) read(ctx context.Context, path string, done *int64, total int64, each func(backtest.Entry) error) error {
	in := f.Input
	switch {
	case path != "-":
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer file.Close()
		in = file
	case f.inputRead:
		return ErrOnce
	default:
		f.inputRead = true
	}
	for raw, err := range telemetry.Split(&counted{in, done, total, f.Progress}, f.Format, telemetry.Limits{}) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		e := backtest.Entry{Source: shard.Source{Topic: pipeline.TopicCalls}, Numbered: true, Format: raw.Format, Raw: raw.Bytes}
		if bad := (*telemetry.BadCall)(nil); errors.As(err, &bad) {
			e = backtest.Entry{Bad: bad}
		} else if err != nil {
			return fmt.Errorf("%s:%d: %w", path, raw.Line, err)
		}
		if err := each(e); err != nil {
			return err
		}
	}
	return nil
}

// counted tells how much was read.
type counted struct {
	io.Reader
	done     *int64
	total    int64
	progress Progress
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	*c.done += int64(n)
	if c.progress != nil {
		c.progress(*c.done, c.total)
	}
	return n, err
}
