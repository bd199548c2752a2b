package node

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	natsd "github.com/estop-project/estop/pipeline/embedded/nats"
	"github.com/estop-project/estop/revoke"
)

func TestTheDetectRoleSendsHeartbeatsThatGuardsBelieve(t *testing.T) {
	const password = "0123456789abcdef"
	server, err := natsd.Start(natsd.Options{Dir: t.TempDir(), Password: password})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	c := Default()
	c.Dir, c.NATS.URL, c.NATS.Password = t.TempDir(), server.URL(), password
	c.Revoke.Heartbeat = 20 * time.Millisecond
	if err := c.MakeKeys(); err != nil {
		t.Fatal(err)
	}
	signer, err := c.Signer()
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	n := &running{Config: c, log: log, registry: prometheus.NewRegistry()}
	if n.nats, err = c.ConnectNATS("test", log); err != nil {
		t.Fatal(err)
	}
	defer n.nats.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	publisher, err := revoke.NewPublisher(ctx, n.nats, revoke.PublisherOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer publisher.Close()
	guest, err := nats.Connect(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer guest.Close()
	heard, err := guest.SubscribeSync(revoke.BeatSubject)
	if err != nil {
		t.Fatal(err)
	}
	if err := guest.Flush(); err != nil {
		t.Fatal(err)
	}
	stop, err := n.startHeartbeat(ctx, signer)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	verifier, err := revoke.LoadVerifier(c.VerifierPath())
	if err != nil {
		t.Fatal(err)
	}
	for want := range uint64(2) {
		m, err := heard.NextMsgWithContext(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := verifier.VerifyBeat(m.Data, time.Now()); err != nil || b.Number != want || b.Interval != c.Revoke.Heartbeat {
			t.Errorf("heartbeat %+v, %v: want number %d", b, err, want)
		}
	}
}

func TestHeartbeatsMayBeSwitchedOffButNotSentTooOften(t *testing.T) {
	for text, want := range map[string]bool{"0s": true, "10ms": true, "1h": true, "9ms": false, "-1s": false, "2h": false} {
		_, err := Load("", []string{"ESTOP_REVOKE_HEARTBEAT=" + text}, nil)
		if (err == nil) != want {
			t.Errorf("%s: %v", text, err)
		}
	}
	n := &running{Config: Default()}
	n.Revoke.Heartbeat = 0
	stop, err := n.startHeartbeat(context.Background(), revoke.Signer{})
	if err != nil {
		t.Fatal(err)
	}
	stop()
}
