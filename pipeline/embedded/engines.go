// Package embedded starts Kafka, NATS and ClickHouse inside this process, for the embedded
// default and for tests. The rest of estop sees addresses and knows no difference.
package embedded

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/estop-project/estop/pipeline/embedded/clickhouse"
	"github.com/estop-project/estop/pipeline/embedded/kafka"
	natsd "github.com/estop-project/estop/pipeline/embedded/nats"
)

// Options say where the engines keep their data and how they are reached. A port of 0
// means the one of the last run in Dir, or a free one the first time.
type Options struct {
	Dir            string
	KafkaPort      int
	NATSPort       int
	ClickHousePort int
	// NATSLogins, where there are any, are the only ones whom NATS lets in.
	NATSLogins []natsd.Login
	// Retention bounds the embedded Kafka's log, which it holds in memory.
	Retention kafka.Retention
	// Readers are the groups that must have read a topic before retention deletes.
	Readers map[string][]string
	// LibCHDB is the path of the ClickHouse engine's library; empty: look for it.
	LibCHDB string
	// ClickHousePassword is what clients must send; empty means the one that Dir keeps, made at
	// the first start. There is always one: whoever may query can read files as this process.
	ClickHousePassword string
	// ClickHouseArgv starts a process whose main calls clickhouse.ServeChild.
	ClickHouseArgv []string
	// NoClickHouse leaves the engine out.
	NoClickHouse bool
	Log          *slog.Logger
}

// Engines are the running engines.
type Engines struct {
	Kafka *kafka.Broker
	NATS  *natsd.Server
	// NATSPassword is that of natsd.DetectorUser, the only one who may publish revocations.
	NATSPassword       string
	ClickHouseAddr     string
	ClickHousePassword string

	opt    Options
	log    *slog.Logger
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu         sync.Mutex
	clickhouse *clickhouse.Server
}

// retryLibrary is how often a missing libchdb is looked for again.
const retryLibrary = 5 * time.Second

// Start starts the engines. Kafka and NATS serve when it returns; ClickHouse comes up
// beside them, or, where its library is missing, as soon as that is there.
func Start(ctx context.Context, opt Options) (*Engines, error) {
	if opt.Log == nil {
		opt.Log = slog.Default()
	}
	e := &Engines{opt: opt, log: opt.Log}
	if err := os.MkdirAll(opt.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the data folder: %w", err)
	}
	var err error
	e.Kafka, err = kafka.Start(kafka.Options{
		Dir: filepath.Join(opt.Dir, "kafka"), Port: opt.KafkaPort, Retention: opt.Retention, Readers: opt.Readers,
		Logger: opt.Log.With("engine", "kafka"),
	})
	if err != nil {
		return nil, fmt.Errorf("cannot start the embedded Kafka: %w", err)
	}
	if err := e.startNATS(); err != nil {
		e.Stop()
		return nil, err
	}
	if !opt.NoClickHouse {
		if err := e.startClickHouse(ctx); err != nil {
			e.Stop()
			return nil, err
		}
	}
	return e, nil
}

func (e *Engines) startNATS() error {
	dir := filepath.Join(e.opt.Dir, "nats")
	var err error
	if e.NATSPassword, err = secret(filepath.Join(dir, "detector.password")); err != nil {
		return fmt.Errorf("cannot keep the password of NATS: %w", err)
	}
	port, err := rememberedPort(filepath.Join(dir, "port"), e.opt.NATSPort)
	if err != nil {
		return fmt.Errorf("cannot choose a port for NATS: %w", err)
	}
	e.NATS, err = natsd.Start(natsd.Options{Dir: filepath.Join(dir, "data"), Password: e.NATSPassword, Logins: e.opt.NATSLogins, Port: port})
	return err
}

