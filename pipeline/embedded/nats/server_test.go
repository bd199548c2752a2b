package natsd_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	natsd "github.com/estop-project/estop/pipeline/embedded/nats"
	"github.com/estop-project/estop/revoke"
)

const (
	password = "0123456789abcdef"
	childEnv = "NATSD_TEST_DIR"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		serve(dir)
	}
	goleak.VerifyTestMain(m)
}

// serve is the child process of the kill test.
func serve(dir string) {
	s, err := natsd.Start(natsd.Options{Dir: dir, Password: password})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(s.DetectorURL())
	select {}
}

func start(t *testing.T) *natsd.Server {
	t.Helper()
	s, err := natsd.Start(natsd.Options{Dir: t.TempDir(), Password: password})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

func connect(t *testing.T, url string, o ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url, o...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func client(t *testing.T, url string, s revoke.Signer) *revoke.Client {
	t.Helper()
	c, err := revoke.NewClient(within(t, 10*time.Second), connect(t, url), revoke.ClientOptions{Signer: s})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func kill(t *testing.T, c *revoke.Client, agent string) {
	t.Helper()
	_, err := c.Kill(within(t, 10*time.Second), revoke.Revocation{
		Tenant: "acme", Scope: revoke.Agent, Subject: agent, Action: revoke.Revoke,
		Until: time.Now().Add(time.Hour), Reason: "test",
	})
	if err != nil {
		t.Fatal(err)
	}
}

func active(t *testing.T, c *revoke.Client) []string {
	t.Helper()
	all, err := c.Active(within(t, 10*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range all {
		names = append(names, r.Subject)
	}
	return names
}

func signer(t *testing.T) revoke.Signer {
	t.Helper()
	s, err := revoke.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAGuestCannotPublishARevocation(t *testing.T) {
	s := start(t)
	c := client(t, s.DetectorURL(), signer(t))
	kill(t, c, "bot")

	detector, listener := connect(t, s.DetectorURL()), connect(t, s.URL())
	heard, err := listener.SubscribeSync("estop.v1.revoke.>")
	if err != nil {
		t.Fatal(err)
	}
	heardToo, err := detector.SubscribeSync("estop.v1.revoke.>")
	if err != nil {
		t.Fatal(err)
	}
	flush(t, listener, detector)

	refused := make(chan error, 8)
	guest := connect(t, s.URL(), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err }))
	for _, subject := range []string{
		"estop.v1.revoke.x", "estop.v1.revoke.acme.agent.bot", "estop.v1.beat", "estop.v1.risk.acme.bot.evidence",
		"$JS.API.STREAM.PURGE.ESTOP_RISK", "$JS.API.STREAM.PURGE.ESTOP_REVOKE", "$JS.API.STREAM.DELETE.ESTOP_REVOKE",
		"$JS.API.STREAM.MSG.DELETE.ESTOP_REVOKE", "$JS.API.CONSUMER.CREATE.ESTOP_REVOKE", "_INBOX.x",
	} {
		if err := guest.Publish(subject, []byte("forged")); err != nil {
			t.Fatal(err)
		}
		flush(t, guest)
		select {
		case err := <-refused:
			if !errors.Is(err, nats.ErrPermissionViolation) {
				t.Errorf("%s: %v", subject, err)
			}
		case <-time.After(5 * time.Second):
			t.Errorf("%s: not refused", subject)
		}
	}
	nothing(t, heard, heardToo, listener, detector)
	if got := active(t, c); len(got) != 1 {
		t.Errorf("active = %v, want bot", got)
	}
}

// With guests and detector in one account this fails: a request whose reply subject is that
// of a revocation makes the server itself publish there, past every permission. Its empty
// answer replaces the stored revocation, and whoever joins late lets the agent through.
func TestAGuestCannotHaveTheServerPublish(t *testing.T) {
	s := start(t)
	c := client(t, s.DetectorURL(), signer(t))
	kill(t, c, "bot")
	detector := connect(t, s.DetectorURL())
	heard, err := detector.SubscribeSync("estop.v1.revoke.>")
	if err != nil {
		t.Fatal(err)
	}
	flush(t, detector)
	guest := connect(t, s.URL())
	for _, request := range []string{`{"seq":999}`, `{"seq":1}`, `{"seq":1,"batch":5,"next_by_subj":">"}`, `broken`} {
		if err := guest.PublishRequest("$JS.API.DIRECT.GET.ESTOP_REVOKE", "estop.v1.revoke.acme.agent.bot", []byte(request)); err != nil {
			t.Fatal(err)
		}
	}
	flush(t, guest)
	// A reading on the same connection comes after them: when it is answered, they were.
	n := 0
	if _, err := revoke.ReadStream(within(t, 10*time.Second), guest, "estop.v1.revoke.>", 1, func(revoke.StreamMessage) error {
		n++
		return nil
	}); err != nil || n != 1 {
		t.Errorf("the guest reads %d messages, %v; want 1", n, err)
	}
	nothing(t, heard, detector)
	if got := active(t, c); len(got) != 1 || got[0] != "bot" {
		t.Errorf("active = %v, want bot", got)
	}
}

func nothing(t *testing.T, what ...any) {
	t.Helper()
	for _, w := range what {
		if nc, ok := w.(*nats.Conn); ok {
			flush(t, nc)
		}
	}
	for _, w := range what {
		if sub, ok := w.(*nats.Subscription); ok {
			if n, _, err := sub.Pending(); err != nil || n != 0 {
				t.Errorf("%d forged messages came through, %v", n, err)
			}
		}
	}
}

func flush(t *testing.T, conns ...*nats.Conn) {
	t.Helper()
	for _, nc := range conns {
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestGuestsHearRevocationsAndTheDetectorHearsAcks(t *testing.T) {
	s := start(t)
	c := client(t, s.DetectorURL(), signer(t))
	guest, detector := connect(t, s.URL()), connect(t, s.DetectorURL())
	heard, err := guest.SubscribeSync("estop.v1.revoke.>")
	if err != nil {
		t.Fatal(err)
	}
	acks, err := detector.SubscribeSync("estop.v1.ack.>")
	if err != nil {
		t.Fatal(err)
	}
	flush(t, guest, detector)
	kill(t, c, "bot")
	if m, err := heard.NextMsg(5 * time.Second); err != nil || m.Subject != "estop.v1.revoke.acme.agent.bot" {
		t.Errorf("the guest hears %v, %v", m, err)
	}
	if err := guest.Publish("estop.v1.ack.g1", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	if m, err := acks.NextMsg(5 * time.Second); err != nil || m.Subject != "estop.v1.ack.g1" {
		t.Errorf("the detector hears %v, %v", m, err)
	}
}

func TestTheDetectorNeedsItsPassword(t *testing.T) {
	s := start(t)
	if nc, err := nats.Connect(s.URL(), nats.UserInfo(natsd.DetectorUser, "wrong-wrong-wrong")); !errors.Is(err, nats.ErrAuthorization) {
		nc.Close()
		t.Errorf("%v, want ErrAuthorization", err)
	}
	for _, p := range []string{"", "short"} {
		if _, err := natsd.Start(natsd.Options{Dir: t.TempDir(), Password: p}); err == nil {
			t.Errorf("password %q is accepted", p)
		}
	}
	odd := "quote\" backslash\\ $dollar } #x"
	s2, err := natsd.Start(natsd.Options{Dir: t.TempDir(), Password: odd})
	if err != nil {
		t.Fatal(err)
	}
	defer s2.Stop()
	connect(t, s2.DetectorURL())
}

func TestTheStreamKeepsTheLastMessageAndForgetsWhatEnded(t *testing.T) {
	s := start(t)
	nc := connect(t, s.DetectorURL())
	c := client(t, s.DetectorURL(), signer(t))
	kill(t, c, "a")
	kill(t, c, "b")
	kill(t, c, "a")
	_, err := c.Kill(within(t, 10*time.Second), revoke.Revocation{
		Tenant: "acme", Scope: revoke.Agent, Subject: "brief", Action: revoke.Revoke,
		Until: time.Now().Add(time.Second), Reason: "test",
	})
	if err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(time.Minute)
	for {
		stream, err := js.Stream(within(t, 10*time.Second), revoke.Stream)
		if err != nil {
			t.Fatal(err)
		}
		if n := stream.CachedInfo().State.Msgs; n == 2 {
			return
		} else if n < 2 || time.Now().After(deadline) {
			t.Fatalf("the stream has %d messages, want a and b", n)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestRevocationsOutliveKill9(t *testing.T) {
	dir, key := t.TempDir(), signer(t)
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childEnv+"="+dir)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	c := client(t, strings.TrimSpace(line), key)
	const n = 100
	for i := range n {
		kill(t, c, fmt.Sprint("bot", i))
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // it says that it was killed

	s, err := natsd.Start(natsd.Options{Dir: dir, Password: password})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	if got := active(t, client(t, s.DetectorURL(), key)); len(got) != n {
		t.Errorf("%d of %d revocations are left after kill -9", len(got), n)
	}
}

// BenchmarkKill measures a kill from its signing to its place on the disk.
func BenchmarkKill(b *testing.B) {
	s, err := natsd.Start(natsd.Options{Dir: b.TempDir(), Password: password})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Stop()
	nc, err := nats.Connect(s.DetectorURL())
	if err != nil {
		b.Fatal(err)
	}
	defer nc.Close()
	key, err := revoke.GenerateKey()
	if err != nil {
		b.Fatal(err)
	}
	ctx := context.Background()
	c, err := revoke.NewClient(ctx, nc, revoke.ClientOptions{Signer: key})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	for b.Loop() {
		_, err := c.Kill(ctx, revoke.Revocation{
			Tenant: "acme", Scope: revoke.Agent, Subject: "bot", Action: revoke.Revoke,
			Until: time.Now().Add(time.Hour), Reason: "test",
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}
