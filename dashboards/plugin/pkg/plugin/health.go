package plugin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/revoke"
)

// healthWait bounds how long each part may take to answer.
const healthWait = 5 * time.Second

// CheckHealth says what works, and of what does not, what to do about it. Without ClickHouse and tenants nothing can
// be shown, so that is an error. The rest may be left out; where it is set up and does not answer it is one too.
func (d *Datasource) CheckHealth(ctx context.Context, _ *backend.CheckHealthRequest) (*backend.CheckHealthResult, error) {
	var wrong, off []string
	note := func(err error, optional error) {
		switch {
		case err == nil:
		case errors.Is(err, optional):
			off = append(off, err.Error())
		default:
			wrong = append(wrong, err.Error())
		}
	}
	_, _, err := d.settings.scope(nil)
	note(err, errNotOptional)
	note(d.checkClickHouse(ctx), errNotOptional)
	note(d.checkNATS(), errNoNATS)
	note(d.checkKafka(ctx), errNoKafka)
	note(d.checkKeys(), errNoKeys)
	switch {
	case len(wrong) > 0:
		return &backend.CheckHealthResult{Status: backend.HealthStatusError, Message: strings.Join(append(wrong, off...), ". ")}, nil
	case len(off) > 0:
		return &backend.CheckHealthResult{Status: backend.HealthStatusOk, Message: "Queries work. Not set up: " + strings.Join(off, ". ")}, nil
	}
	return &backend.CheckHealthResult{Status: backend.HealthStatusOk, Message: "Queries, live streams, kill and release work"}, nil
}

var errNotOptional = errors.New("needed")

func (d *Datasource) checkClickHouse(ctx context.Context) error {
	store, err := d.clickHouse()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, healthWait)
	defer cancel()
	if err := store.Ping(ctx); err != nil {
		return fmt.Errorf("ClickHouse at %s does not answer: %w", d.settings.ClickHouse.Addr, err)
	}
	var tables uint64
	if err := store.QueryRow(ctx, "SELECT count() FROM system.tables WHERE database = currentDatabase() AND name IN ('calls', 'coverage', 'decisions_once', 'guards_last')").Scan(&tables); err != nil {
		return fmt.Errorf("ClickHouse at %s: %w", d.settings.ClickHouse.Addr, err)
	}
	if tables < 4 {
		return fmt.Errorf("ClickHouse at %s: the database %q lacks tables of the archive; start the archive role, which makes them, or name its database, and let the user %q read it",
			d.settings.ClickHouse.Addr, d.config.ClickHouse.Database, d.config.ClickHouse.User)
	}
	return nil
}

func (d *Datasource) checkNATS() error {
	nc, err := d.connection()
	if err != nil {
		return err
	}
	if err := nc.FlushTimeout(healthWait); err != nil {
		return fmt.Errorf("NATS does not answer: %w", err)
	}
	return nil
}

func (d *Datasource) checkKafka(ctx context.Context) error {
	cl, err := d.kafka()
	if err != nil {
		return err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(ctx, healthWait)
	defer cancel()
	if err := cl.Ping(ctx); err != nil {
		return fmt.Errorf("Kafka at %s does not answer: %w", strings.Join(d.settings.Kafka.Brokers, ", "), err)
	}
	return nil
}

// kafka returns a client, for the caller to close.
func (d *Datasource) kafka(more ...kgo.Opt) (*kgo.Client, error) {
	if len(d.settings.Kafka.Brokers) == 0 {
		return nil, errNoKafka
	}
	opts, err := d.config.KafkaOptions(d.log)
	if err != nil {
		return nil, err
	}
	return kgo.NewClient(append(opts, more...)...)
}

func (d *Datasource) checkKeys() error {
	if _, err := d.verifier(); err != nil {
		return err
	}
	operators, err := d.operators()
	if err == nil && len(operators) == 0 {
		err = fmt.Errorf("keys: no operator's key in %q that belongs to one person; 'estop keys new --role operator --name LOGIN' makes one for the Grafana user LOGIN", d.settings.Keys)
	}
	return err
}

// verifier returns the keys that guards trust.
func (d *Datasource) verifier() (revoke.Verifier, error) {
	if d.settings.Keys == "" {
		return revoke.Verifier{}, errNoKeys
	}
	v, err := revoke.LoadVerifier(d.config.VerifierPath())
	if err != nil {
		return v, fmt.Errorf("keys: copy the guards' verifier.jwks to Grafana's machine: %w", err)
	}
	return v, nil
}
