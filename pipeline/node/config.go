// Package node makes a running estop out of its rooms: it reads the configuration,
// connects to Kafka, NATS and ClickHouse, or starts them inside this process, and runs
// the roles that it is told to.
package node

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/providers/structs"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
)

// Config is the whole configuration. Its keys in a file are the koanf names, joined by
// dots on the command line (--kafka.brokers) and by underscores, in capitals and after
// ESTOP_, in the environment (ESTOP_KAFKA_BROKERS).
type Config struct {
	// Dir holds the data of the embedded engines, the keys, and how to reach them.
	Dir        string     `koanf:"dir"`
	Kafka      Kafka      `koanf:"kafka"`
	NATS       NATS       `koanf:"nats"`
	ClickHouse ClickHouse `koanf:"clickhouse"`
	Keys       Keys       `koanf:"keys"`
	Detectors  Detectors  `koanf:"detectors"`
	Detect     Detect     `koanf:"detect"`
	Archive    Archive    `koanf:"archive"`
	HTTP       HTTP       `koanf:"http"`
	Log        Log        `koanf:"log"`
}

// Kafka says where the log of record is, or how the embedded one is kept.
type Kafka struct {
	Brokers    []string      `koanf:"brokers"`
	Port       int           `koanf:"port"`       // of the embedded broker; 0: a free one, kept over restarts
	Partitions int32         `koanf:"partitions"` // of topics that are made on start
	Replicas   int16         `koanf:"replicas"`
	TLS        TLS           `koanf:"tls"`
	SASL       SASL          `koanf:"sasl"`
	Retention  time.Duration `koanf:"retention"`      // of the embedded broker
	MaxBytes   int64         `koanf:"retentionbytes"` // of each partition of the embedded broker
}

// TLS names the files of a mutual or a server-only TLS connection.
type TLS struct {
	Enabled bool   `koanf:"enabled"`
	CA      string `koanf:"ca"`
	Cert    string `koanf:"cert"`
	Key     string `koanf:"key"`
}

// SASL is how to log in to Kafka.
type SASL struct {
	Mechanism string `koanf:"mechanism"` // plain, scram-sha-256 or scram-sha-512; empty: none
	User      string `koanf:"user"`
	Password  string `koanf:"password"`
}

// NATS says where revocations are published.
type NATS struct {
	URL         string `koanf:"url"`
	User        string `koanf:"user"`
	Password    string `koanf:"password"`
	Credentials string `koanf:"credentials"` // a .creds file, instead of user and password
	Port        int    `koanf:"port"`        // of the embedded server; 0: a free one, kept over restarts
	Replicas    int    `koanf:"replicas"`    // of the stream of revocations
}

// ClickHouse says where the projection is kept.
type ClickHouse struct {
	Addr     string `koanf:"addr"`
	Protocol string `koanf:"protocol"` // http or native
	Database string `koanf:"database"`
	User     string `koanf:"user"`
	Password string `koanf:"password"`
	Port     int    `koanf:"port"`    // of the embedded engine; 0: a free one, kept over restarts
	LibCHDB  string `koanf:"libchdb"` // path of libchdb for the embedded engine; empty: look for it
}

// Keys names the key files; empty means the ones in Dir.
type Keys struct {
	Signer   string `koanf:"signer"`
	Verifier string `koanf:"verifier"`
}

// Detectors says which detectors run.
type Detectors struct {
	Catalog bool   `koanf:"catalog"` // the built-in ones
	Dir     string `koanf:"dir"`     // files of your own, loaded live
}

// Detect tunes the detect role.
type Detect struct {
	Checkpoint time.Duration `koanf:"checkpoint"`
	Samples    time.Duration `koanf:"samples"`
	MaxAhead   time.Duration `koanf:"maxahead"`
	MaxAgents  int           `koanf:"maxagents"` // in each partition
}

// Archive tunes the archive role.
type Archive struct {
	MaxRows int           `koanf:"maxrows"`
	MaxWait time.Duration `koanf:"maxwait"`
}

