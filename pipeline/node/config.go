// Package node makes a running estop out of its rooms: it reads the configuration,
// connects to Kafka, NATS and ClickHouse, or starts them inside this process, and runs
// the roles that it is told to.
package node

import (
	"path/filepath"
	"time"
)

// Config is the whole configuration. A setting's key is the path of config tags that leads
// to it: kafka.brokers in a file, --kafka.brokers on the command line, and
// ESTOP_KAFKA_BROKERS in the environment.
type Config struct {
	// Dir holds the data of the embedded engines, the keys, and how to reach them.
	Dir        string     `config:"dir"`
	Kafka      Kafka      `config:"kafka"`
	NATS       NATS       `config:"nats"`
	Revoke     Revoke     `config:"revoke"`
	ClickHouse ClickHouse `config:"clickhouse"`
	Keys       Keys       `config:"keys"`
	Detectors  Detectors  `config:"detectors"`
	Detect     Detect     `config:"detect"`
	Interlock  Interlock  `config:"interlock"`
	Archive    Archive    `config:"archive"`
	Notify     Notify     `config:"notify"`
	Audit      Audit      `config:"audit"`
	HTTP       HTTP       `config:"http"`
	Log        Log        `config:"log"`

	// Gate is what 'estop gate' is told.
	Gate GateSettings `config:"gate"`

	found bool              // it is that of a running node
	from  map[string]string // by key: where it was said; missing for what is as in Default
}

// Kafka says where the log of record is, or how the embedded one is kept.
type Kafka struct {
	Brokers    []string      `config:"brokers"`
	Port       int           `config:"port"`       // of the embedded broker; 0: a free one, kept over restarts
	Partitions int32         `config:"partitions"` // of topics that are made on start
	Replicas   int16         `config:"replicas"`
	TLS        TLS           `config:"tls"`
	SASL       SASL          `config:"sasl"`
	Retention  time.Duration `config:"retention"`      // of the embedded broker
	MaxBytes   int64         `config:"retentionbytes"` // of each partition of the embedded broker
}

// TLS names the files of a mutual or a server-only TLS connection.
type TLS struct {
	Enabled bool   `config:"enabled"`
	CA      string `config:"ca"`
	Cert    string `config:"cert"`
	Key     string `config:"key"`
}

// SASL is how to log in to Kafka.
type SASL struct {
	Mechanism string `config:"mechanism"` // plain, scram-sha-256 or scram-sha-512; empty: none
	User      string `config:"user"`
	Password  string `config:"password"`
}

// NATS says where revocations are published, and how to log in: with an nkey, a file of credentials, or a password.
type NATS struct {
	URL      string  `config:"url"`
	User     string  `config:"user"`
	Password string  `config:"password"`
	NKey     string  `config:"nkey"`  // file of a seed
	Creds    string  `config:"creds"` // a .creds file
	TLS      NATSTLS `config:"tls"`
	Guests   bool    `config:"guests"` // the embedded server takes whoever does not log in for a guard
	Port     int     `config:"port"`   // of the embedded server; 0: a free one, kept over restarts
	Replicas int     `config:"replicas"`
}

// NATSTLS names the files of a mutual or a server-only TLS connection. Where one is set the connection is encrypted or not made.
type NATSTLS struct {
	CA         string `config:"ca"`
	Cert       string `config:"cert"`
	Key        string `config:"key"`
	ServerName string `config:"server_name"` // in the server's certificate; empty: the host of the URL
}

// ClickHouse says where the projection is kept.
type ClickHouse struct {
	Addr     string `config:"addr"`
	Protocol string `config:"protocol"` // http or native
	Database string `config:"database"`
	User     string `config:"user"`
	Password string `config:"password"`
	Port     int    `config:"port"`    // of the embedded engine; 0: a free one, kept over restarts
	LibCHDB  string `config:"libchdb"` // path of libchdb for the embedded engine; empty: look for it
}

