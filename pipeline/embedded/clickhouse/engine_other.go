//go:build !linux && !darwin

package clickhouse

import (
	"errors"
	"fmt"
	"io"
	"runtime"
)

// There is no libchdb for this system: opening the engine fails, and nothing else is reached.

type engine struct{}

type conn struct{}

func openEngine(string, string, ...string) (*engine, error) {
	return nil, fmt.Errorf("%w: there is no build of it for %s", ErrNoLibrary, runtime.GOOS)
}

func (*engine) close()                  {}
func (*engine) connect() (*conn, error) { return nil, errors.ErrUnsupported }

func (*conn) close() {}
func (*conn) exec(string, string) ([]byte, stats, error) {
	return nil, stats{}, errors.ErrUnsupported
}
func (*conn) stream(string, string, io.Writer) (stats, error) {
	return stats{}, errors.ErrUnsupported
}
