package guard_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/guard"
)

// records are revocations of n agents, signed.
func records(t testing.TB, signer revoke.Signer, n int) []revoke.Record {
	t.Helper()
	all := make([]revoke.Record, n)
	for i := range all {
		all[i] = record(t, signer, fmt.Sprint("agent-", i))
	}
	return all
}

func record(t testing.TB, signer revoke.Signer, agent string) revoke.Record {
	t.Helper()
	rev := target("acme", agent)
	rev.ID, rev.IssuedAt, rev.Initiator = agent, time.Now(), revoke.Admin
	rec, err := signer.Record(rev)
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

func TestALateJoinerVerifiesEverythingInTheEnd(t *testing.T) {
	r := newRig(t, 0)
	const n = 300
	for _, rec := range records(t, r.signer, n) {
		if _, err := r.client.Send(r.ctx(), rec); err != nil {
			t.Fatal(err)
		}
	}
	forged := record(t, revokeKey(t), "forged")
	if err := r.nc.Publish(revoke.Subject(forged.Revocation), []byte(forged.SET)); err != nil {
		t.Fatal(err)
	}
	if err := r.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	acked := map[string]bool{}
	acks, err := revoke.CollectAcks(r.nc, func(a revoke.Ack) {
		mu.Lock()
		defer mu.Unlock()
		acked[a.Revocation] = true
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer acks.Close()
	r.beats("detect-1", 100*time.Millisecond)
	g := r.guard("late", func(o *guard.Options) {
		o.FailClosedUntilSynced, o.MaxStale, o.Beats = true, time.Hour, guard.BeatsRequired
	})
	wantVerdict(t, g, call("acme", fmt.Sprint("agent-", n-1)), guard.Deny)
	wantVerdict(t, g, call("acme", "forged"), guard.Allow)
	eventually(t, func() error {
		mu.Lock()
		defer mu.Unlock()
		if s := g.Stats(); s.Unverified != 0 || s.Active != n || s.Refused["unknown_key"] == 0 || len(acked) != n {
			return fmt.Errorf("%+v, %d acknowledged", s, len(acked))
		}
		return nil
	})
	eventually(t, func() error {
		if s := g.Stats(); s.Age > time.Minute || s.Beats == 0 {
			return fmt.Errorf("no heartbeat agrees: %+v", s)
		}
		return nil
	})
}

func TestAForgedLineFarDownInAFileStopsNobodyAndIsLeftOut(t *testing.T) {
	r := newRig(t, 1)
	path := filepath.Join(t.TempDir(), "guard.state")
	const n = 200
	all := records(t, r.signer, n)
	forged := record(t, revokeKey(t), "forged")
	if err := guard.WriteFile(path, time.Now(), append(all, forged)...); err != nil {
		t.Fatal(err)
	}
	r.server.Stop()
	g := r.alone(path, func(o *guard.Options) { o.MaxStale = time.Hour })
	wantVerdict(t, g, call("acme", fmt.Sprint("agent-", n-1)), guard.Deny)
	if d := g.Check(call("acme", "forged")); d.Revocation != nil {
		t.Errorf("the forgery stops: %+v", d)
	}
	eventually(t, func() error {
		s := g.Stats()
		if d := g.Check(call("acme", "innocent")); s.Unverified != 0 || s.FileErrors != 1 || d.Reason != guard.ReasonNotSynced {
			return fmt.Errorf("%+v, %v", s, d)
		}
		return nil
	})
	r.startServer()
	eventually(t, becomes(g, call("acme", "innocent"), guard.Allow))
	wantVerdict(t, g, call("acme", "forged"), guard.Allow)
	wantVerdict(t, g, call("acme", "agent-0"), guard.Deny)
	r.kill("acme", "another")
	eventually(t, func() error {
		got, _, err := guard.ReadFile(path)
		if err == nil && (len(got) != n+1 || slices.Contains(got, revoke.Subject(forged.Revocation))) {
			err = fmt.Errorf("%d messages in the file, or the forged one", len(got))
		}
		return err
	})
}

// What is on disk and in the stream is verified once, and nothing is lost between them.
func TestARestartWithFileAndStreamHasBoth(t *testing.T) {
	r := newRig(t, 0)
	path := filepath.Join(t.TempDir(), "guard.state")
	const n = 200
	all := records(t, r.signer, n)
	for _, rec := range all[:n/2+50] {
		if _, err := r.client.Send(r.ctx(), rec); err != nil {
			t.Fatal(err)
		}
	}
	if err := guard.WriteFile(path, time.Now(), all[n/2-50:]...); err != nil {
		t.Fatal(err)
	}
	g := r.guard("g", inFile(path))
	for _, i := range []int{0, n / 2, n - 1} {
		wantVerdict(t, g, call("acme", fmt.Sprint("agent-", i)), guard.Deny)
	}
	eventually(t, func() error {
		if s := g.Stats(); s.Unverified != 0 || s.Active != n || s.FileErrors != 0 {
			return fmt.Errorf("%+v", s)
		}
		got, _, err := guard.ReadFile(path)
		if err == nil && len(got) != n {
			err = fmt.Errorf("%d in the file, want %d", len(got), n)
		}
		return err
	})
}

func TestManyMayWaitUntilARevocationIsStored(t *testing.T) {
	r := newRig(t, 0)
	stored, err := r.client.Publisher().Publish(r.ctx(), record(t, r.signer, "bot"))
	if err != nil {
		t.Fatal(err)
	}
	var waiters sync.WaitGroup
	for range 3 {
		waiters.Go(func() {
			for range 2 {
				if err := stored.Wait(r.ctx()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	waiters.Wait()
}
