// Package grpcgate puts a guard into a gRPC server: interceptors that refuse the calls of who
// is stopped, and end the calls that are under way when it happens.
//
//   - deny: PermissionDenied, with an ErrorInfo that names the code and the revocation;
//   - restrict: the methods that Reads names pass, all else is PermissionDenied;
//   - throttle: one call in each guard.PaceEvery passes, all else is ResourceExhausted with
//     a RetryInfo.
package grpcgate

import (
	"context"
	"errors"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/estop-project/estop/revoke/gate"
	"github.com/estop-project/estop/revoke/guard"
)

// Domain is that of the ErrorInfo.
const Domain = "estop"

// Options say how calls are judged.
type Options struct {
	// Identify says whose call it is, from what authentication has verified; see Names. Its
	// error denies the call. Where it leaves Resource and Action empty they become the
	// service and the method.
	Identify func(ctx context.Context, fullMethod string) (guard.Call, error)
	// Reads names the methods that a restricted agent may still call. nil: none.
	Reads func(fullMethod string) bool
	// Authorize decides by policies what the guard lets through. nil: the guard alone decides.
	Authorize gate.Authorizer
	// Record is told of each call that has ended or was refused. nil: nobody is.
	Record func(gate.Seen)
}

// Gate holds the interceptors. Install both: one that is missing lets its calls past.
type Gate struct {
	guard *guard.Guard
	o     Options
}

// New returns a gate around a guard.
func New(g *guard.Guard, o Options) (*Gate, error) {
	switch {
	case g == nil:
		return nil, errors.New("cannot make gRPC gate: no guard")
	case o.Identify == nil:
		return nil, errors.New("cannot make gRPC gate: no Identify")
	}
	return &Gate{g, o}, nil
}

// ServerOptions install both interceptors.
func (g *Gate) ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{grpc.ChainUnaryInterceptor(g.Unary), grpc.ChainStreamInterceptor(g.Stream)}
}

// Unary is a grpc.UnaryServerInterceptor. When the call is revoked while its handler runs,
// the handler's context is cancelled and the client gets its answer at once; a handler that
// does not heed its context runs on, and what it returns goes nowhere.
func (g *Gate) Unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	var resp any
	err := g.around(ctx, info.FullMethod, func(ctx context.Context) (err error) {
		resp, err = handler(ctx, req)
		return err
	})
	if err != nil {
		return nil, err
	}
	return resp, nil
}

// Stream is a grpc.StreamServerInterceptor. When the call is revoked the stream ends at
// once, whatever its handler waits for, and takes nothing more from it.
func (g *Gate) Stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	return g.around(ss.Context(), info.FullMethod, func(ctx context.Context) error {
		return handler(srv, &revocableStream{ServerStream: ss, ctx: ctx})
	})
}

// around judges a call and runs it until it ends or is revoked.
func (g *Gate) around(ctx context.Context, method string, run func(context.Context) error) error {
	start := time.Now()
	call, err := g.o.Identify(ctx, method)
	if err != nil {
		return refusal(gate.Unidentified(g.guard, err))
	}
	call.Resource, call.Action = named(call, method)
	ctx, inflight, d := g.guard.Begin(ctx, &call)
	defer inflight.End()
	seen := gate.Seen{Call: call, Time: start, Outcome: gate.Denied, Traceparent: first(ctx, "traceparent"), Kind: "grpc"}
	defer func() { g.record(seen, start) }()
	a := g.o.Authorize.Decide(g.guard, d, gate.Request{
		Call: call, Time: start, Reads: g.o.Reads != nil && g.o.Reads(method), Gate: "grpc",
	})
	if !a.Allowed {
		seen.Refused(a)
		return refusal(a)
	}
	seen.Outcome = gate.Failed // a panic, unless it ends otherwise
	err = untilRevoked(ctx, run)
	seen.Outcome = outcome(err)
	if r := guard.RevokedBy(ctx); r != nil {
		seen.Refused(gate.Revoked(r))
	}
	return err
}

func (g *Gate) record(seen gate.Seen, start time.Time) {
	if g.o.Record != nil {
		seen.Latency = time.Since(start)
		g.o.Record(seen)
	}
}

// named returns the resource and the action of a call: what Identify said, else the service
// and the method.
func named(call guard.Call, fullMethod string) (resource, action string) {
	resource, action = call.Resource, call.Action
	service, method, _ := strings.Cut(strings.TrimPrefix(fullMethod, "/"), "/")
	if resource == "" {
		resource = service
	}
	if action == "" {
		action = method
	}
	return resource, action
}

// ended is how a handler ended.
type ended struct {
	err    error
	panics any // what it panicked with
}

// untilRevoked runs a handler beside itself, so that one which waits for its client, or for
// ever, cannot outlast the revocation. A panic comes out here, where the server's own
// interceptors expect it; after a revocation nobody waits for it any more.
func untilRevoked(ctx context.Context, run func(context.Context) error) error {
	done := make(chan ended, 1)
	go func() {
		var e ended
		finished := false
		defer func() {
			if !finished {
				e.err = status.Error(codes.Internal, "the handler has ended without a result")
				e.panics = recover() // nil where it called runtime.Goexit
			}
			done <- e
		}()
		e.err = run(ctx)
		finished = true
	}()
	select {
	case e := <-done:
		return e.result(ctx)
	case <-ctx.Done():
	}
	if r := guard.RevokedBy(ctx); r != nil {
		return refusal(gate.Revoked(r))
	}
	// The client is gone. The handler is waited for, as without a gate.
	return (<-done).result(ctx)
}

func (e ended) result(ctx context.Context) error {
	if e.panics != nil {
		panic(e.panics)
	}
	if r := guard.RevokedBy(ctx); r != nil {
		return refusal(gate.Revoked(r))
	}
	return e.err
}

func outcome(err error) gate.Outcome {
	switch status.Code(err) {
	case codes.OK:
		return gate.OK
	case codes.PermissionDenied, codes.Unauthenticated, codes.ResourceExhausted:
		return gate.Denied
	}
	return gate.Failed
}

// refusal is the error that the client of a refused call gets.
func refusal(a gate.Answer) error {
	info := &errdetails.ErrorInfo{Reason: a.Code, Domain: Domain, Metadata: map[string]string{"verdict": a.Verdict.String()}}
	if a.Revocation != "" {
		info.Metadata["revocation"] = a.Revocation
	}
	if len(a.Policies) > 0 {
		info.Metadata["policies"] = strings.Join(a.Policies, ", ")
	}
	code, details := codes.PermissionDenied, []protoadapt.MessageV1{info}
	if a.RetryAfter > 0 {
		code = codes.ResourceExhausted
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(a.RetryAfter)})
	}
	s := status.New(code, a.Reason)
	if with, err := s.WithDetails(details...); err == nil {
		s = with
	}
	return s.Err()
}

// revocableStream is a stream that takes and gives nothing after the revocation.
type revocableStream struct {
	grpc.ServerStream
	ctx context.Context
}

// Context returns the one that a revocation cancels.
func (s *revocableStream) Context() context.Context { return s.ctx }

// SendMsg sends a message to the client.
func (s *revocableStream) SendMsg(m any) error {
	if r := guard.RevokedBy(s.ctx); r != nil {
		return r
	}
	return s.ServerStream.SendMsg(m)
}

// RecvMsg takes a message from the client.
func (s *revocableStream) RecvMsg(m any) error {
	if r := guard.RevokedBy(s.ctx); r != nil {
		return r
	}
	err := s.ServerStream.RecvMsg(m)
	if r := guard.RevokedBy(s.ctx); r != nil {
		return r
	}
	return err
}
