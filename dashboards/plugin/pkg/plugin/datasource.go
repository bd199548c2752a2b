// Package plugin is the back end of the Grafana data source estop-datasource: it answers queries from ClickHouse,
// streams what happens, and lets people stop and release in their own name.
package plugin

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"sync"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/backend/instancemgmt"
	"github.com/grafana/grafana-plugin-sdk-go/backend/resource/httpadapter"
	"github.com/nats-io/nats.go"

	"github.com/estop-project/estop/pipeline/node"
)

// ID is the plugin's name, as plugin.json has it.
const ID = "estop-datasource"

// Datasource is one data source as somebody has set it up. It is safe for concurrent use.
type Datasource struct {
	settings Settings
	config   node.Config
	log      *slog.Logger
	backend.CallResourceHandler

	mu     sync.Mutex
	store  driver.Conn
	nats   *nats.Conn
	closed bool
}

var (
	_ backend.QueryDataHandler      = (*Datasource)(nil)
	_ backend.CheckHealthHandler    = (*Datasource)(nil)
	_ backend.CallResourceHandler   = (*Datasource)(nil)
	_ backend.StreamHandler         = (*Datasource)(nil)
	_ instancemgmt.InstanceDisposer = (*Datasource)(nil)
)

// New makes a data source of its settings. It connects to nothing yet, so that the health check can say what is wrong.
func New(_ context.Context, from backend.DataSourceInstanceSettings) (instancemgmt.Instance, error) {
	s, err := parseSettings(from)
	if err != nil {
		return nil, err
	}
	d := &Datasource{settings: s, config: s.config(from.DecryptedSecureJSONData), log: slog.New(slogHandler{backend.Logger.With("datasource", from.UID)})}
	d.CallResourceHandler = httpadapter.New(d.routes())
	return d, nil
}

// Dispose ends the connections. Grafana calls it when the settings change.
func (d *Datasource) Dispose() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	if d.store != nil {
		_ = d.store.Close() // nothing was written
	}
	if d.nats != nil {
		d.nats.Close()
	}
}

// What is missing, for people.
var (
	errDisposed     = errors.New("the settings of the data source have changed; ask again")
	errNoClickHouse = errors.New("ClickHouse: the settings have no address")
	errNoNATS       = errors.New("NATS: the settings have no URL, so nothing is live and nobody acts from Grafana")
	errNoKafka      = errors.New("Kafka: the settings have no brokers, so no detections are live and nobody acts from Grafana")
	errNoKeys       = errors.New("keys: the settings name no folder, so revocations are not live and nobody acts from Grafana")
)

// clickHouse returns the connection, which reconnects by itself.
func (d *Datasource) clickHouse() (driver.Conn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.closed:
		return nil, errDisposed
	case d.settings.ClickHouse.Addr == "":
		return nil, errNoClickHouse
	case d.store != nil:
		return d.store, nil
	}
	o := d.config.ClickHouseOptions()
	if d.settings.ClickHouse.TLS {
		o.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	var err error
	d.store, err = ch.Open(o)
	return d.store, err
}

// connection returns the connection to NATS, which comes back by itself.
func (d *Datasource) connection() (*nats.Conn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.closed:
		return nil, errDisposed
	case d.settings.NATS.URL == "":
		return nil, errNoNATS
	case d.nats != nil:
		return d.nats, nil
	}
	nc, err := d.config.ConnectNATS("grafana", d.log)
	if err != nil {
		return nil, err
	}
	d.nats = nc
	return nc, nil
}
