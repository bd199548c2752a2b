package node

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/pipeline/archive"
	"github.com/estop-project/estop/pipeline/changes"
	"github.com/estop-project/estop/pipeline/graph"
	"github.com/estop-project/estop/pipeline/notify"
	"github.com/estop-project/estop/pipeline/shard"
	"github.com/estop-project/estop/revoke"
)

// Role is one job of the process.
type Role string

// The roles.
const (
	RoleDetect  Role = "detect"  // judges calls and revokes
	RoleArchive Role = "archive" // keeps calls and decisions in ClickHouse
	RoleAcks    Role = "acks"    // keeps the acknowledgements of guards, knows them, and raises what they do not confirm
	RoleNotify  Role = "notify"  // tells others: webhooks, chats, SIEMs, receivers of security events
	RoleAudit   Role = "audit"   // keeps the provable trail of all that happened
)

// Roles are all roles.
func Roles() []Role { return append(UsualRoles(), RoleAudit) }

// UsualRoles are those that run where nothing else is said. Of audit there is one: a log has
// one writer.
func UsualRoles() []Role { return []Role{RoleDetect, RoleArchive, RoleAcks, RoleNotify} }

// ParseRoles reads a list of roles.
func ParseRoles(names []string) ([]Role, error) {
	var roles []Role
	for _, n := range names {
		r := Role(strings.TrimSpace(n))
		if !slices.Contains(Roles(), r) {
			return nil, fmt.Errorf("unknown role %q%s; the roles are %s", n, DidYouMean(n, roleNames()), strings.Join(roleNames(), ", "))
		}
		if !slices.Contains(roles, r) {
			roles = append(roles, r)
		}
	}
	if len(roles) == 0 {
		return nil, fmt.Errorf("no role; the roles are %s", strings.Join(roleNames(), ", "))
	}
	return roles, nil
}

func roleNames() []string {
	var names []string
	for _, r := range Roles() {
		names = append(names, string(r))
	}
	return names
}

// Logger returns the logger that the configuration asks for.
func (c Config) Logger() *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.Log.Level)) // Load has checked it
	opts := &slog.HandlerOptions{Level: level}
	if c.Log.Format == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, opts))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, opts))
}

