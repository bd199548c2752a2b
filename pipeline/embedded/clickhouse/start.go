package clickhouse

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"sync"
	"time"
)

// Timings of the watch over the child.
const (
	firstBackoff = 100 * time.Millisecond
	maxBackoff   = 10 * time.Second
	// steady is how long a child must have run for the next start to be without delay again.
	steady = 30 * time.Second
	// startLimit is how long a child may take to get ready.
	startLimit = 2 * time.Minute
	// endLimit is how long a child may take to end before it is killed.
	endLimit = stopWait + killWait + 5*time.Second
)

// StartOptions says how the child is started.
type StartOptions struct {
	Options
	// Argv is the child's command line, whose main calls ServeChild, e.g. {"/usr/bin/estop",
	// "clickhouse-engine"}.
	Argv []string
	// Env is added to the child's environment, as NAME=value.
	Env []string
}

// State is what the child is doing.
type State string

// The states of a child.
const (
	Starting   State = "starting"   // the process runs and does not answer yet
	Running    State = "running"    // queries are answered
	Restarting State = "restarting" // it ended by itself; the next start is due
	Stopped    State = "stopped"    // Stop was called
)

// Server is the parent's hold on the engine: a child process that is started again when it
// ends. The listener belongs to the parent, so the address stays, and clients that connect
// while the child restarts wait for it instead of being refused.
type Server struct {
	options  StartOptions
	listener *net.TCPListener
	log      *slog.Logger
	cancel   context.CancelFunc
	done     chan struct{}

	mu      sync.Mutex
	changed chan struct{} // closed and renewed when what follows changes
	state   State
	pid     int
	starts  int
	version string
	last    error // how the last child ended
}

// Start starts the engine in a child process and watches it until ctx is done or Stop is
// called. It returns as soon as the address is bound: clients may connect at once, and
// WaitReady waits for the first answer.
//
// The error wraps ErrNoLibrary when libchdb is missing: then the caller can go on without
// and call Start again later.
func Start(ctx context.Context, o StartOptions) (*Server, error) {
	if len(o.Argv) == 0 {
		return nil, errors.New("cannot start the ClickHouse engine: no command line")
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	library, err := FindLibrary(o.Library, o.Dir)
	if err != nil {
		return nil, err
	}
	o.Library = library
	listener, err := o.Options.listen()
	if err != nil {
		return nil, err
	}
	tcp, ok := listener.(*net.TCPListener)
	if !ok {
		listener.Close()
		return nil, fmt.Errorf("cannot hand a %T to a child process", listener)
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &Server{
		options:  o,
		listener: tcp,
		log:      o.Log.With("component", "clickhouse-engine"),
		cancel:   cancel,
		done:     make(chan struct{}),
		changed:  make(chan struct{}),
		state:    Starting,
	}
	go s.watch(ctx)
	return s, nil
}

// Addr returns host:port. It is the same for the life of the Server.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Dir returns the data folder.
func (s *Server) Dir() string { return s.options.Dir }

// State returns what the child is doing and how the last one ended, if one did.
func (s *Server) State() (State, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state, s.last
}

// Pid returns the child's process id, 0 while there is none.
func (s *Server) Pid() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pid
}

// Starts returns how many times a child was started.
func (s *Server) Starts() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.starts
}

// Version returns the engine's version, empty until it has been ready once.
func (s *Server) Version() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.version
}

// WaitReady waits until the child answers queries. It fails when ctx is done or the Server
// has stopped, and says how the last child ended.
func (s *Server) WaitReady(ctx context.Context) error {
	for {
		s.mu.Lock()
		state, last, changed := s.state, s.last, s.changed
		s.mu.Unlock()
		switch state {
		case Running:
			return nil
		case Stopped:
			return errors.Join(errors.New("the ClickHouse engine is stopped"), last)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("the ClickHouse engine is %s: %w", state, ctx.Err()), last)
		}
	}
}

// Stop ends the child in good order, frees the address and returns when both are done. The
// same folder and address can be started again. Stopping twice is no error.
func (s *Server) Stop() error {
	s.cancel()
	<-s.done
	return nil
}

// set changes the state under the lock and wakes those who wait.
func (s *Server) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
	close(s.changed)
	s.changed = make(chan struct{})
}

