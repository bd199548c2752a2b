package guard_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/guard"
)

func inFile(path string) func(*guard.Options) {
	return func(o *guard.Options) { o.File = path }
}

// has waits until the file has exactly these agents of acme.
func has(path string, agents ...string) func() error {
	var want []string
	for _, a := range agents {
		want = append(want, "estop.v1.revoke.acme.agent."+a)
	}
	return func() error {
		got, _, err := guard.ReadFile(path)
		if err == nil && !slices.Equal(got, want) {
			err = fmt.Errorf("the file has %q, want %q", got, want)
		}
		return err
	}
}

// alone starts a guard that finds no server, unless one comes to the address.
func (r *rig) alone(path string, change ...func(*guard.Options)) *guard.Guard {
	r.t.Helper()
	nc, err := nats.Connect(fmt.Sprint("nats://127.0.0.1:", r.port), nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(nc.Close)
	o := guard.Options{
		Name: "g", Conn: nc, Verifier: r.signer.Verifier(), All: true, File: path, Poll: 20 * time.Millisecond,
	}
	for _, f := range change {
		f(&o)
	}
	g, err := guard.New(o)
	if err != nil {
		r.t.Fatal(err)
	}
	began := time.Now()
	if err := g.Start(context.Background()); err != nil {
		r.t.Fatalf("start without NATS: %v", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		r.t.Errorf("start without NATS took %v", took)
	}
	r.t.Cleanup(func() { g.Close() })
	return g
}

func TestARestartWithoutNATSDeniesWhatWasRevoked(t *testing.T) {
	r := newRig(t, 1)
	path := filepath.Join(t.TempDir(), "guard.state")
	g := r.guard("g", inFile(path))
	r.kill("acme", "bot")
	r.kill("acme", "free")
	ends := time.Now().Add(4 * time.Second)
	r.kill("acme", "brief", func(rev *revoke.Revocation) { rev.Until = ends })
	eventually(t, has(path, "bot", "brief", "free"))
	if _, err := r.client.Release(r.ctx(), "acme", revoke.Agent, "free", "test", 0); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Until(ends))
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, has(path, "bot", "free")) // a release is kept: an old message must not undo it
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if files, err := os.ReadDir(filepath.Dir(path)); err != nil || len(files) != 1 {
		t.Errorf("files %v, %v: want one", files, err)
	}
	r.server.Stop()

	again := r.alone(path, func(o *guard.Options) { o.MaxStale, o.FailClosedUntilSynced = 2*time.Second, true })
	wantVerdict(t, again, call("acme", "bot"), guard.Deny)
	wantVerdict(t, again, call("acme", "free"), guard.Allow)
	if s := again.Stats(); s.Active != 1 || s.FileErrors != 0 {
		t.Errorf("%+v", s)
	}
	// It is as old as what it loaded, not as its own start.
	eventually(t, func() error {
		if d := again.Check(call("acme", "free")); d.Reason != guard.ReasonStale {
			return fmt.Errorf("%v %q, want stale", d.Verdict, d.Reason)
		}
		return nil
	})
	r.startServer()
	eventually(t, becomes(again, call("acme", "free"), guard.Allow))
	wantVerdict(t, again, call("acme", "bot"), guard.Deny)
}