// HTTP is where metrics and health are served.
type HTTP struct {
	Addr string `koanf:"addr"` // empty: not at all
}

// Log says what is logged and how.
type Log struct {
	Level  string `koanf:"level"`  // debug, info, warn or error
	Format string `koanf:"format"` // text or json
}

// Default is the configuration where nothing else is said.
func Default() Config {
	return Config{
		Dir:        "estop-data",
		Kafka:      Kafka{Partitions: 8, Replicas: 1, Retention: 24 * time.Hour, MaxBytes: 256 << 20},
		NATS:       NATS{User: "detector", Replicas: 1},
		ClickHouse: ClickHouse{Protocol: "http", Database: "estop", User: "default"},
		Detectors:  Detectors{Catalog: true},
		Detect:     Detect{Checkpoint: time.Second, Samples: time.Minute, MaxAhead: time.Minute, MaxAgents: 1 << 20},
		Archive:    Archive{MaxRows: 50_000, MaxWait: 500 * time.Millisecond},
		HTTP:       HTTP{Addr: "127.0.0.1:9464"},
		Log:        Log{Level: "info", Format: "text"},
	}
}

// EnvPrefix begins the name of every environment variable that configures estop.
const EnvPrefix = "ESTOP_"

// Load reads the file (none if path is empty), the environment and the flags that were
// set, each stronger than the one before, and checks the result. The error lists all that
// is wrong and where it was said.
func Load(path string, environ []string, flags *pflag.FlagSet) (Config, error) {
	k := koanf.New(".")
	if err := k.Load(structs.Provider(Default(), "koanf"), nil); err != nil {
		return Config{}, fmt.Errorf("cannot load the defaults: %w", err)
	}
	known := k.Keys()
	if path != "" {
		if err := k.Load(file.Provider(path), yaml.Parser()); err != nil {
			return Config{}, fmt.Errorf("cannot read configuration %q: %w", path, err)
		}
		if err := unknownKeys(path, known, k.Keys()); err != nil {
			return Config{}, err
		}
	}
	if err := k.Load(env.Provider(".", env.Opt{Prefix: EnvPrefix, EnvironFunc: func() []string { return environ }, TransformFunc: envKey(known)}), nil); err != nil {
		return Config{}, fmt.Errorf("cannot read the environment: %w", err)
	}
	if flags != nil {
		if err := k.Load(posflag.ProviderWithFlag(flags, ".", k, changedFlag(known)), nil); err != nil {
			return Config{}, fmt.Errorf("cannot read the flags: %w", err)
		}
	}
	var c Config
	err := k.UnmarshalWithConf("", &c, koanf.UnmarshalConf{DecoderConfig: &mapstructure.DecoderConfig{
		Result: &c, TagName: "koanf", WeaklyTypedInput: true,
		DecodeHook: mapstructure.ComposeDecodeHookFunc(
			mapstructure.StringToTimeDurationHookFunc(), mapstructure.StringToSliceHookFunc(",")),
	}})
	if err != nil {
		return Config{}, fmt.Errorf("cannot understand the configuration: %w", err)
	}
	return c, c.Check()
}

// envKey turns ESTOP_KAFKA_BROKERS into kafka.brokers. Variables that are not keys, such as
// those that other commands read, are left alone.
func envKey(known []string) func(k, v string) (string, any) {
	return func(name, value string) (string, any) {
		key := strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(name, EnvPrefix)), "_", ".")
		if !slices.Contains(known, key) {
			return "", nil
		}
		return key, value
	}
}

func changedFlag(known []string) func(*pflag.Flag) (string, any) {
	return func(f *pflag.Flag) (string, any) {
		if !f.Changed || !slices.Contains(known, f.Name) {
			return "", nil
		}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			return f.Name, list.GetSlice()
		}
		return f.Name, f.Value.String()
	}
}

