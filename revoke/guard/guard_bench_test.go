package guard_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	natsd "github.com/estop-project/estop/pipeline/embedded/nats"
	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/guard"
)

// fill stores n revocations of agents of acme in the folder of a server, which must not run. It
// leaves out to wait for the disk at each of them.
func fill(t testing.TB, dir string, signer revoke.Signer, n int) {
	t.Helper()
	o := &server.Options{}
	if err := o.ProcessConfigString(natsd.Config(password)); err != nil {
		t.Fatal(err)
	}
	o.ServerName, o.Host, o.Port, o.JetStream, o.StoreDir, o.NoSigs, o.NoLog = "estop", "127.0.0.1", server.RANDOM_PORT, true, dir, true, true
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	defer func() {
		s.Shutdown()
		s.WaitForShutdown()
	}()
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server is not ready")
	}
	nc, err := connectAs(s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	publisher, err := revoke.NewPublisher(context.Background(), nc, revoke.PublisherOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer publisher.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var workers sync.WaitGroup
	procs := runtime.GOMAXPROCS(0)
	for w := range procs {
		workers.Go(func() {
			for i := w; i < n; i += procs {
				rev := target("acme", fmt.Sprint("agent-", i))
				rev.ID, rev.IssuedAt, rev.Initiator = fmt.Sprint(i), time.Now(), revoke.Admin
				rec, err := signer.Record(rev)
				var last *revoke.Stored
				if err == nil {
					last, err = publisher.Publish(ctx, rec)
				}
				if err == nil && (i/procs%1000 == 999 || i+procs >= n) {
					err = last.Wait(ctx)
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	workers.Wait()
}

// manyHeld is how many revocations a guard finds when it starts.
const manyHeld = 100_000

// BenchmarkGuardLateJoiner is how long a guard that starts beside a full stream takes until it answers every
// call by all of it; what a call needs first (a revocation that it meets is verified for it); and until all
// signatures are verified.
func BenchmarkGuardLateJoiner(b *testing.B) {
	r := newRig(b, 0)
	r.server.Stop()
	fill(b, r.dir, r.signer, manyHeld)
	r.startServer()
	var verified time.Duration
	for b.Loop() {
		nc, err := nats.Connect(r.server.URL())
		if err != nil {
			b.Fatal(err)
		}
		g, err := guard.New(guard.Options{Name: "late", Conn: nc, Verifier: r.signer.Verifier(), All: true})
		if err == nil {
			err = g.Start(context.Background())
		}
		if err == nil {
			err = g.WaitSynced(context.Background())
		}
		if err != nil {
			b.Fatal(err)
		}
		denies(b, g, manyHeld-1)
		b.StopTimer()
		began := time.Now()
		verifiedAll(b, g)
		verified += time.Since(began)
		g.Close()
		nc.Close()
		b.StartTimer()
	}
	ready := b.Elapsed().Seconds() / float64(b.N)
	b.ReportMetric(ready, "s/ready")
	b.ReportMetric(ready+verified.Seconds()/float64(b.N), "s/verified")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkGuardRestart is how long a guard takes that starts from its file with no server in reach.
func BenchmarkGuardRestart(b *testing.B) {
	signer, path := revokeKey(b), filepath.Join(b.TempDir(), "guard.state")
	records := make([]revoke.Record, manyHeld)
	for i := range records {
		rev := target("acme", fmt.Sprint("agent-", i))
		rev.ID, rev.IssuedAt, rev.Initiator = fmt.Sprint(i), time.Now(), revoke.Admin
		var err error
		if records[i], err = signer.Record(rev); err != nil {
			b.Fatal(err)
		}
	}
	if err := guard.WriteFile(path, time.Now(), records...); err != nil {
		b.Fatal(err)
	}
	clear(records)
	port := freePort(b)
	for b.Loop() {
		nc, err := nats.Connect(fmt.Sprint("nats://127.0.0.1:", port), nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1))
		if err != nil {
			b.Fatal(err)
		}
		g, err := guard.New(guard.Options{
			Name: "again", Conn: nc, Verifier: signer.Verifier(), All: true, File: path, MaxStale: time.Hour, FailClosedUntilSynced: true,
		})
		if err == nil {
			err = g.Start(context.Background())
		}
		if err != nil {
			b.Fatal(err)
		}
		denies(b, g, manyHeld-1)
		if d := g.Check(call("acme", "innocent")); d.Verdict != guard.Allow {
			b.Fatal(d)
		}
		b.StopTimer()
		g.Close()
		nc.Close()
		b.StartTimer()
	}
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/ready")
	b.ReportMetric(0, "ns/op")
}

func denies(b *testing.B, g *guard.Guard, i int) {
	b.Helper()
	if d := g.Check(call("acme", fmt.Sprint("agent-", i))); d.Verdict != guard.Deny || d.Revocation == nil {
		b.Fatal(d)
	}
}

func verifiedAll(b *testing.B, g *guard.Guard) {
	b.Helper()
	for g.Stats().Unverified > 0 {
		time.Sleep(10 * time.Millisecond)
	}
	if s := g.Stats(); s.Active != manyHeld {
		b.Fatalf("%+v", s)
	}
}

// BenchmarkGuardThousand is how long it takes until the last of a thousand guards, each with a
// connection of its own and all with heartbeats, enforces a revocation.
func BenchmarkGuardThousand(b *testing.B) {
	const guards = 1000
	r := newRig(b, guards)
	r.beats("detect-1", time.Second)
	for i := range guards {
		r.guard(fmt.Sprint("g", i), func(o *guard.Options) { o.Poll = 0 })
	}
	var last []time.Duration
	i := 0
	for b.Loop() {
		rec, err := r.client.Record(target("acme", fmt.Sprint("bot", i)))
		if err != nil {
			b.Fatal(err)
		}
		i++
		began := time.Now()
		acks, err := r.client.Send(r.ctx(), rec)
		if err != nil || len(acks) != guards {
			b.Fatal(len(acks), err)
		}
		enforced := slices.MaxFunc(acks, func(a, b revoke.Ack) int { return a.AppliedAt.Compare(b.AppliedAt) })
		last = append(last, enforced.AppliedAt.Sub(began))
	}
	slices.Sort(last)
	b.ReportMetric(milliseconds(last[len(last)/2]), "ms/p50")
	b.ReportMetric(milliseconds(last[len(last)*99/100]), "ms/p99")
	b.ReportMetric(milliseconds(last[len(last)-1]), "ms/worst")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkGuardHTTP is what the middleware adds to a request that it lets through.
func BenchmarkGuardHTTP(b *testing.B) {
	g, err := guard.New(guard.Options{Name: "g", Conn: &nats.Conn{}, Verifier: revokeKey(b).Verifier(), All: true})
	if err != nil {
		b.Fatal(err)
	}
	h := guard.HTTP(g, func(r *http.Request) (guard.Call, error) {
		return guard.Call{Tenant: "acme", Agent: r.Header.Get("Agent")}, nil
	}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	r := httptest.NewRequest(http.MethodGet, "/orders/7", nil)
	r.Header.Set("Agent", "bot")
	w := httptest.NewRecorder()
	for b.Loop() {
		h.ServeHTTP(w, r)
	}
	if w.Code != http.StatusNoContent {
		b.Fatal(w.Code)
	}
}

func connectAs(addr string) (*nats.Conn, error) {
	return nats.Connect("nats://"+addr, nats.UserInfo(natsd.DetectorUser, password))
}
