package plugin

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"github.com/estop-project/estop/pipeline/node"
	"github.com/estop-project/estop/revoke"
)

// Settings are what an administrator of Grafana says of one data source. Passwords come apart from them, encrypted.
type Settings struct {
	// Tenants are those that may be seen and stopped here, whatever a query asks. AllTenants is said and never
	// meant: without either, nothing is shown.
	Tenants    []string `json:"tenants"`
	AllTenants bool     `json:"allTenants"`

	ClickHouse ClickHouse `json:"clickhouse"`
	NATS       NATS       `json:"nats"`
	Kafka      Kafka      `json:"kafka"`
	// Keys is a folder on Grafana's machine: verifier.jwks, and a private key for each operator. Empty: nobody acts
	// from Grafana.
	Keys string `json:"keys"`

	Rows    int `json:"rows"`    // that an answer has at most; 0: 10,000
	Seconds int `json:"seconds"` // that a query may take; 0: 10
	Rate    int `json:"rate"`    // events a second that a stream shows at most; 0: 100
	Wait    int `json:"wait"`    // seconds that guards may take to acknowledge what a person does; 0: 2
}

// ClickHouse is where the archive is.
type ClickHouse struct {
	Addr     string `json:"addr"`
	Protocol string `json:"protocol"` // http (empty) or native
	Database string `json:"database"` // empty: estop
	User     string `json:"user"`
	TLS      bool   `json:"tls"`
}

// NATS is where revocations are heard and published.
type NATS struct {
	URL   string `json:"url"`
	User  string `json:"user"`
	NKey  string `json:"nkey"`  // file of the operator's seed on Grafana's machine, in the place of user and password
	Creds string `json:"creds"` // a .creds file, in the place of both
	CA    string `json:"ca"`    // file of the authority of the server's certificate
}

// Kafka is where detections are heard, and what people do is kept.
type Kafka struct {
	Brokers   []string `json:"brokers"`
	TLS       bool     `json:"tls"`
	CA        string   `json:"ca"`
	Mechanism string   `json:"mechanism"` // plain, scram-sha-256, scram-sha-512; empty: none
	User      string   `json:"user"`
}

// The names of the passwords.
const (
	secretClickHouse = "clickhousePassword"
	secretNATS       = "natsPassword"
	secretKafka      = "kafkaPassword"
)

// Bounds of what settings may ask for.
const (
	maxRows    = 100_000
	maxSeconds = 60
	maxRate    = 1000
	maxWait    = 60
)

// parseSettings reads what Grafana keeps of a data source.
func parseSettings(from backend.DataSourceInstanceSettings) (Settings, error) {
	var s Settings
	if len(from.JSONData) > 0 {
		if err := json.Unmarshal(from.JSONData, &s); err != nil {
			return s, fmt.Errorf("cannot read the settings of the data source: %w", err)
		}
	}
	s.Rows = bounded(s.Rows, 10_000, maxRows)
	s.Seconds = bounded(s.Seconds, 10, maxSeconds)
	s.Rate = bounded(s.Rate, 100, maxRate)
	s.Wait = bounded(s.Wait, 2, maxWait)
	if s.AllTenants && len(s.Tenants) > 0 {
		return s, errors.New("settings: name tenants, or say that all may be seen, not both")
	}
	if slices.Contains(s.Tenants, "") {
		return s, errors.New("settings: a tenant has no name")
	}
	return s, nil
}

func bounded(n, normal, most int) int {
	if n <= 0 {
		return normal
	}
	return min(n, most)
}

func (s Settings) timeout() time.Duration { return time.Duration(s.Seconds) * time.Second }

// config is the settings as the rest of estop understands them.
func (s Settings) config(secrets map[string]string) node.Config {
	c := node.Default()
	c.ClickHouse.Addr, c.ClickHouse.Password = s.ClickHouse.Addr, secrets[secretClickHouse]
	for to, value := range map[*string]string{
		&c.ClickHouse.Protocol: s.ClickHouse.Protocol, &c.ClickHouse.Database: s.ClickHouse.Database,
		&c.ClickHouse.User: s.ClickHouse.User, &c.NATS.User: s.NATS.User,
	} {
		if value != "" {
			*to = value
		}
	}
	c.NATS.URL, c.NATS.NKey, c.NATS.Creds, c.NATS.Password = s.NATS.URL, s.NATS.NKey, s.NATS.Creds, secrets[secretNATS]
	c.NATS.TLS.CA = s.NATS.CA
	c.Kafka.Brokers = s.Kafka.Brokers
	c.Kafka.TLS = node.TLS{Enabled: s.Kafka.TLS, CA: s.Kafka.CA}
	c.Kafka.SASL = node.SASL{Mechanism: s.Kafka.Mechanism, User: s.Kafka.User, Password: secrets[secretKafka]}
	c.Keys.Verifier = filepath.Join(s.Keys, "verifier.jwks")
	return c
}

// errScope is wrapped where a tenant is asked for that the settings do not have.
var errScope = errors.New("outside the tenants of this data source")

// scope returns the tenants that are meant where these are asked for, none meaning all that may be seen. all says that
// every tenant is meant.
func (s Settings) scope(asked []string) (tenants []string, all bool, err error) {
	switch {
	case s.AllTenants && len(asked) == 0:
		return nil, true, nil
	case s.AllTenants:
		return asked, false, nil
	case len(s.Tenants) == 0:
		return nil, false, fmt.Errorf("%w: its settings name none; an administrator names them, or says that all may be seen", errScope)
	case len(asked) == 0:
		return s.Tenants, false, nil
	}
	for _, t := range asked {
		if !slices.Contains(s.Tenants, t) {
			return nil, false, fmt.Errorf("%w: %q", errScope, t)
		}
	}
	return asked, false, nil
}

// serves reports whether what concerns a tenant may be seen here.
func (s Settings) serves(tenant string, scope revoke.Scope) bool {
	return s.AllTenants || scope == revoke.Global || slices.Contains(s.Tenants, tenant)
}