// Run runs the roles against the addresses of the configuration until ctx ends. It returns
// nil when it ended because it was asked to and all was saved. Once the addresses are bound
// and Kafka and NATS answer it calls ready, if that is not nil, with the address of the
// metrics, empty if there is none.
func Run(ctx context.Context, c Config, roles []Role, log *slog.Logger, ready func(http string) error) error {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	n := &running{Config: c, log: log, registry: registry, detectors: detectors{files: c.DetectorFiles()}, alone: len(roles) == 1}
	defer n.close()
	if err := n.listen(); err != nil {
		return err
	}
	if err := n.connect(ctx); err != nil {
		return err
	}
	if slices.Contains(roles, RoleNotify) {
		if err := n.makeNotifier(ctx); err != nil {
			return err
		}
	}
	if slices.Contains(roles, RoleAudit) {
		if _, err := n.MakeAuditKey(""); err != nil {
			return err
		}
	}
	if ready != nil {
		if err := ready(n.httpAddr()); err != nil {
			return err
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, r := range roles {
		start := map[Role]func(context.Context) error{
			RoleDetect: n.detect, RoleArchive: n.archive, RoleAcks: n.acks, RoleNotify: n.notify,
			RoleAudit: n.audit,
		}[r]
		group.Go(func() error {
			if err := start(ctx); err != nil {
				return fmt.Errorf("role %s: %w", r, err)
			}
			return nil
		})
	}
	if n.listener != nil {
		group.Go(func() error { return n.serveHTTP(ctx) })
	}
	return group.Wait()
}

// running is a process with its connections.
type running struct {
	Config
	log       *slog.Logger
	registry  *prometheus.Registry
	detectors detectors
	kafka     []kgo.Opt
	producer  *kgo.Client
	nats      *nats.Conn
	notifier  *notify.Notifier // the first one; nil: there is nobody to tell
	sinks     liveSinks
	alone     bool         // it runs one role
	listener  net.Listener // of metrics and health; nil: not served
}

func (n *running) httpAddr() string {
	if n.listener == nil {
		return ""
	}
	return n.listener.Addr().String()
}

// connect opens what all roles share and makes the topics.
func (n *running) connect(ctx context.Context) error {
	var err error
	if n.kafka, err = n.KafkaOptions(n.log); err != nil {
		return err
	}
	if n.producer, err = kgo.NewClient(append(pipeline.ProducerOptions(), n.kafka...)...); err != nil {
		return fmt.Errorf("cannot make a Kafka client: %w", err)
	}
	if err := pipeline.EnsureTopics(ctx, n.producer, n.Kafka.Partitions, n.Kafka.Replicas); err != nil {
		return err
	}
	n.nats, err = n.ConnectNATS("node", n.log)
	return err
}

func (n *running) close() {
	if n.listener != nil {
		n.listener.Close()
	}
	if n.producer != nil {
		n.producer.Close()
	}
	if n.nats != nil {
		n.nats.Close()
	}
}

func (n *running) detect(ctx context.Context) error {
	signer, err := n.Signer()
	if err != nil {
		return err
	}
	census := pipeline.NewCensus()
	interlock, err := n.interlock(ctx, census)
	if err != nil {
		return err
	}
	verifier, err := n.guardsVerifier(signer)
	if err != nil {
		return err
	}
	publisher, err := revoke.NewPublisher(ctx, n.nats, revoke.PublisherOptions{Replicas: n.NATS.Replicas, Verifier: verifier, Interlock: interlock})
	if err != nil {
		return err
	}
	defer publisher.Close()
	risks, err := revoke.NewRiskPublisher(ctx, n.nats, revoke.RiskPublisherOptions{Signer: signer, Replicas: n.NATS.Replicas})
	if err != nil {
		return err
	}
	defer risks.Close()
	n.detectors.changes = changes.New(changes.Options{
		Kafka: n.kafka, Folders: changes.Folders{Dir: n.Detectors.Dir, BuiltIn: n.Detectors.Catalog, Version: Version()},
		Log: n.log, Registerer: n.registry,
	})
	stopHeartbeat, err := n.startHeartbeat(ctx, signer)
	if err != nil {
		return err
	}
	defer stopHeartbeat()
	stopDrills, err := n.startDrills(ctx, signer)
	if err != nil {
		return err
	}
	defer stopDrills()
	plan, err := n.loadDetectors()
	if err != nil {
		return err
	}
	memory, err := n.Detect.memory()
	if err != nil {
		return err
	}
	d, err := pipeline.NewDetect(pipeline.Options{
		Kafka: n.kafka, Plan: plan, Signer: &signer, Publisher: publisher, Risks: risks, Interlock: interlock, Census: census,
		Shard: shard.Options{
			MaxAhead: n.Detect.MaxAhead, SampleEvery: n.Detect.Samples, MaxEntities: n.Detect.MaxAgents,
		},
		Graph:           n.Detect.Graph.options(),
		StateDir:        filepath.Join(n.Dir, "state"),
		Memory:          memory,
		CheckpointEvery: n.Detect.Checkpoint,
		Log:             n.log, Registerer: n.registry,
	})
	if err != nil {
		return err
	}
	d.Refuse(len(n.detectors.live.status.Refused))
	n.log.Info("detect role starts", "detectors", len(plan.Detectors))
	ctx, stop := context.WithCancel(ctx)
	defer n.recordChanges(ctx)()
	defer stop()
	go n.watchKeys(ctx, signer, verifier, func(v revoke.Verifier) error { return publisher.SetVerifier(ctx, v) })
	if n.Detectors.Dir != "" {
		go n.watchDetectors(ctx, d)
	}
	return d.Run(ctx)
}

// options returns what the graph is bounded by, or nil where it is off.
func (g Graph) options() *graph.Options {
	if !g.Enabled {
		return nil
	}
	return &graph.Options{Interval: g.Interval, HalfLife: g.HalfLife, MaxNodes: g.MaxNodes, MaxEdges: g.MaxEdges, MaxOut: g.MaxOut}
}

func (n *running) archive(ctx context.Context) error {
	a, err := archive.New(archive.Options{
		Kafka: n.kafka, ClickHouse: *n.ClickHouseOptions(),
		MaxRows: n.Archive.MaxRows, MaxWait: n.Archive.MaxWait,
		Logger: n.log.With("role", "archive"), Registerer: n.registry,
	})
	if err != nil {
		return err
	}
	return a.Run(ctx)
}
