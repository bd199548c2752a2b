package serve_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/estop-project/estop/pipeline/gate/gatetest"
	"github.com/estop-project/estop/pipeline/gate/serve"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// slow is a service whose calls end when they are released, or cut.
type slow struct {
	pb.UnimplementedTestServiceServer
	entered chan struct{}
	release chan struct{}
	cut     chan struct{}
}

func newSlow() *slow {
	return &slow{entered: make(chan struct{}, 1), release: make(chan struct{}), cut: make(chan struct{}, 1)}
}

func (s *slow) wait(ctx context.Context) {
	s.entered <- struct{}{}
	select {
	case <-s.release:
	case <-ctx.Done():
		s.cut <- struct{}{}
	}
}

func (s *slow) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.wait(r.Context())
	fmt.Fprint(w, "done")
}

func (s *slow) EmptyCall(ctx context.Context, _ *pb.Empty) (*pb.Empty, error) {
	s.wait(ctx)
	return &pb.Empty{}, nil
}

// start runs a server and a call that has not ended, and tells the server to end.
func start(t *testing.T, s *slow, run func(context.Context) error, call func() error) (ended, called chan error) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	ended, called = make(chan error, 1), make(chan error, 1)
	go func() { ended <- run(ctx) }()
	go func() { called <- call() }()
	<-s.entered
	stop()
	return ended, called
}

func TestWhatIsInFlightComesToItsEndUnlessItTakesTooLong(t *testing.T) {
	for name, kind := range map[string]func(t *testing.T, s *slow, drain time.Duration) (ended, called chan error){
		"HTTP": func(t *testing.T, s *slow, drain time.Duration) (ended, called chan error) {
			l := gatetest.Listen(t)
			return start(t, s,
				func(ctx context.Context) error { return serve.HTTP(ctx, l, s, nil, drain, quiet) },
				func() error { return get(&http.Client{}, "http://"+l.Addr().String()) })
		},
		"gRPC": func(t *testing.T, s *slow, drain time.Duration) (ended, called chan error) {
			l := gatetest.Listen(t)
			server := grpc.NewServer()
			pb.RegisterTestServiceServer(server, s)
			conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
			return start(t, s,
				func(ctx context.Context) error { return serve.GRPC(ctx, l, server, drain, quiet) },
				func() error {
					_, err := pb.NewTestServiceClient(conn).EmptyCall(context.Background(), &pb.Empty{})
					if status.Code(err) == codes.Unavailable {
						return fmt.Errorf("cut: %w", err)
					}
					return err
				})
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSlow()
			ended, called := kind(t, s, time.Minute)
			select {
			case err := <-ended:
				t.Fatalf("the server did not wait: %v", err)
			case <-time.After(100 * time.Millisecond):
			}
			close(s.release)
			if err := <-called; err != nil {
				t.Errorf("a call in flight: %v", err)
			}
			if err := <-ended; err != nil {
				t.Error(err)
			}

			s = newSlow()
			ended, called = kind(t, s, 50*time.Millisecond)
			if err := <-called; err == nil {
				t.Error("a call that took too long was not cut")
			}
			if err := <-ended; err != nil {
				t.Error(err)
			}
			<-s.cut
		})
	}
}

// A connection that has switched to another protocol is no request any more that a server
// waits for: it ends with the context of its request.
func TestAWebSocketEndsWithTheServer(t *testing.T) {
	entered, left := make(chan struct{}), make(chan struct{})
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
		close(entered)
		<-r.Context().Done()
		close(left)
	})
	ctx, stop := context.WithCancel(t.Context())
	l, ended := gatetest.Listen(t), make(chan error, 1)
	go func() { ended <- serve.HTTP(ctx, l, h, nil, 50*time.Millisecond, quiet) }()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	<-entered
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	select {
	case <-left:
	case <-time.After(20 * time.Second):
		t.Error("it is still open")
	}
}

func get(c *http.Client, url string) error {
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		return err
	}
	req.Close = true
	res, err := c.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if b, err := io.ReadAll(res.Body); err != nil || string(b) != "done" {
		return fmt.Errorf("%s: %q, %w", res.Status, b, err)
	}
	return nil
}

func TestClientsMustShowACertificateOfTheAuthority(t *testing.T) {
	a, other := gatetest.NewAuthority(t), gatetest.NewAuthority(t)
	server := a.Issue("server")
	cert, key := gatetest.File(t, "cert.pem", server.CertPEM), gatetest.File(t, "key.pem", server.KeyPEM)
	secure, err := serve.TLS(cert, key, gatetest.File(t, "ca.pem", a.PEM))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	l, s, ended := gatetest.Listen(t), newSlow(), make(chan error, 1)
	close(s.release)
	s.entered = make(chan struct{}, 10)
	go func() { ended <- serve.HTTP(ctx, l, s, secure, time.Second, quiet) }()
	f := func(taken bool, certs ...tls.Certificate) {
		t.Helper()
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: a.Pool, Certificates: certs}}
		defer transport.CloseIdleConnections()
		if err := get(&http.Client{Transport: transport}, "https://"+l.Addr().String()); (err == nil) != taken {
			t.Errorf("got %v, want it taken %v", err, taken)
		}
	}
	f(true, a.Issue("client").Certificate)
	f(false)
	f(false, other.Issue("client").Certificate)
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	for _, bad := range [][3]string{{cert, "", ""}, {"", key, ""}, {"", "", cert}, {"none", key, ""}, {cert, key, "none"}, {cert, key, key}} {
		if c, err := serve.TLS(bad[0], bad[1], bad[2]); err == nil {
			t.Errorf("%v gives %v", bad, c)
		}
	}
	if c, err := serve.TLS("", "", ""); c != nil || err != nil {
		t.Error(c, err)
	}
}
