package deploy_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	chuser "github.com/estop-project/estop/deploy/clickhouse"
	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/pipeline/audit"
	"github.com/estop-project/estop/pipeline/node"
	"github.com/estop-project/estop/pipeline/rig"
	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/guard"
)

const kafkaPassword = "k0123456789abcdef"

// startKafka starts a Kafka where everybody logs in and has the rights of kafka/acls.sh.
func startKafka(t *testing.T) []string {
	t.Helper()
	rights := map[string][]kfake.ACL{}
	for _, r := range kafkaRules(t) {
		rights[r.user] = append(rights[r.user], r.acl)
	}
	options := []kfake.Opt{kfake.NumBrokers(1), kfake.EnableSASL(), kfake.EnableACLs(), kfake.Superuser("PLAIN", "admin", kafkaPassword)}
	for user, acls := range rights {
		options = append(options, kfake.User("PLAIN", user, kafkaPassword, acls...))
	}
	c, err := kfake.NewCluster(options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c.ListenAddrs()
}

const loop = `id: loop
title: More calls than an agent of this test ever makes
mode: enforce
group_by: agent
when: count(calls, 10s) > 3
response: {action: revoke, scope: agent, for: 15m}
`

// roleConfig is estop.yaml with the environment that a deployment gives to a role.
func roleConfig(t *testing.T, environ ...string) node.Config {
	t.Helper()
	c, err := node.Load(inDeploy("estop.yaml"), environ, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// startRole runs one role and returns the address of its metrics once it is connected.
func startRole(t *testing.T, c node.Config, role node.Role) string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan string, 1), make(chan error, 1)
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	go func() {
		done <- node.Run(ctx, c, []node.Role{role}, log, func(addr string) error { ready <- addr; return nil })
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("role %s: %v", role, err)
		}
	})
	select {
	case addr := <-ready:
		return addr
	case err := <-done:
		done <- nil
		t.Fatalf("role %s: %v", role, err)
	case <-time.After(time.Minute):
		t.Fatalf("role %s is not ready", role)
	}
	return ""
}

func TestTheRolesRunWithTheRightsThatTheseFilesGive(t *testing.T) {
	natsServer := startNATS(t)
	brokers := startKafka(t)
	_, chOptions := chuser.Start(t, t.TempDir(), "estop")
	dir, detectors := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(detectors, "loop.yaml"), []byte(loop), 0o600); err != nil {
		t.Fatal(err)
	}
	environ := []string{
		"ESTOP_DIR=" + dir, "ESTOP_HTTP_ADDR=127.0.0.1:0", "ESTOP_DETECTORS_CATALOG=false", "ESTOP_DETECTORS_DIR=" + detectors,
		"ESTOP_KAFKA_BROKERS=" + strings.Join(brokers, ","), "ESTOP_KAFKA_SASL_MECHANISM=plain", "ESTOP_KAFKA_SASL_PASSWORD=" + kafkaPassword,
		"ESTOP_KAFKA_PARTITIONS=2", "ESTOP_AUDIT_MAXWAIT=100ms", "ESTOP_NATS_URL=" + natsServer.ClientURL(), "ESTOP_NATS_PASSWORD=" + detectorPassword,
		"ESTOP_CLICKHOUSE_ADDR=" + chOptions.Addr[0],
	}
	told := make(chan string, 16)
	environ = append(environ, "ESTOP_NOTIFY_FILE="+startReceiver(t, dir, told))
	for _, role := range node.Roles() {
		c := roleConfig(t, append(environ, "ESTOP_KAFKA_SASL_USER=estop-"+string(role))...)
		if err := c.MakeKeys(); err != nil {
			t.Fatal(err)
		}
		checkHealth(t, startRole(t, c, role))
	}
	g := startGuard(t, natsServer.ClientURL(), roleConfig(t, "ESTOP_DIR="+dir))

	ingest, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.SASL(plain.Auth{User: "estop-ingest", Pass: kafkaPassword}.AsMechanism()))
	if err != nil {
		t.Fatal(err)
	}
	defer ingest.Close()
	for i := range 4 {
		record := rig.Record(rig.Call(fmt.Sprint("call-", i), "bad", "doc-1", time.Now()))
		if err := ingest.ProduceSync(t.Context(), record).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	broken := &kgo.Record{Topic: pipeline.TopicCalls, Key: []byte("t1/bad"), Value: []byte("{broken")}
	if err := ingest.ProduceSync(t.Context(), broken).FirstErr(); err != nil {
		t.Fatal(err)
	}
	rig.Await(t, time.Minute, func() error {
		if v := g.Check(&guard.Call{Tenant: "t1", Agent: "bad"}).Verdict; v != guard.Deny {
			return fmt.Errorf("bad gets %v", v)
		}
		return nil
	})
	// The detection and the stop, in any order; each may be told more than once.
	for heard := map[string]bool{}; len(heard) < 2; {
		select {
		case id := <-told:
			heard[id] = true
		case <-time.After(time.Minute):
			t.Fatal("the receiver is not told")
		}
	}
	awaitAudited(t, brokers)
	forged := &kgo.Record{Topic: pipeline.TopicRevocations, Value: []byte("{}")}
	if err := ingest.ProduceSync(t.Context(), forged).FirstErr(); !errors.Is(err, kerr.TopicAuthorizationFailed) {
		t.Errorf("who sends calls writes a revocation: %v", err)
	}

	store, err := clickhouse.Open(&chOptions)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	// A guard may acknowledge more than once, and so may others repeat themselves: what is distinct counts.
	for what, want := range map[string]uint64{
		"count() FROM calls": 4, "count() FROM detections_once": 1, "count() FROM revocations_once": 1, "count() FROM acks_once": 1,
		"uniqExact(revocation, guard) FROM acks WHERE first_denied_at IS NOT NULL": 1, "count() FROM dlq_once": 1,
	} {
		awaitNumber(t, store, "SELECT "+what, want)
	}
}