// startClickHouse binds the address, so that it is known, and starts the engine behind it.
func (e *Engines) startClickHouse(ctx context.Context) error {
	dir := filepath.Join(e.opt.Dir, "clickhouse")
	port, err := rememberedPort(filepath.Join(dir, "port"), e.opt.ClickHousePort)
	if err != nil {
		return fmt.Errorf("cannot choose a port for ClickHouse: %w", err)
	}
	if e.ClickHousePassword = e.opt.ClickHousePassword; e.ClickHousePassword == "" {
		if e.ClickHousePassword, err = secret(filepath.Join(dir, "password")); err != nil {
			return fmt.Errorf("cannot keep the password of ClickHouse: %w", err)
		}
	}
	e.ClickHouseAddr = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	ctx, e.cancel = context.WithCancel(context.WithoutCancel(ctx))
	err = e.tryClickHouse(ctx)
	if errors.Is(err, clickhouse.ErrNoLibrary) {
		e.log.Warn("ClickHouse is left out for now: its library is missing. Detection and kills run; calls wait in Kafka and are archived when it is there", "err", err)
		e.wg.Go(func() { e.awaitLibrary(ctx) })
		return nil
	}
	return err
}

func (e *Engines) tryClickHouse(ctx context.Context) error {
	s, err := clickhouse.Start(ctx, clickhouse.StartOptions{
		Options: clickhouse.Options{
			Dir: filepath.Join(e.opt.Dir, "clickhouse", "data"), Addr: e.ClickHouseAddr,
			Library: e.opt.LibCHDB, Password: e.ClickHousePassword, Log: e.log.With("engine", "clickhouse"),
		},
		Argv: e.opt.ClickHouseArgv,
	})
	if err != nil {
		return fmt.Errorf("cannot start the embedded ClickHouse: %w", err)
	}
	e.mu.Lock()
	e.clickhouse = s
	e.mu.Unlock()
	return nil
}

func (e *Engines) awaitLibrary(ctx context.Context) {
	tick := time.NewTicker(retryLibrary)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := e.tryClickHouse(ctx)
		if err == nil {
			e.log.Info("ClickHouse's library is there now; the archive catches up")
			return
		}
		if !errors.Is(err, clickhouse.ErrNoLibrary) {
			e.log.Error("ClickHouse does not start", "err", err)
		}
	}
}

// ClickHouse returns the ClickHouse server, or nil while its library is missing.
func (e *Engines) ClickHouse() *clickhouse.Server {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.clickhouse
}

// Stop ends the engines. It may be called twice.
func (e *Engines) Stop() {
	if e.cancel != nil {
		e.cancel()
	}
	e.wg.Wait()
	if s := e.ClickHouse(); s != nil {
		s.Stop()
	}
	if e.NATS != nil {
		e.NATS.Stop()
	}
	if e.Kafka != nil {
		e.Kafka.Stop()
	}
}

// secret returns the secret in a file that only the owner can read, made if it is missing, or
// empty because the one who made it was killed.
func secret(path string) (string, error) {
	b, err := os.ReadFile(path)
	if s := strings.TrimSpace(string(b)); s != "" {
		return s, nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", err
	}
	random := make([]byte, 24)
	if _, err := rand.Read(random); err != nil {
		return "", err
	}
	s := hex.EncodeToString(random)
	if err := os.WriteFile(path+".new", []byte(s+"\n"), 0o600); err != nil {
		return "", err
	}
	return s, os.Rename(path+".new", path)
}

// rememberedPort returns the wanted port, else the one that the file remembers, else a
// free one, and remembers it: clients find an engine again after a restart.
func rememberedPort(file string, wanted int) (int, error) {
	if wanted == 0 {
		if b, err := os.ReadFile(file); err == nil {
			wanted, _ = strconv.Atoi(strings.TrimSpace(string(b)))
		}
	}
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(wanted)))
	if err != nil {
		return 0, fmt.Errorf("port %d: %w", wanted, err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		return 0, err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return 0, err
	}
	return port, os.WriteFile(file, []byte(strconv.Itoa(port)+"\n"), 0o600)
}
