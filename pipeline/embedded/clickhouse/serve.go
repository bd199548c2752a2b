package clickhouse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Defaults of Options.
const (
	DefaultMaxBody    = 1 << 30
	DefaultMaxQueries = 32
)

// Options says how the engine is opened and served.
type Options struct {
	// Dir is the folder that holds the data. One process at a time can have it open.
	Dir string `json:"dir"`
	// Addr is the address to listen on; empty means a free port of the loopback interface.
	// Only loopback addresses are taken while no password is set.
	Addr string `json:"addr,omitempty"`
	// Library is the path of libchdb.so; empty means that FindLibrary searches.
	Library string `json:"library,omitempty"`
	// User and Password are what clients must send. An empty Password lets everyone in who
	// reaches the address, except pages in a browser; an empty User means default.
	User     string `json:"user,omitempty"`
	Password string `json:"password,omitempty"`
	// MaxBody bounds one request's body in bytes, before and after decompression; 0 means
	// DefaultMaxBody.
	MaxBody int64 `json:"max_body,omitempty"`
	// MaxQueries bounds the queries that run at once; 0 means DefaultMaxQueries.
	MaxQueries int `json:"max_queries,omitempty"`
	// MaxMemory bounds the engine's memory in bytes; 0 leaves it to the engine, which takes
	// nine tenths of the machine's.
	MaxMemory int64 `json:"max_memory,omitempty"`
	// Settings are ClickHouse settings of every query; a query's own outrank them.
	Settings map[string]string `json:"settings,omitempty"`

	// Listener, if not nil, is used instead of Addr.
	Listener net.Listener `json:"-"`
	// Lifeline, if not nil, ends Serve when it reaches its end: a child's standard input, which
	// closes when the parent ends, however it ends.
	Lifeline io.Reader `json:"-"`
	// Ready, if not nil, gets one line of JSON when queries are served: {"addr":…,"version":…}.
	Ready io.Writer `json:"-"`
	// Log gets what goes wrong; nil means slog.Default().
	Log *slog.Logger `json:"-"`
}

// Ready is the line that Serve writes when queries are served.
type Ready struct {
	Addr    string `json:"addr"`
	Version string `json:"version"` // the engine's, e.g. 26.5.1.1
}

// stopWait is how long queries may go on after the end was asked for; killWait is how long
// killed ones may take to end.
const (
	stopWait = 5 * time.Second
	killWait = 5 * time.Second
)

// Serve opens the engine on a folder and serves ClickHouse's HTTP interface until ctx is
// done, SIGTERM or SIGINT comes, or the lifeline ends; then it closes the engine and returns
// nil. The error wraps ErrNoLibrary when libchdb is missing.
//
// A process can serve once: the engine stays loaded until the process ends.
func Serve(ctx context.Context, o Options) error {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	ctx = withLifeline(ctx, o.Lifeline)

	library, err := FindLibrary(o.Library, o.Dir)
	if err != nil {
		return err
	}
	listener, err := o.listen()
	if err != nil {
		return err
	}
	defer listener.Close()
	e, err := open(library, o)
	if err != nil {
		return err
	}
	defer e.close()
	h, err := newHandler(e, o)
	if err != nil {
		return err
	}
	return serve(ctx, h, listener, o)
}

// withLifeline returns a context that is done when lifeline ends.
func withLifeline(ctx context.Context, lifeline io.Reader) context.Context {
	if lifeline == nil {
		return ctx
	}
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer cancel()
		io.Copy(io.Discard, lifeline)
	}()
	return ctx
}

// listen returns the listener, and refuses to open a database without a password to others.
func (o Options) listen() (net.Listener, error) {
	listener := o.Listener
	if listener == nil {
		var err error
		listener, err = net.Listen("tcp", first(o.Addr, "127.0.0.1:0"))
		if err != nil {
			return nil, fmt.Errorf("cannot listen for ClickHouse clients: %w", err)
		}
	}
	if address, ok := listener.Addr().(*net.TCPAddr); ok && !address.IP.IsLoopback() && o.Password == "" {
		listener.Close()
		return nil, fmt.Errorf("cannot serve ClickHouse on %v without a password: only loopback addresses can do without", address)
	}
	return listener, nil
}

