package serve

import (
	"context"
	"crypto/tls"

	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	health "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// Envoy makes a gRPC server of an authorization service, with gRPC's health service beside it:
// it serves while ready gives nil. TLS may be nil.
func Envoy(a auth.AuthorizationServer, secure *tls.Config, ready func() error) *grpc.Server {
	var opts []grpc.ServerOption
	if secure != nil {
		opts = append(opts, grpc.Creds(credentials.NewTLS(secure)))
	}
	s := grpc.NewServer(opts...)
	auth.RegisterAuthorizationServer(s, a)
	health.RegisterHealthServer(s, healthy{ready: ready})
	return s
}

// healthy answers health checks of this moment.
type healthy struct {
	health.UnimplementedHealthServer
	ready func() error
}

// Check says whether the gate is ready, for the server as a whole and for its one service.
func (h healthy) Check(_ context.Context, req *health.HealthCheckRequest) (*health.HealthCheckResponse, error) {
	if name := req.GetService(); name != "" && name != auth.Authorization_ServiceDesc.ServiceName {
		return nil, status.Errorf(codes.NotFound, "there is no service %q", name)
	}
	if h.ready() != nil {
		return &health.HealthCheckResponse{Status: health.HealthCheckResponse_NOT_SERVING}, nil
	}
	return &health.HealthCheckResponse{Status: health.HealthCheckResponse_SERVING}, nil
}