func TestWhatIsOnDiskIsAsOldAsWhenItWasAllThereIs(t *testing.T) {
	r := newRig(t, 1)
	path := filepath.Join(t.TempDir(), "guard.state")
	if err := guard.WriteFile(path, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	r.server.Stop()
	g := r.alone(path, func(o *guard.Options) { o.MaxStale = time.Minute })
	if d := g.Check(call("acme", "a")); d.Reason != guard.ReasonStale {
		t.Errorf("%v %q: want stale, what is on disk is an hour old", d.Verdict, d.Reason)
	}
	// A guard that has not heard anything since says no other time.
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	if _, known, err := guard.ReadFile(path); err != nil || time.Since(known) < time.Hour {
		t.Errorf("known %v, %v", known, err)
	}
	r.startServer()
	again := r.guard("g", inFile(path))
	eventually(t, func() error {
		if _, known, err := guard.ReadFile(path); err != nil || time.Since(known) > 10*time.Second {
			return fmt.Errorf("known %v, %v: nothing changes, but it is still all there is", known, err)
		}
		return nil
	})
	again.Close()
}

func TestABrokenFileClosesTheGuardUntilTheStreamIsRead(t *testing.T) {
	r := newRig(t, 0)
	path := filepath.Join(t.TempDir(), "guard.state")
	g := r.guard("g", inFile(path))
	r.kill("acme", "a")
	r.kill("acme", "b")
	eventually(t, has(path, "a", "b"))
	g.Close()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, whole[:len(whole)-100], 0o600); err != nil {
		t.Fatal(err)
	}
	r.server.Stop()
	broken := r.alone(path)
	if d := broken.Check(call("acme", "x")); d.Reason != guard.ReasonNotSynced {
		t.Errorf("%v %q: want closed", d.Verdict, d.Reason)
	}
	if s := broken.Stats(); s.FileErrors != 1 || s.Active == 0 {
		t.Errorf("%+v: want an error, and what is genuine in force", s)
	}
	r.startServer()
	eventually(t, becomes(broken, call("acme", "x"), guard.Allow))
	eventually(t, has(path, "a", "b"))
}

func TestNothingCanBePlantedInAFile(t *testing.T) {
	r := newRig(t, 0)
	r.server.Stop()
	record := func(s revoke.Signer, a revoke.Action, ago time.Duration, id string) revoke.Record {
		rev := target("acme", "bot", action(a))
		rev.ID, rev.IssuedAt, rev.Initiator = id, time.Now().Add(-ago), revoke.Admin
		rec, err := s.Record(rev)
		if err != nil {
			t.Fatal(err)
		}
		return rec
	}
	kill, release := record(r.signer, revoke.Revoke, time.Minute, "kill"), record(revokeKey(t), revoke.Release, 0, "release")
	elsewhere := record(r.signer, revoke.Release, 0, "elsewhere")
	elsewhere.Subject = "other"
	for name, planted := range map[string]revoke.Record{"a release of a stranger": release, "a release of something else": elsewhere} {
		path := filepath.Join(t.TempDir(), "guard.state")
		if err := guard.WriteFile(path, time.Now(), kill, planted); err != nil {
			t.Fatal(err)
		}
		g := r.alone(path)
		if d := g.Check(call("acme", "bot")); d.Verdict != guard.Deny {
			t.Errorf("%s: %v", name, d.Verdict)
		}
		if d := g.Check(call("acme", "x")); d.Reason != guard.ReasonNotSynced || len(g.Stats().Refused) != 1 {
			t.Errorf("%s: %v %q, %+v: want it refused and the guard closed", name, d.Verdict, d.Reason, g.Stats())
		}
	}
}

func TestWhatVanishesFromTheStreamStaysOnDisk(t *testing.T) {
	r := newRig(t, 0)
	path := filepath.Join(t.TempDir(), "guard.state")
	g := r.guard("g", inFile(path))
	r.kill("acme", "a")
	eventually(t, has(path, "a"))
	g.Close()
	if err := r.deleteStream(); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error { // the server may still be removing the files of the stream before
		_, err := revoke.NewPublisher(r.ctx(), r.nc, revoke.PublisherOptions{})
		return err
	})
	again := r.guard("g", inFile(path))
	wantVerdict(t, again, call("acme", "a"), guard.Deny)
	r.kill("acme", "b")
	eventually(t, has(path, "a", "b"))
}

func TestAFolderThatIsMissingIsCountedAndTheGuardWorks(t *testing.T) {
	r := newRig(t, 1)
	g := r.guard("g", inFile(filepath.Join(t.TempDir(), "missing", "guard.state")))
	r.kill("acme", "a")
	eventually(t, func() error {
		if g.Stats().FileErrors == 0 {
			return errors.New("no error yet")
		}
		return nil
	})
	wantVerdict(t, g, call("acme", "a"), guard.Deny)
}