// Keys names the key files; empty means the ones in Dir.
type Keys struct {
	Signer   string `config:"signer"`
	Verifier string `config:"verifier"`
	Operator string `config:"operator"` // of the person who runs a command
	Audit    string `config:"audit"`    // of the audit log
}

// Detectors says which detectors run.
type Detectors struct {
	Catalog bool   `config:"catalog"` // the built-in ones
	Dir     string `config:"dir"`     // files of your own, loaded live
}

// Detect tunes the detect role.
type Detect struct {
	Checkpoint time.Duration `config:"checkpoint"`
	Samples    time.Duration `config:"samples"`
	MaxAhead   time.Duration `config:"maxahead"`
	MaxAgents  int           `config:"maxagents"` // in each partition
	Memory     string        `config:"memory"`    // of entities, all partitions together: a share of what there is, or bytes; 0: no bound
	Graph      Graph         `config:"graph"`
}

// Graph bounds the access graph of each partition, which explains detections.
type Graph struct {
	Enabled  bool          `config:"enabled"`
	Interval time.Duration `config:"interval"` // from one snapshot to the next
	HalfLife time.Duration `config:"halflife"` // until a use counts half
	MaxNodes int           `config:"maxnodes"` // names of agents, identities, resources and actions
	MaxEdges int           `config:"maxedges"`
	MaxOut   int           `config:"maxout"` // edges from one agent or identity
}

// Archive tunes the archive role.
type Archive struct {
	MaxRows int           `config:"maxrows"`
	MaxWait time.Duration `config:"maxwait"`
}

// HTTP is where metrics and health are served.
type HTTP struct {
	Addr string `config:"addr"` // empty: not at all
}

// Log says what is logged and how.
type Log struct {
	Level  string `config:"level"`  // debug, info, warn or error
	Format string `config:"format"` // text or json
}

// Default is the configuration where nothing else is said.
func Default() Config {
	return Config{
		Dir:        "estop-data",
		Kafka:      Kafka{Partitions: 8, Replicas: 1, Retention: 24 * time.Hour, MaxBytes: 256 << 20},
		NATS:       NATS{User: "detector", Guests: true, Replicas: 1},
		Revoke:     Revoke{Heartbeat: time.Second, Deadline: 5 * time.Second},
		ClickHouse: ClickHouse{Protocol: "http", Database: "estop", User: "default"},
		Detectors:  Detectors{Catalog: true},
		Detect: Detect{
			Checkpoint: time.Second, Samples: time.Minute, MaxAhead: time.Minute, MaxAgents: 1 << 20, Memory: "25%",
			Graph: Graph{Enabled: true, Interval: 5 * time.Minute, HalfLife: 72 * time.Hour, MaxNodes: 1 << 19, MaxEdges: 1 << 20, MaxOut: 1 << 12},
		},
		Interlock: Interlock{Window: 10 * time.Minute, Targets: 50, Percent: 20, Least: 5},
		Archive:   Archive{MaxRows: 50_000, MaxWait: 500 * time.Millisecond},
		Audit:     Audit{MaxLeaves: 1 << 14, MaxWait: 10 * time.Second},
		HTTP:      HTTP{Addr: "127.0.0.1:9464"},
		Log:       Log{Level: "info", Format: "text"},
		Gate:      DefaultGate(),
	}
}

// SignerPath returns the file of the private key.
func (c Config) SignerPath() string { return c.path(c.Keys.Signer, "keys", "signer.jwk") }

// OperatorPath returns the file of the operator's private key.
func (c Config) OperatorPath() string { return c.path(c.Keys.Operator, "keys", "operator.jwk") }

// VerifierPath returns the file of the public keys.
func (c Config) VerifierPath() string { return c.path(c.Keys.Verifier, "keys", "verifier.jwks") }

func (c Config) path(set string, in ...string) string {
	if set != "" {
		return set
	}
	return filepath.Join(append([]string{c.Dir}, in...)...)
}
