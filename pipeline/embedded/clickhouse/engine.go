//go:build linux || darwin

package clickhouse

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"unsafe"
)

// engine is ClickHouse inside this process, open on one folder. A process has at most one.
type engine struct {
	lib  *binding
	args []string

	mu   sync.Mutex
	hold unsafe.Pointer // keeps the engine open between requests; nil once closed
	open sync.WaitGroup
}

// openEngine opens the folder dir, creating it if need be, with the library at path.
// config are further arguments such as --max_server_memory_usage=….
func openEngine(path, dir string, config ...string) (*engine, error) {
	lib, err := bind(path)
	if err != nil {
		return nil, err
	}
	dir, err = filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot resolve %q: %w", dir, err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot create the data folder: %w", err)
	}
	e := &engine{lib: lib, args: append([]string{"clickhouse", "--path=" + dir}, config...)}
	e.hold = lib.open(e.args)
	if e.hold == nil {
		return nil, fmt.Errorf("cannot open the engine on %q: is another process using it? "+
			"If not, what the engine said before this is why; where its files are damaged see 'Building the projection again' in docs/archive.md", dir)
	}
	return e, nil
}

// close waits for the open connections and shuts the engine down.
func (e *engine) close() {
	e.mu.Lock()
	hold := e.hold
	e.hold = nil
	e.mu.Unlock()
	if hold == nil {
		return
	}
	e.open.Wait()
	e.lib.closeConn(hold)
}

// connect opens a connection: a session with settings, parameters and temporary tables of
// its own. It costs about 0.3 ms, so every request has one.
func (e *engine) connect() (*conn, error) {
	e.mu.Lock()
	if e.hold == nil {
		e.mu.Unlock()
		return nil, errClosed
	}
	e.open.Add(1)
	e.mu.Unlock()
	handle := e.lib.open(e.args)
	if handle == nil {
		e.open.Done()
		return nil, errors.New("the engine refused a connection")
	}
	return &conn{engine: e, handle: handle}, nil
}

// conn is one session with the engine. It runs one query at a time.
type conn struct {
	engine *engine
	handle unsafe.Pointer // chdb_connection*
}

func (c *conn) close() {
	if c.handle != nil {
		c.engine.lib.closeConn(c.handle)
		c.handle = nil
		c.engine.open.Done()
	}
}

// value is the chdb_connection that queries take.
func (c *conn) value() unsafe.Pointer { return *(*unsafe.Pointer)(c.handle) }

// exec runs a statement whose answer fits in memory and returns that answer, written in
// format unless the statement names one. The error of the engine is an *Exception.
func (c *conn) exec(statement, format string) ([]byte, stats, error) {
	lib := c.engine.lib
	query, fmtText := []byte(statement), []byte(format)
	q, ql := text(query)
	f, fl := text(fmtText)
	result := lib.query(c.value(), q, ql, f, fl)
	runtime.KeepAlive(query)
	runtime.KeepAlive(fmtText)
	if result == nil {
		return nil, stats{}, errors.New("the engine gave no answer")
	}
	defer lib.destroy(result)
	if message := lib.resultError(result); message != "" {
		return nil, stats{}, parseException(message)
	}
	return copyBuffer(lib, result), statsOf(lib, result), nil
}

// stream runs a SELECT and hands its answer to the sink piece by piece, so that memory
// stays bounded however large the answer is. An error of the sink cancels the query.
//
// The engine ties a stream to the thread it began on.
func (c *conn) stream(statement, format string, sink io.Writer) (stats, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	lib := c.engine.lib
	query, fmtText := []byte(statement), []byte(format)
	q, ql := text(query)
	f, fl := text(fmtText)
	stream := lib.streamQuery(c.value(), q, ql, f, fl)
	runtime.KeepAlive(query)
	runtime.KeepAlive(fmtText)
	if stream == nil {
		return stats{}, errors.New("the engine gave no answer")
	}
	defer lib.destroy(stream)
	if message := lib.resultError(stream); message != "" {
		return stats{}, parseException(message)
	}
	var total stats
	for {
		done, err := c.fetch(stream, sink, &total)
		if err != nil {
			lib.streamCancel(c.value(), stream)
			return total, err
		}
		if done {
			return total, nil
		}
	}
}

func (c *conn) fetch(stream unsafe.Pointer, sink io.Writer, total *stats) (done bool, err error) {
	lib := c.engine.lib
	chunk := lib.streamFetch(c.value(), stream)
	if chunk == nil {
		return true, nil
	}
	defer lib.destroy(chunk)
	if message := lib.resultError(chunk); message != "" {
		// A stream whose first chunk was also its last says so on the second fetch.
		if message == "No active streaming query" {
			return true, nil
		}
		return true, parseException(message)
	}
	total.add(statsOf(lib, chunk))
	n := lib.resultLength(chunk)
	if n == 0 {
		return true, nil
	}
	// The sink must not keep the bytes: they are the engine's and go with the chunk.
	_, err = sink.Write(unsafe.Slice((*byte)(lib.resultBuffer(chunk)), n))
	return false, err
}

func copyBuffer(lib *binding, result unsafe.Pointer) []byte {
	n := lib.resultLength(result)
	if n == 0 {
		return nil
	}
	return append([]byte(nil), unsafe.Slice((*byte)(lib.resultBuffer(result)), n)...)
}

func statsOf(lib *binding, result unsafe.Pointer) stats {
	return stats{
		seconds:      lib.resultElapsed(result),
		resultRows:   lib.resultRows(result),
		resultBytes:  lib.resultBytes(result),
		readRows:     lib.resultStorageRows(result),
		readBytes:    lib.resultStorageBytes(result),
		writtenRows:  lib.resultRowsWritten(result),
		writtenBytes: lib.resultBytesWritten(result),
	}
}
