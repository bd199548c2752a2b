// Package sdk_test runs the tests of the guards in other languages.
package sdk_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/estop-project/estop/pipeline/embedded/freeport"
	natsd "github.com/estop-project/estop/pipeline/embedded/nats"
	"github.com/estop-project/estop/revoke"
)

const password = "0123456789abcdef"

// python returns an interpreter that has what the guard in Python needs. It installs that once.
func python(t *testing.T) string {
	t.Helper()
	host, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not installed: the guard in Python is not tested")
	}
	if exec.Command(host, "-c", "import sys, venv; assert sys.version_info >= (3, 11)").Run() != nil {
		t.Skip("python3 is older than 3.11 or has no venv: the guard in Python is not tested")
	}
	wanted, err := os.ReadFile("python/requirements.txt")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := filepath.Abs("../../.cache/sdk/python")
	if err != nil {
		t.Fatal(err)
	}
	stamp, bin := filepath.Join(dir, "installed"), filepath.Join(dir, "bin", "python")
	if installed, err := os.ReadFile(stamp); err == nil && bytes.Equal(installed, wanted) {
		return bin
	}
	run(t, host, "-m", "venv", dir)
	run(t, bin, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", "python/requirements.txt")
	if err := os.WriteFile(stamp, wanted, 0o644); err != nil {
		t.Fatal(err)
	}
	return bin
}

func command(name string, args ...string) *exec.Cmd {
	c := exec.Command(name, args...)
	c.Env = append(os.Environ(), "PYTHONPATH=python", "PYTHONDONTWRITEBYTECODE=1")
	return c
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

func TestPythonPassesTheVectors(t *testing.T) {
	run(t, python(t), "python/tests/test_vectors.py")
}

func TestPythonStopsWhatIsKilled(t *testing.T) {
	bin := python(t)
	testLive(t, func(url, keys, name string) *exec.Cmd { return command(bin, "python/tests/live.py", url, keys, name) })
}

// service is a program in another language with a guard in it.
type service struct {
	t   *testing.T
	in  io.WriteCloser
	out *bufio.Scanner
}

func (s service) order(text string) {
	s.t.Helper()
	if _, err := fmt.Fprintln(s.in, text); err != nil {
		s.t.Fatal(err)
	}
}

// close ends the service in good order.
func (s service) close() { s.in.Close() }

func (s service) says(want string) {
	s.t.Helper()
	if !s.out.Scan() || s.out.Text() != want {
		s.t.Fatalf("it says %q (%v), want %q", s.out.Text(), s.out.Err(), want)
	}
}

// becomes repeats an order until the service answers as wanted.
func (s service) becomes(order, want string) {
	s.t.Helper()
	for range 200 {
		s.order(order)
		if !s.out.Scan() {
			break
		}
		if s.out.Text() == want {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	s.t.Fatalf("%q never gives %q, last %q", order, want, s.out.Text())
}

// testLive kills calls of a guard in another language over the real server.
func testLive(t *testing.T, start func(url, keys, name string) *exec.Cmd) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Second)
	defer cancel()
	port, err := freeport.Find()
	if err != nil {
		t.Fatal(err)
	}
	o := natsd.Options{Dir: t.TempDir(), Password: password, Port: port}
	server, err := natsd.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { server.Stop() }()
	nc, err := nats.Connect(server.DetectorURL(), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	signer, stranger := newKey(t), newKey(t)
	keys := filepath.Join(t.TempDir(), "keys.jwks")
	if err := revoke.SaveVerifier(keys, signer.Verifier()); err != nil {
		t.Fatal(err)
	}
	client := newClient(t, ctx, nc, signer, 1)
	defer client.Close()
	kill := func(c *revoke.Client, agent string) error {
		_, err := c.Kill(ctx, revoke.Revocation{
			Tenant: "acme", Scope: revoke.Agent, Subject: agent, Action: revoke.Revoke,
			Until: time.Now().Add(time.Hour), Reason: "test",
		})
		return err
	}
	early, err := client.Record(revoke.Revocation{
		Tenant: "acme", Scope: revoke.Agent, Subject: "early", Action: revoke.Revoke, Until: time.Now().Add(time.Hour), Reason: "test",
	})
	if err != nil {
		t.Fatal(err)
	}
	if stored, err := client.Publisher().Publish(ctx, early); err != nil {
		t.Fatal(err)
	} else if err := stored.Wait(ctx); err != nil {
		t.Fatal(err)
	}

	s := serve(t, start(server.URL(), keys, "other-language"))
	s.says("ready")
	s.order("check early") // it was in the stream before
	s.says("checked early deny")
	s.order("begin bot")
	s.says("began bot allow")
	if err := kill(client, "bot"); err != nil { // returns once the guard has acknowledged
		t.Fatal(err)
	}
	s.says("cut bot test")
	s.order("begin bot")
	s.says("cut bot test")

	impostor := newClient(t, ctx, nc, stranger, 0)
	defer impostor.Close()
	if err := kill(impostor, "victim"); err != nil {
		t.Fatal(err)
	}
	s.order("begin second")
	s.says("began second allow")
	s.order("check victim")
	s.says("checked victim allow")

	server.Stop()
	s.becomes("check third", "checked third deny") // stale: it fails closed
	if server, err = natsd.Start(o); err != nil {
		t.Fatal(err)
	}
	s.becomes("check third", "checked third allow")
	if err := kill(client, "second"); err != nil {
		t.Fatal(err)
	}
	s.says("cut second test")
	s.order("check bot")
	s.says("checked bot deny")
}

func serve(t *testing.T, c *exec.Cmd) service {
	t.Helper()
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	c.Stderr = &log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	stuck := time.AfterFunc(3*time.Minute, func() { c.Process.Kill() })
	t.Cleanup(func() {
		in.Close()
		err := c.Wait()
		stuck.Stop()
		if err != nil || t.Failed() {
			t.Errorf("the service ends: %v\n%s", err, log.String())
		}
	})
	return service{t, in, bufio.NewScanner(out)}
}

func newKey(t *testing.T) revoke.Signer {
	t.Helper()
	s, err := revoke.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newClient(t *testing.T, ctx context.Context, nc *nats.Conn, s revoke.Signer, expect int) *revoke.Client {
	t.Helper()
	c, err := revoke.NewClient(ctx, nc, revoke.ClientOptions{Signer: s, By: "test", Expect: expect})
	if err != nil {
		t.Fatal(err)
	}
	return c
}
