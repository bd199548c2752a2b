// Package natsd runs a NATS server with JetStream inside this process: the embedded
// default, and the server that tests run against.
//
// Accounts keep the kill switch in one hand. The detector's account owns the stream
// and is the only one that can publish revocations. Everybody else is a guest in an
// account of its own: it hears estop.v1.revoke, sends estop.v1.ack, and reads the stream
// through one exported service. A guest cannot even have the server publish for it by a
// forged reply subject, because replies stay in the guest's account.
package natsd

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// DetectorUser is the name of the one user that may publish revocations.
const DetectorUser = "detector"

const (
	readyTimeout = 20 * time.Second
	minPassword  = 16 // bytes
)

// Options say where a server keeps its data and where it listens.
type Options struct {
	Dir      string // data folder; made if missing
	Password string // of DetectorUser; at least 16 bytes
	// Logins, where there are any, are the only ones who get in: there is no password then, and no guest.
	Logins []Login
	Port   int // on the loopback interface; 0 takes a free one
	Logger server.Logger
}

// Server is a running NATS server.
type Server struct {
	s        *server.Server
	password string
}

// Start starts a server and returns when it accepts connections.
func Start(o Options) (*Server, error) {
	if len(o.Logins) == 0 && len(o.Password) < minPassword {
		return nil, fmt.Errorf("cannot start NATS: the detector's password has %d bytes, needs %d", len(o.Password), minPassword)
	}
	if o.Dir == "" {
		return nil, errors.New("cannot start NATS: no data folder")
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot start NATS: %w", err)
	}
	opts, err := serverOptions(o)
	if err != nil {
		return nil, fmt.Errorf("cannot start NATS: %w", err)
	}
	s, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("cannot start NATS: %w", err)
	}
	if o.Logger != nil {
		s.SetLogger(o.Logger, false, false)
	}
	s.Start()
	if !s.ReadyForConnections(readyTimeout) {
		s.Shutdown()
		s.WaitForShutdown()
		return nil, fmt.Errorf("cannot start NATS: not ready on port %d in %q within %v", o.Port, o.Dir, readyTimeout)
	}
	return &Server{s, o.Password}, nil
}

func serverOptions(o Options) (*server.Options, error) {
	opts := &server.Options{}
	who := Config(o.Password)
	if len(o.Logins) > 0 {
		who = Accounts(o.Logins...)
	}
	if err := opts.ProcessConfigString(who); err != nil {
		return nil, err
	}
	opts.ServerName = "estop"
	opts.Host = "127.0.0.1"
	opts.Port = o.Port
	if o.Port == 0 {
		opts.Port = server.RANDOM_PORT
	}
	opts.JetStream = true
	opts.StoreDir = filepath.Clean(o.Dir)
	opts.NoSigs = true
	opts.NoLog = o.Logger == nil
	// What the stream has acknowledged must outlive a loss of power, not only a kill -9:
	// revocations are rare, and live guards do not wait for the disk.
	opts.SyncAlways = true
	return opts, nil
}

// Addr returns host:port.
func (s *Server) Addr() string {
	a := s.s.Addr().(*net.TCPAddr)
	return net.JoinHostPort(a.IP.String(), strconv.Itoa(a.Port))
}

// URL returns the address for guards and other guests.
func (s *Server) URL() string { return "nats://" + s.Addr() }

// DetectorURL returns the address with the detector's user and password: a secret.
func (s *Server) DetectorURL() string {
	u := url.URL{Scheme: "nats", Host: s.Addr(), User: url.UserPassword(DetectorUser, s.password)}
	return u.String()
}

// Stop stops the server and waits until its files are closed.
func (s *Server) Stop() {
	s.s.Shutdown()
	s.s.WaitForShutdown()
}