// awaitAudited waits until the audit role has said how far its log is: it can read, and commit.
func awaitAudited(t *testing.T, brokers []string) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.SASL(plain.Auth{User: "admin", Pass: kafkaPassword}.AsMechanism()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	rig.Await(t, time.Minute, func() error {
		offsets, err := kadm.NewClient(cl).FetchOffsets(t.Context(), audit.Group)
		if err != nil {
			return err
		}
		for _, topic := range []string{pipeline.TopicCalls, pipeline.TopicDetections, pipeline.TopicRevocations, pipeline.TopicAcks} {
			n := int64(0)
			offsets.Each(func(o kadm.OffsetResponse) {
				if o.Topic == topic {
					n += o.At
				}
			})
			if n == 0 {
				return fmt.Errorf("nothing of %s is in the audit log", topic)
			}
		}
		return nil
	})
}

// startReceiver starts a receiver of webhooks and returns a file of sinks that names it.
func startReceiver(t *testing.T, dir string, told chan<- string) string {
	t.Helper()
	to := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { told <- r.Header.Get("Webhook-Id") }))
	t.Cleanup(to.Close)
	file := filepath.Join(dir, "sinks.yaml")
	if err := os.WriteFile(file, []byte("sinks:\n  - {name: hook, type: webhook, url: \""+to.URL+"\"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func awaitNumber(t *testing.T, store driver.Conn, query string, want uint64) {
	t.Helper()
	rig.Await(t, time.Minute, func() error {
		var n uint64
		if err := store.QueryRow(t.Context(), query).Scan(&n); err != nil {
			return err
		}
		if n != want {
			return fmt.Errorf("%s gives %d, want %d", query, n, want)
		}
		return nil
	})
}

// startGuard starts a guard that logs in as guest and knows the public keys alone.
func startGuard(t *testing.T, url string, c node.Config) *guard.Guard {
	t.Helper()
	verifier, err := revoke.LoadVerifier(c.VerifierPath())
	if err != nil {
		t.Fatal(err)
	}
	nc := connectNATSAt(t, url, "guest", guestPassword)
	g, err := guard.New(guard.Options{Name: "gate", Conn: nc, Verifier: verifier, All: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	return g
}

// checkHealth runs the health check of compose.yaml against a role.
func checkHealth(t *testing.T, addr string) {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	test := readCompose(t).Services["detect"].Healthcheck.Test
	if test[0] != "CMD" {
		t.Fatalf("the health check is %q", test)
	}
	run := func(port string) error {
		var command []string
		for _, word := range test[1:] {
			command = append(command, strings.ReplaceAll(word, "/9464", "/"+port))
		}
		return exec.Command(command[0], command[1:]...).Run()
	}
	rig.Await(t, time.Minute, func() error { return run(port) })
	if run("1") == nil {
		t.Error("the health check is content with a port where nobody listens")
	}
}