// open opens the engine with a configuration of its own. Without one the engine would read
// config.xml in the working folder or in the user's home.
func open(library string, o Options) (*engine, error) {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot create the data folder: %w", err)
	}
	config := filepath.Join(o.Dir, "estop-engine.xml")
	if err := os.WriteFile(config, []byte("<clickhouse></clickhouse>\n"), 0o600); err != nil {
		return nil, fmt.Errorf("cannot write the engine's configuration: %w", err)
	}
	args := []string{"--config-file=" + config}
	if o.MaxMemory > 0 {
		args = append(args, "--max_server_memory_usage="+strconv.FormatInt(o.MaxMemory, 10))
	}
	return openEngine(library, o.Dir, args...)
}

func newHandler(e *engine, o Options) (*handler, error) {
	c, err := e.connect()
	if err != nil {
		return nil, err
	}
	defer c.close()
	row, _, err := c.exec("SELECT displayName(), version(), timezone()", "TabSeparated")
	if err != nil {
		return nil, fmt.Errorf("cannot ask the engine who it is: %w", err)
	}
	fields := strings.Split(strings.TrimSuffix(string(row), "\n"), "\t")
	if len(fields) != 3 {
		return nil, fmt.Errorf("the engine says it is %q", row)
	}
	// Only a synchronous insert is on disk when it is answered.
	defaults := map[string]string{"async_insert": "0"}
	for name, value := range o.Settings {
		if !isPlainName(name) {
			return nil, fmt.Errorf("%q is not the name of a setting", name)
		}
		defaults[name] = value
	}
	h := &handler{
		engine:   e,
		hello:    hello{name: fields[0], version: fields[1], timezone: fields[2]},
		log:      o.Log,
		user:     first(o.User, "default"),
		password: o.Password,
		defaults: defaults,
		maxBody:  o.MaxBody,
		spoolDir: filepath.Join(o.Dir, "estop-spool"),
	}
	if h.maxBody <= 0 {
		h.maxBody = DefaultMaxBody
	}
	slots := o.MaxQueries
	if slots <= 0 {
		slots = DefaultMaxQueries
	}
	h.slots = make(chan struct{}, slots)
	return h, nil
}

// serve answers requests until ctx is done, then lets those under way end, then kills them.
func serve(ctx context.Context, h *handler, listener net.Listener, o Options) error {
	queries, kill := context.WithCancel(context.WithoutCancel(ctx))
	defer kill()
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 30 * time.Second,
		MaxHeaderBytes:    2 << 20, // queries and settings may stand in the URL
		BaseContext:       func(net.Listener) context.Context { return queries },
		ErrorLog:          slog.NewLogLogger(o.Log.Handler(), slog.LevelWarn),
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	if o.Ready != nil {
		line := Ready{Addr: listener.Addr().String(), Version: h.hello.version}
		if err := json.NewEncoder(o.Ready).Encode(line); err != nil {
			return fmt.Errorf("cannot report ready: %w", err)
		}
	}
	select {
	case err := <-failed:
		return fmt.Errorf("cannot serve ClickHouse clients: %w", err)
	case <-ctx.Done():
	}
	wait, cancel := context.WithTimeout(context.Background(), stopWait)
	defer cancel()
	if err := server.Shutdown(wait); errors.Is(err, context.DeadlineExceeded) {
		kill()
		last, cancel := context.WithTimeout(context.Background(), killWait)
		defer cancel()
		if err := server.Shutdown(last); err != nil {
			return fmt.Errorf("cannot end the running queries: %w", err)
		}
	}
	return nil
}