func unknownKeys(path string, known, all []string) error {
	var errs []error
	for _, k := range all {
		if !slices.Contains(known, k) {
			errs = append(errs, fmt.Errorf("%s: unknown key %q; 'estop config show' lists the keys", path, k))
		}
	}
	return errors.Join(errs...)
}

// Check says everything that is wrong with the configuration.
func (c Config) Check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Dir == "" {
		bad("dir: must name a folder")
	}
	if c.Kafka.Partitions < 1 || c.Kafka.Partitions > 10_000 {
		bad("kafka.partitions: %d is not between 1 and 10000", c.Kafka.Partitions)
	}
	if c.Kafka.Replicas < 1 {
		bad("kafka.replicas: %d is not positive", c.Kafka.Replicas)
	}
	if m := c.Kafka.SASL.Mechanism; m != "" && !slices.Contains([]string{"plain", "scram-sha-256", "scram-sha-512"}, m) {
		bad("kafka.sasl.mechanism: %q is not plain, scram-sha-256 or scram-sha-512", m)
	}
	if p := c.ClickHouse.Protocol; p != "http" && p != "native" {
		bad("clickhouse.protocol: %q is not http or native", p)
	}
	for key, d := range map[string]time.Duration{
		"detect.checkpoint": c.Detect.Checkpoint, "detect.samples": c.Detect.Samples, "archive.maxwait": c.Archive.MaxWait,
	} {
		if d <= 0 {
			bad("%s: %v is not positive", key, d)
		}
	}
	if c.Archive.MaxRows < 1 {
		bad("archive.maxrows: %d is not positive", c.Archive.MaxRows)
	}
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, c.Log.Level) {
		bad("log.level: %q is not debug, info, warn or error", c.Log.Level)
	}
	if c.Log.Format != "text" && c.Log.Format != "json" {
		bad("log.format: %q is not text or json", c.Log.Format)
	}
	if c.HTTP.Addr != "" {
		if _, _, err := net.SplitHostPort(c.HTTP.Addr); err != nil {
			bad("http.addr: %v", err)
		}
	}
	if !c.Detectors.Catalog && c.Detectors.Dir == "" {
		bad("detectors: neither the catalog nor a dir is on, so nothing would be detected")
	}
	if d := c.Detectors.Dir; d != "" {
		if st, err := os.Stat(d); err != nil || !st.IsDir() {
			bad("detectors.dir: %q is not a folder", d)
		}
	}
	return errors.Join(errs...)
}

// CheckRemote says what is missing to run without the embedded engines.
func (c Config) CheckRemote() error {
	var errs []error
	if len(c.Kafka.Brokers) == 0 {
		errs = append(errs, errors.New("kafka.brokers: no address; set it, or use 'estop up' for the embedded engines"))
	}
	if c.NATS.URL == "" {
		errs = append(errs, errors.New("nats.url: no address"))
	}
	return errors.Join(errs...)
}

// SignerPath returns the file of the private key.
func (c Config) SignerPath() string { return c.path(c.Keys.Signer, "keys", "signer.jwk") }

// VerifierPath returns the file of the public keys.
func (c Config) VerifierPath() string { return c.path(c.Keys.Verifier, "keys", "verifier.jwks") }

func (c Config) path(set string, in ...string) string {
	if set != "" {
		return set
	}
	return filepath.Join(append([]string{c.Dir}, in...)...)
}

// Setting is one key of the configuration with its value.
type Setting struct {
	Key   string `json:"key"`
	Value any    `json:"value"`
}

// Settings lists the configuration by key. Secrets are starred out.
func (c Config) Settings() []Setting {
	k := koanf.New(".")
	if err := k.Load(structs.Provider(c, "koanf"), nil); err != nil {
		panic(fmt.Sprintf("node: cannot list the configuration: %v", err)) // our own type
	}
	var all []Setting
	for _, key := range k.Keys() {
		v := k.Get(key)
		if strings.HasSuffix(key, "password") && v != "" {
			v = "***"
		}
		all = append(all, Setting{key, v})
	}
	return all
}