// watch starts the child, again and again, with growing pauses while it does not last.
func (s *Server) watch(ctx context.Context) {
	defer close(s.done)
	defer s.set(func() { s.state, s.pid = Stopped, 0 })
	defer s.listener.Close()
	backoff := firstBackoff
	for {
		began := time.Now()
		err := s.runChild(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) >= steady {
			backoff = firstBackoff
		}
		s.set(func() { s.state, s.pid, s.last = Restarting, 0, err })
		s.log.Warn("the ClickHouse engine ended; starting it again", "error", err, "pause", backoff)
		select {
		case <-ctx.Done():
			return
		case <-time.After(backoff):
		}
		backoff = min(2*backoff, maxBackoff)
	}
}

// runChild starts one child and returns when it has ended.
func (s *Server) runChild(ctx context.Context) error {
	handle, err := s.listener.File()
	if err != nil {
		return fmt.Errorf("cannot share the listener: %w", err)
	}
	defer handle.Close()
	orders, err := json.Marshal(s.options.Options)
	if err != nil {
		return fmt.Errorf("cannot write the child's options: %w", err)
	}
	cmd := exec.Command(s.options.Argv[0], s.options.Argv[1:]...)
	cmd.Env = append(os.Environ(), s.options.Env...)
	cmd.ExtraFiles = []*os.File{handle} // becomes inheritedListener
	ownGroup(cmd)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("cannot make the child's pipes: %w", err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("cannot make the child's pipes: %w", err)
	}
	log := &lineLogger{log: s.log}
	cmd.Stderr = log
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("cannot start %q: %w", s.options.Argv[0], err)
	}
	s.set(func() { s.state, s.pid, s.starts = Starting, cmd.Process.Pid, s.starts+1 })
	ready := make(chan struct{})
	read := make(chan struct{})
	go func() {
		defer close(read)
		s.readReady(stdout, ready)
	}()
	ended := make(chan struct{})
	enforced := make(chan struct{})
	go func() {
		defer close(enforced)
		s.enforce(ctx, cmd.Process, stdin, ready, ended)
	}()
	stdin.Write(append(orders, '\n')) // a child that ended early says why below
	<-read
	err = cmd.Wait()
	close(ended)
	<-enforced
	log.flush()
	if err == nil {
		err = errors.New("it ended by itself")
	}
	if log.lastLine != "" {
		err = fmt.Errorf("%w: %s", err, log.lastLine)
	}
	return err
}

// readReady reads the line that says the child is ready, and then to the end of its output.
func (s *Server) readReady(stdout io.Reader, ready chan<- struct{}) {
	in := bufio.NewReader(stdout)
	var line Ready
	for {
		text, err := readLine(in, maxOrders)
		if err != nil {
			break
		}
		if json.Unmarshal(text, &line) == nil && line.Addr != "" {
			s.set(func() { s.state, s.version, s.last = Running, line.Version, nil })
			s.log.Info("the ClickHouse engine is ready", "addr", line.Addr, "version", line.Version, "pid", s.Pid())
			close(ready)
			break
		}
	}
	io.Copy(io.Discard, in)
}

// enforce asks the child to end when ctx is done, and kills it when it does not, or when it
// does not get ready.
func (s *Server) enforce(ctx context.Context, child *os.Process, stdin io.Closer, ready, ended <-chan struct{}) {
	select {
	case <-ended:
		return
	case <-ctx.Done():
	case <-time.After(startLimit):
		select {
		case <-ready:
		default:
			s.log.Error("the ClickHouse engine does not get ready; killing it", "after", startLimit)
			child.Kill()
		}
		select {
		case <-ended:
			return
		case <-ctx.Done():
		}
	}
	stdin.Close() // the lifeline
	select {
	case <-ended:
	case <-time.After(endLimit):
		s.log.Error("the ClickHouse engine does not end; killing it", "after", endLimit)
		child.Kill()
		<-ended
	}
}

// lineLogger passes the child's standard error on, a record for each line.
type lineLogger struct {
	log      *slog.Logger
	part     []byte
	lastLine string
}

// maxLogLine bounds a line of the child's output; the rest of a longer one is cut off.
const maxLogLine = 4 << 10

func (l *lineLogger) Write(p []byte) (int, error) {
	for _, c := range p {
		switch {
		case c == '\n':
			l.flush()
		case len(l.part) < maxLogLine:
			l.part = append(l.part, c)
		}
	}
	return len(p), nil
}

func (l *lineLogger) flush() {
	if len(l.part) > 0 {
		l.lastLine = string(l.part)
		l.log.Warn("the ClickHouse engine says", "line", l.lastLine)
	}
	l.part = l.part[:0]
}
