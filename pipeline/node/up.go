package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/pipeline/archive"
	"github.com/estop-project/estop/pipeline/audit"
	"github.com/estop-project/estop/pipeline/embedded"
	"github.com/estop-project/estop/pipeline/embedded/kafka"
	natsd "github.com/estop-project/estop/pipeline/embedded/nats"
)

// Endpoints are how to reach a node that runs in a folder. They are written to it, so that
// the other commands find the node.
type Endpoints struct {
	PID        int      `json:"pid"`
	Kafka      []string `json:"kafka"`
	NATS       string   `json:"nats"`
	NATSUser   string   `json:"nats_user,omitempty"`
	NATSSecret string   `json:"nats_password,omitempty"`
	// NATSNKeys says that NATS lets in nobody without a seed of Config.NATSPath.
	NATSNKeys  bool   `json:"nats_nkeys,omitempty"`
	ClickHouse string `json:"clickhouse"`
	// ClickHouseUser and ClickHouseSecret let whoever may read this file query ClickHouse.
	ClickHouseUser   string    `json:"clickhouse_user"`
	ClickHouseSecret string    `json:"clickhouse_password"`
	HTTP             string    `json:"http,omitempty"`
	Keys             [2]string `json:"keys"` // signer, verifier
}

const endpointsFile = "endpoints.json"

// Up starts the embedded engines in c.Dir and runs all roles against them until ctx ends.
// Once everything can be reached it calls ready.
func Up(ctx context.Context, c Config, engine []string, log *slog.Logger, ready func(Endpoints)) error {
	if pid, ok := c.running(); ok {
		return fmt.Errorf("a node runs in %q already, as process %d", c.Dir, pid)
	}
	c.warnIgnored(log)
	if err := c.MakeKeys(); err != nil {
		return err
	}
	readers := readers()
	if err := c.notifyReaders(readers); err != nil {
		return err
	}
	logins, err := c.embeddedLogins()
	if err != nil {
		return err
	}
	engines, err := embedded.Start(ctx, embedded.Options{
		Dir: c.Dir, KafkaPort: c.Kafka.Port, NATSPort: c.NATS.Port, ClickHousePort: c.ClickHouse.Port,
		NATSLogins:         logins,
		Retention:          kafka.Retention{Age: c.Kafka.Retention, Bytes: c.Kafka.MaxBytes},
		Readers:            readers,
		LibCHDB:            c.ClickHouse.LibCHDB,
		ClickHousePassword: c.ClickHouse.Password,
		ClickHouseArgv:     engine,
		Log:                log,
	})
	if err != nil {
		return err
	}
	defer engines.Stop()
	e := Endpoints{
		PID: os.Getpid(), Kafka: engines.Kafka.Addrs(), NATS: engines.NATS.URL(), ClickHouse: engines.ClickHouseAddr,
		ClickHouseUser: "default", ClickHouseSecret: engines.ClickHousePassword,
		Keys: [2]string{c.SignerPath(), c.VerifierPath()},
	}
	if len(logins) > 0 {
		e.NATSNKeys = true
	} else {
		e.NATSUser, e.NATSSecret = natsd.DetectorUser, engines.NATSPassword
	}
	defer os.Remove(filepath.Join(c.Dir, endpointsFile))
	return Run(ctx, c.at(e), Roles(), log, func(http string) error {
		e.HTTP = http
		if err := e.save(c.Dir); err != nil {
			return err
		}
		if ready != nil {
			ready(e)
		}
		return nil
	})
}

// warnIgnored says what of the configuration is for 'estop run' and has no effect here.
func (c Config) warnIgnored(log *slog.Logger) {
	for _, key := range []string{"kafka.brokers", "nats.url", "nats.creds", "clickhouse.addr"} {
		if from := c.from[key]; from != "" {
			log.Warn("a setting has no effect: 'estop up' runs engines of its own; 'estop run' is for others", "key", key, "from", from)
		}
	}
}

// readers are the groups that retention waits for.
func readers() map[string][]string {
	m := map[string][]string{}
	for _, t := range archive.Topics() {
		m[t] = append(m[t], archive.DefaultGroup)
	}
	for _, t := range []string{pipeline.TopicCalls, pipeline.TopicExchange} {
		m[t] = append(m[t], pipeline.Group)
	}
	for _, t := range audit.Topics() {
		m[t] = append(m[t], audit.Group)
	}
	return m
}

// at returns the configuration with the addresses of running engines.
func (c Config) at(e Endpoints) Config {
	c.Kafka.Brokers = e.Kafka
	c.NATS = c.loginTo(e)
	c.ClickHouse.Addr, c.ClickHouse.Protocol = e.ClickHouse, "http"
	c.ClickHouse.User, c.ClickHouse.Password = e.ClickHouseUser, e.ClickHouseSecret
	return c
}

func (e Endpoints) save(dir string) error {
	b, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(dir, endpointsFile)
	if err := os.WriteFile(path+".new", append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("cannot write how to reach this node: %w", err)
	}
	return os.Rename(path+".new", path)
}

// running returns the process of the node that runs in c.Dir. The lock of the engines'
// folders decides; this is for a message that people understand.
func (c Config) running() (pid int, ok bool) {
	e, err := c.endpoints()
	return e.PID, err == nil && e.answer() == nil
}

// endpoints reads what the node in c.Dir wrote.
func (c Config) endpoints() (Endpoints, error) {
	var e Endpoints
	path := filepath.Join(c.Dir, endpointsFile)
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, &e)
	}
	if err != nil {
		return e, fmt.Errorf("cannot read %q: %w", path, err)
	}
	return e, nil
}

// ErrNoNode says that no node is configured, and none runs in the data folder.
var ErrNoNode = errors.New("no node to talk to")

// answerWait bounds how long the node may take to take a connection.
const answerWait = 3 * time.Second

// Find returns the configuration with the addresses of the node to talk to: those that it
// says itself, else those of the node that runs in its folder. Where nothing answers the
// error wraps ErrNoNode.
func (c Config) Find() (Config, error) {
	if len(c.Kafka.Brokers) > 0 || c.NATS.URL != "" {
		return c, c.CheckRemote()
	}
	e, err := c.endpoints()
	if errors.Is(err, fs.ErrNotExist) {
		return c, fmt.Errorf("%w: nothing runs in %q (start it with 'estop up', or name its folder with --dir), and neither kafka.brokers nor nats.url is set", ErrNoNode, c.Dir)
	}
	if err != nil {
		return c, fmt.Errorf("cannot read how to reach the node: %w", err)
	}
	if err := e.answer(); err != nil {
		return c, fmt.Errorf("%w: the one that ran in %q (process %d) does not answer; start it again with 'estop up --dir %s': %w", ErrNoNode, c.Dir, e.PID, c.Dir, err)
	}
	c = c.at(e)
	c.HTTP.Addr, c.found = e.HTTP, true
	return c, nil
}

// answer reports whether something listens where the node said. A node that was killed
// leaves its file behind.
func (e Endpoints) answer() error {
	u, err := url.Parse(e.NATS)
	if err != nil {
		return err
	}
	conn, err := net.DialTimeout("tcp", u.Host, answerWait)
	if err != nil {
		return err
	}
	return conn.Close()
}
