package eval

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/estop-project/estop/pipeline/telemetry"
)

// row is what the labelled sets have of a call.
type row struct {
	ID       string    `json:"id"`
	TS       time.Time `json:"ts"`
	Tenant   string    `json:"tenant"`
	Agent    string    `json:"agent"`
	Identity string    `json:"identity"`
	Session  string    `json:"session"`
	Chain    []string  `json:"chain"`
	Action   string    `json:"action"`
	Resource string    `json:"resource"`
	Outcome  string    `json:"outcome"`
	Bytes    int64     `json:"bytes"`
	Label    *int      `json:"label"`  // 1 attack, 0 not, nil unknown
	Attack   string    `json:"attack"` // its technique
}

// bad reports whether the row is labelled an attack.
func (row *row) bad() bool { return row.Label != nil && *row.Label == 1 }

// call turns the row into a call.
func (row *row) call() *telemetry.Call {
	c := &telemetry.Call{
		ID: []byte(row.ID), Time: row.TS.UnixNano(), Tenant: []byte(row.Tenant), Agent: []byte(row.Agent),
		Identity: []byte(row.Identity), Session: []byte(row.Session), Action: []byte(row.Action), Resource: []byte(row.Resource),
		BytesOut: row.Bytes,
	}
	for _, m := range row.Chain {
		c.Chain = append(c.Chain, []byte(m))
	}
	switch {
	case row.Outcome == "ok" || row.Outcome == "":
	case row.Outcome == "denied", strings.Contains(row.Outcome, "Denied"), strings.HasPrefix(row.Outcome, "Client.Unauthorized"):
		c.Outcome = telemetry.OutcomeDenied
	default: // the sets name the error
		c.Outcome = telemetry.OutcomeError
	}
	return c
}

// each reads calls from a gzipped file of JSON lines.
func each(path string, f func(*row) error) error { return eachOf(path, f) }

// eachOf reads a gzipped file of JSON lines.
func eachOf[T any](path string, f func(*T) error) error {
	in, err := unpacked(path)
	if err != nil {
		return err
	}
	defer in.Close()
	dec := json.NewDecoder(in)
	for n := 1; ; n++ {
		v := new(T)
		err := dec.Decode(v)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = f(v)
		}
		if err != nil {
			return fmt.Errorf("%s, record %d: %w", filepath.Base(path), n, err)
		}
	}
}

// gzipped is an open gzipped file.
type gzipped struct {
	*gzip.Reader
	file *os.File
}

func (g gzipped) Close() error { return errors.Join(g.Reader.Close(), g.file.Close()) }

func unpacked(path string) (io.ReadCloser, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read a labelled set: %w", err)
	}
	in, err := gzip.NewReader(bufio.NewReader(file))
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("cannot unpack %q: %w", path, err)
	}
	return gzipped{in, file}, nil
}
