package grpcgate_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/estop-project/estop/pipeline/gate/gatetest"
	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/gate"
	"github.com/estop-project/estop/revoke/gate/grpcgate"
	"github.com/estop-project/estop/revoke/guard"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// service is a server's handlers; what a test leaves out answers at once.
type service struct {
	pb.UnimplementedTestServiceServer
	unary  func(context.Context) error
	stream func(pb.TestService_FullDuplexCallServer) error
}

func (s *service) UnaryCall(ctx context.Context, _ *pb.SimpleRequest) (*pb.SimpleResponse, error) {
	if s.unary != nil {
		if err := s.unary(ctx); err != nil {
			return nil, err
		}
	}
	return &pb.SimpleResponse{Username: "served"}, nil
}

func (s *service) EmptyCall(context.Context, *pb.Empty) (*pb.Empty, error) { return &pb.Empty{}, nil }

func (s *service) FullDuplexCall(ss pb.TestService_FullDuplexCallServer) error {
	if s.stream == nil {
		return nil
	}
	return s.stream(ss)
}

// header says who calls, as an authenticator in front would.
var header = gate.Names{
	Tenant: gate.Source{Kind: gate.FromValue, Key: gatetest.Tenant}, Agent: gate.Source{Kind: gate.FromHeader, Key: "x-agent"},
	Session: gate.Source{Kind: gate.FromHeader, Key: "x-session", Optional: true},
}

// serve runs a real server behind a gate and returns a real client of it.
func serve(t *testing.T, g *guard.Guard, s *service, change ...func(*grpcgate.Options)) pb.TestServiceClient {
	t.Helper()
	identify, err := grpcgate.Names(header)
	if err != nil {
		t.Fatal(err)
	}
	o := grpcgate.Options{Identify: identify}
	for _, f := range change {
		f(&o)
	}
	return dial(t, listen(t, g, s, o), insecure.NewCredentials())
}

func listen(t *testing.T, g *guard.Guard, s *service, o grpcgate.Options, opts ...grpc.ServerOption) string {
	t.Helper()
	gated, err := grpcgate.New(g, o)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(append(opts, gated.ServerOptions()...)...)
	pb.RegisterTestServiceServer(server, s)
	l := gatetest.Listen(t)
	var done sync.WaitGroup
	done.Go(func() { _ = server.Serve(l) })
	t.Cleanup(func() { server.Stop(); done.Wait() })
	return l.Addr().String()
}

func dial(t *testing.T, addr string, c credentials.TransportCredentials) pb.TestServiceClient {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(c))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return pb.NewTestServiceClient(conn)
}

func as(t *testing.T, agent string, more ...string) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return metadata.AppendToOutgoingContext(ctx, append(more, "x-agent", agent)...)
}

func call(t *testing.T, c pb.TestServiceClient, agent string) error {
	t.Helper()
	_, err := c.UnaryCall(as(t, agent), &pb.SimpleRequest{})
	return err
}

// wantRefused wants an error with its code and its details.
func wantRefused(t *testing.T, err error, code codes.Code, reason, revocation string) {
	t.Helper()
	s := status.Convert(err)
	if s.Code() != code || s.Message() == "" {
		t.Fatalf("got %v, want %v", err, code)
	}
	var info *errdetails.ErrorInfo
	var retry *errdetails.RetryInfo
	for _, d := range s.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			info = d
		case *errdetails.RetryInfo:
			retry = d
		}
	}
	if info.GetReason() != reason || info.GetDomain() != grpcgate.Domain || info.GetMetadata()["revocation"] != revocation {
		t.Errorf("details %v, want reason %s and revocation %q", info, reason, revocation)
	}
	if (retry.GetRetryDelay().AsDuration() == guard.PaceEvery) != (code == codes.ResourceExhausted) {
		t.Errorf("retry %v with %v", retry, code)
	}
}

func TestEachVerdictIsAStatusWithDetails(t *testing.T) {
	r := gatetest.New(t)
	c := serve(t, r.Guard(), &service{}, func(o *grpcgate.Options) {
		o.Reads = func(method string) bool { return strings.HasSuffix(method, "/EmptyCall") }
	})
	if err := call(t, c, "bot"); err != nil {
		t.Fatal(err)
	}
	throttle := r.Kill(revoke.Throttle, revoke.Agent, "bot")
	passed := 0
	var last error
	for range 10 {
		if err := call(t, c, "bot"); err == nil {
			passed++
		} else {
			last = err
		}
	}
	if passed == 0 || passed > 5 {
		t.Errorf("%d of 10 throttled calls passed", passed)
	}
	wantRefused(t, last, codes.ResourceExhausted, "THROTTLED", throttle.Revocation)

	restrict := r.Kill(revoke.Restrict, revoke.Agent, "bot")
	wantRefused(t, call(t, c, "bot"), codes.PermissionDenied, "RESTRICTED", restrict.Revocation)
	if _, err := c.EmptyCall(as(t, "bot"), &pb.Empty{}); err != nil {
		t.Errorf("a restricted agent cannot read: %v", err)
	}

	kill := r.Kill(revoke.Revoke, revoke.Agent, "bot")
	err := call(t, c, "bot")
	wantRefused(t, err, codes.PermissionDenied, "REVOKED", kill.Revocation)
	if !strings.Contains(err.Error(), "reads what it should not") {
		t.Errorf("no reason in %v", err)
	}
	stream, err := c.FullDuplexCall(as(t, "bot"))
	if err == nil {
		_, err = stream.Recv()
	}
	wantRefused(t, err, codes.PermissionDenied, "REVOKED", kill.Revocation)
	if err := call(t, c, "other"); err != nil {
		t.Errorf("another agent: %v", err)
	}
}

