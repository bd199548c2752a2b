package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/pipeline/archive"
	"github.com/estop-project/estop/pipeline/audit"
)

// Audit tunes the audit role.
type Audit struct {
	Dir       string        `config:"dir"`       // of the log; empty: audit, in dir
	MaxLeaves int           `config:"maxleaves"` // in a chunk
	MaxWait   time.Duration `config:"maxwait"`   // until a record is in the log
}

// AuditDir returns the folder of the audit log.
func (c Config) AuditDir() string { return c.path(c.Audit.Dir, "audit") }

// AuditKeyPath returns the file of the audit log's private key.
func (c Config) AuditKeyPath() string { return c.path(c.Keys.Audit, "keys", "audit.key") }

// MakeAuditKey makes the key of the audit log unless it is there. Its name is the log's
// origin; empty: one that no other log has.
func (c Config) MakeAuditKey(name string) (public string, err error) {
	b, err := os.ReadFile(audit.PublicPath(c.AuditKeyPath()))
	if err == nil {
		return strings.TrimSpace(string(b)), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("cannot read the public key of the audit log: %w", err)
	}
	if name == "" {
		var id [8]byte
		rand.Read(id[:]) // never fails
		name = fmt.Sprintf("estop-audit/%x", id)
	}
	return audit.SaveKey(c.AuditKeyPath(), audit.LogRole, name)
}

// audit runs the role. In a process of other roles it ends without them: what is watched is
// stopped whether it is written down or not.
func (n *running) audit(ctx context.Context) error {
	log := n.log.With("role", "audit")
	err := audit.Run(ctx, audit.Options{
		WriterOptions: audit.WriterOptions{Dir: n.AuditDir(), Key: n.AuditKeyPath(), MaxLeaves: n.Audit.MaxLeaves, MaxWait: n.Audit.MaxWait},
		Kafka:         n.kafka, Log: log, Registerer: n.registry,
	})
	if err != nil && !n.alone {
		log.Error("the audit role has ended; the others go on, and their records wait in Kafka", "err", err)
		<-ctx.Done()
		return nil
	}
	return err
}

// AuditSources are the copies that the audit log is compared with. Close ends them.
type AuditSources struct {
	Kafka      *audit.Kafka
	ClickHouse *audit.ClickHouse // nil: it was not asked for
	Close      func() error
}

// AuditSources opens Kafka and, if it is asked for, ClickHouse.
func (c Config) AuditSources(ctx context.Context, clickHouse bool) (AuditSources, error) {
	s := AuditSources{Close: func() error { return nil }}
	opts, err := c.KafkaOptions(c.Logger())
	if err != nil {
		return s, err
	}
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return s, fmt.Errorf("cannot make a Kafka client: %w", err)
	}
	defer cl.Close()
	if err := reach(ctx, cl); err != nil {
		return s, err
	}
	if s.Kafka, err = audit.OpenKafka(ctx, opts, archive.DefaultGroup); err != nil || !clickHouse {
		return s, err
	}
	ch := c.ClickHouseOptions()
	ch.ReadTimeout = longestRead
	conn, err := c.openClickHouse(ctx, ch)
	if err != nil {
		return s, err
	}
	s.ClickHouse, s.Close = audit.NewClickHouse(conn, s.Kafka), conn.Close
	return s, nil
}
