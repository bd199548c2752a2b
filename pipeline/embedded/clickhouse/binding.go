//go:build linux || darwin

package clickhouse

import (
	"fmt"
	"runtime"
	"sync"
	"unsafe"

	"github.com/ebitengine/purego"
)

// binding is libchdb's C interface (chdb.h), bound at run time without cgo. A chdb_connection
// is passed by value where a chdb_connection* came back from chdb_connect: connHandle holds
// both.
type binding struct {
	setSignalHandlers func(enabled int32)
	connect           func(argc int32, argv *unsafe.Pointer) unsafe.Pointer
	closeConn         func(conn unsafe.Pointer)

	// The variants with lengths carry NUL bytes; those with C strings are cut at the first.
	query        func(conn unsafe.Pointer, query *byte, queryLen uintptr, format *byte, formatLen uintptr) unsafe.Pointer
	streamQuery  func(conn unsafe.Pointer, query *byte, queryLen uintptr, format *byte, formatLen uintptr) unsafe.Pointer
	streamFetch  func(conn, stream unsafe.Pointer) unsafe.Pointer
	streamCancel func(conn, stream unsafe.Pointer)
	destroy      func(result unsafe.Pointer)

	resultBuffer       func(result unsafe.Pointer) unsafe.Pointer
	resultLength       func(result unsafe.Pointer) uintptr
	resultError        func(result unsafe.Pointer) string
	resultElapsed      func(result unsafe.Pointer) float64
	resultRows         func(result unsafe.Pointer) uint64
	resultBytes        func(result unsafe.Pointer) uint64
	resultStorageRows  func(result unsafe.Pointer) uint64
	resultStorageBytes func(result unsafe.Pointer) uint64
	resultRowsWritten  func(result unsafe.Pointer) uint64
	resultBytesWritten func(result unsafe.Pointer) uint64

	signals signalKeeper
}

// The library cannot be unloaded and holds one engine in a process, so it is bound once.
var bound struct {
	sync.Mutex
	path string
	lib  *binding
}

// bind loads libchdb from path. A second path in the same process is an error.
func bind(path string) (*binding, error) {
	bound.Lock()
	defer bound.Unlock()
	if bound.lib != nil {
		if bound.path != path {
			return nil, fmt.Errorf("cannot load %q: this process has loaded %q", path, bound.path)
		}
		return bound.lib, nil
	}
	handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, fmt.Errorf("cannot load %q: %w", path, err)
	}
	lib := &binding{}
	for name, target := range lib.symbols() {
		address, err := purego.Dlsym(handle, name)
		if err != nil {
			return nil, fmt.Errorf("%q is not a libchdb this program can use: %w", path, err)
		}
		purego.RegisterFunc(target, address)
	}
	if err := lib.signals.save(); err != nil {
		return nil, err
	}
	lib.setSignalHandlers(0)
	lib.signals.restore()
	bound.path, bound.lib = path, lib
	return lib, nil
}

func (b *binding) symbols() map[string]any {
	return map[string]any{
		"chdb_set_signal_handlers_enabled": &b.setSignalHandlers,
		"chdb_connect":                     &b.connect,
		"chdb_close_conn":                  &b.closeConn,
		"chdb_query_n":                     &b.query,
		"chdb_stream_query_n":              &b.streamQuery,
		"chdb_stream_fetch_result":         &b.streamFetch,
		"chdb_stream_cancel_query":         &b.streamCancel,
		"chdb_destroy_query_result":        &b.destroy,
		"chdb_result_buffer":               &b.resultBuffer,
		"chdb_result_length":               &b.resultLength,
		"chdb_result_error":                &b.resultError,
		"chdb_result_elapsed":              &b.resultElapsed,
		"chdb_result_rows_read":            &b.resultRows,
		"chdb_result_bytes_read":           &b.resultBytes,
		"chdb_result_storage_rows_read":    &b.resultStorageRows,
		"chdb_result_storage_bytes_read":   &b.resultStorageBytes,
		"chdb_result_rows_written":         &b.resultRowsWritten,
		"chdb_result_bytes_written":        &b.resultBytesWritten,
	}
}

// open connects with the given arguments, as clickhouse-local takes them. It returns nil
// when the engine refuses.
func (b *binding) open(args []string) unsafe.Pointer {
	argv := make([]unsafe.Pointer, len(args)+1)
	var pin runtime.Pinner
	defer pin.Unpin()
	for i, arg := range args {
		text := append([]byte(arg), 0)
		pin.Pin(&text[0])
		argv[i] = unsafe.Pointer(&text[0])
	}
	conn := b.connect(int32(len(args)), &argv[0])
	// Every connect sets the deadly signals to their defaults again.
	b.signals.restore()
	return conn
}

// text returns pointer and length of s for a call; the caller keeps s alive.
func text(s []byte) (*byte, uintptr) {
	return unsafe.SliceData(s), uintptr(len(s))
}