func TestComplaint01AUnaryCallInFlightEndsAtOnceEvenWhereItsHandlerHeedsNothing(t *testing.T) {
	r := gatetest.New(t)
	entered, release := make(chan context.Context), make(chan struct{})
	c := serve(t, r.Guard(), &service{unary: func(ctx context.Context) error {
		entered <- ctx
		<-release
		return nil
	}})
	result := make(chan error, 1)
	go func() { result <- call(t, c, "bot") }()
	ctx := <-entered
	ack := r.Kill(revoke.Revoke, revoke.Agent, "bot")
	if ack.Cancelled != 1 {
		t.Errorf("the guard acknowledged %d calls cut", ack.Cancelled)
	}
	wantRefused(t, <-result, codes.PermissionDenied, "REVOKED", ack.Revocation)
	var revoked *guard.Revoked
	if !errors.As(context.Cause(ctx), &revoked) {
		t.Errorf("the handler's context ended with %v", context.Cause(ctx))
	}
	close(release)
}

func TestComplaint01AStreamInFlightEndsWhateverItsHandlerWaitsFor(t *testing.T) {
	for name, wait := range map[string]func(pb.TestService_FullDuplexCallServer) error{
		"its client": func(ss pb.TestService_FullDuplexCallServer) error {
			_, err := ss.Recv()
			return err
		},
		"its context": func(ss pb.TestService_FullDuplexCallServer) error {
			<-ss.Context().Done()
			return ss.Send(&pb.StreamingOutputCallResponse{})
		},
		"nothing: it sends for ever": func(ss pb.TestService_FullDuplexCallServer) error {
			payload := &pb.Payload{Body: make([]byte, 1<<10)}
			for {
				if err := ss.Send(&pb.StreamingOutputCallResponse{Payload: payload}); err != nil {
					return err
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := gatetest.New(t)
			entered, left := make(chan struct{}), make(chan error, 1)
			c := serve(t, r.Guard(), &service{stream: func(ss pb.TestService_FullDuplexCallServer) error {
				close(entered)
				err := wait(ss)
				left <- err
				return err
			}})
			stream, err := c.FullDuplexCall(as(t, "bot"))
			if err != nil {
				t.Fatal(err)
			}
			result := make(chan error, 1)
			go func() {
				for {
					if _, err := stream.Recv(); err != nil {
						result <- err
						return
					}
				}
			}()
			<-entered
			ack := r.Kill(revoke.Revoke, revoke.Agent, "bot")
			wantRefused(t, <-result, codes.PermissionDenied, "REVOKED", ack.Revocation)
			select {
			case err := <-left:
				if err == nil {
					t.Error("the handler was told that all is well")
				}
			case <-time.After(20 * time.Second):
				t.Error("the handler is still there")
			}
		})
	}
}

func TestAKillOfASessionLeavesTheOthers(t *testing.T) {
	r := gatetest.New(t)
	entered, release := make(chan struct{}, 2), make(chan struct{})
	c := serve(t, r.Guard(), &service{unary: func(context.Context) error {
		entered <- struct{}{}
		<-release
		return nil
	}})
	results := map[string]chan error{"s1": make(chan error, 1), "s2": make(chan error, 1)}
	for session, result := range results {
		go func() {
			_, err := c.UnaryCall(as(t, "bot", "x-session", session), &pb.SimpleRequest{})
			result <- err
		}()
	}
	<-entered
	<-entered
	ack := r.Kill(revoke.Revoke, revoke.Session, "s1")
	wantRefused(t, <-results["s1"], codes.PermissionDenied, "REVOKED", ack.Revocation)
	close(release)
	if err := <-results["s2"]; err != nil {
		t.Error(err)
	}
}

func TestComplaint05ACallWithoutANameIsDenied(t *testing.T) {
	r := gatetest.New(t)
	g := r.Guard()
	c := serve(t, g, &service{})
	for name, pairs := range map[string][]string{
		"no agent":              nil,
		"an empty agent":        {"x-agent", ""},
		"two agents":            {"x-agent", "a", "x-agent", "b"},
		"two agents as one":     {"x-agent", "a,b"},
		"another kind of agent": {"x-workload", "a"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		_, err := c.UnaryCall(metadata.AppendToOutgoingContext(ctx, pairs...), &pb.SimpleRequest{})
		cancel()
		t.Log(name)
		wantRefused(t, err, codes.PermissionDenied, "UNIDENTIFIED", "")
	}
	if n := g.Stats().Denied; n != 5 {
		t.Errorf("%d denials counted, want 5", n)
	}
}

func TestAVerifiedCertificateIsTheIdentity(t *testing.T) {
	r := gatetest.New(t)
	a := gatetest.NewAuthority(t)
	server := a.Issue("server")
	identify, err := grpcgate.Names(gate.Names{
		Tenant: gate.Source{Kind: gate.FromValue, Key: gatetest.Tenant}, Agent: gate.Source{Kind: gate.FromSPIFFE, Key: "path"},
		Identity: gate.Source{Kind: gate.FromPrincipal},
	})
	if err != nil {
		t.Fatal(err)
	}
	addr := listen(t, r.Guard(), &service{}, grpcgate.Options{Identify: identify}, grpc.Creds(credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{server.Certificate}, ClientCAs: a.Pool, ClientAuth: tls.VerifyClientCertIfGiven,
	})))
	with := func(certs ...tls.Certificate) error {
		c := dial(t, addr, credentials.NewTLS(&tls.Config{RootCAs: a.Pool, Certificates: certs, ServerName: "localhost"}))
		return call(t, c, "bot")
	}
	bot := a.Issue("", "spiffe://example.org/ns/bot").Certificate
	if err := with(bot); err != nil {
		t.Fatal(err)
	}
	for name, certs := range map[string][]tls.Certificate{
		"none": nil, "no SPIFFE ID": {a.Issue("bot").Certificate}, "two URIs": {a.Issue("", "spiffe://a/b", "spiffe://a/c").Certificate},
	} {
		t.Log(name)
		wantRefused(t, with(certs...), codes.PermissionDenied, "UNIDENTIFIED", "")
	}
	ack := r.Kill(revoke.Revoke, revoke.Identity, "spiffe://example.org/ns/bot")
	wantRefused(t, with(bot), codes.PermissionDenied, "REVOKED", ack.Revocation)
	if err := with(a.Issue("", "spiffe://example.org/ns/other").Certificate); err != nil {
		t.Error(err)
	}
}

func TestEveryCallIsRecordedWithHowItEnded(t *testing.T) {
	r := gatetest.New(t)
	var mu sync.Mutex
	var seen []gate.Seen
	s := &service{unary: func(context.Context) error { return status.Error(codes.Internal, "broken") }}
	c := serve(t, r.Guard(), s, func(o *grpcgate.Options) {
		o.Record = func(s gate.Seen) { mu.Lock(); defer mu.Unlock(); seen = append(seen, s) }
	})
	if _, err := c.EmptyCall(as(t, "bot", "traceparent", "00-1"), &pb.Empty{}); err != nil {
		t.Fatal(err)
	}
	if err := call(t, c, "bot"); status.Code(err) != codes.Internal {
		t.Fatal(err)
	}
	r.Kill(revoke.Revoke, revoke.Agent, "bot")
	_ = call(t, c, "bot")
	mu.Lock()
	defer mu.Unlock()
	want := []gate.Outcome{gate.OK, gate.Failed, gate.Denied}
	got := make([]gate.Outcome, len(seen))
	for i, s := range seen {
		got[i] = s.Outcome
		if s.Agent != "bot" || s.Resource != "grpc.testing.TestService" || !strings.HasSuffix(s.Action, "Call") || s.Time.IsZero() {
			t.Errorf("%+v", s)
		}
	}
	if !slices.Equal(got, want) || seen[0].Traceparent != "00-1" {
		t.Errorf("outcomes %v, want %v; traceparent %q", got, want, seen[0].Traceparent)
	}
}

func TestAPanicComesOutWhereTheServersOwnInterceptorsExpectIt(t *testing.T) {
	r := gatetest.New(t)
	identify, err := grpcgate.Names(header)
	if err != nil {
		t.Fatal(err)
	}
	recovers := grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, h grpc.UnaryHandler) (_ any, err error) {
		defer func() {
			if p := recover(); p != nil {
				err = status.Errorf(codes.DataLoss, "%v", p)
			}
		}()
		return h(ctx, req)
	})
	addr := listen(t, r.Guard(), &service{unary: func(context.Context) error { panic("oops") }}, grpcgate.Options{Identify: identify}, recovers)
	if err := call(t, dial(t, addr, insecure.NewCredentials()), "bot"); status.Code(err) != codes.DataLoss {
		t.Errorf("got %v", err)
	}
}

func TestAStreamThatEndsWellIsLeftAlone(t *testing.T) {
	r := gatetest.New(t)
	c := serve(t, r.Guard(), &service{stream: func(ss pb.TestService_FullDuplexCallServer) error {
		for {
			if _, err := ss.Recv(); err == io.EOF {
				return nil
			} else if err != nil {
				return err
			}
			if err := ss.Send(&pb.StreamingOutputCallResponse{}); err != nil {
				return err
			}
		}
	}})
	stream, err := c.FullDuplexCall(as(t, "bot"))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := stream.Send(&pb.StreamingOutputCallRequest{}); err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != io.EOF {
		t.Errorf("the stream ended with %v", err)
	}
}
