package grpcgate

import (
	"context"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/estop-project/estop/revoke/gate"
	"github.com/estop-project/estop/revoke/guard"
)

// Names returns an Identify for Options that reads the names as n says: from the client's
// verified certificate (principal, spiffe), from metadata that an authenticator in front has
// set (header), or fixed (value). Metadata that the agent itself can write is no identity.
func Names(n gate.Names) (func(ctx context.Context, fullMethod string) (guard.Call, error), error) {
	if err := n.Check(gate.FromHeader, gate.FromPrincipal, gate.FromSPIFFE, gate.FromValue); err != nil {
		return nil, err
	}
	return func(ctx context.Context, _ string) (guard.Call, error) {
		f := gate.Facts{Header: func(name string) []string { return metadata.ValueFromIncomingContext(ctx, name) }}
		var err error
		if f.Principal, err = principal(ctx); err != nil {
			return guard.Call{}, err
		}
		return n.Call(f)
	}, nil
}

// principal returns the verified name of the client, empty if it has shown none.
func principal(ctx context.Context) (string, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return "", nil
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok {
		return "", nil
	}
	return gate.Principal(&info.State)
}

func first(ctx context.Context, key string) string {
	if all := metadata.ValueFromIncomingContext(ctx, key); len(all) > 0 {
		return all[0]
	}
	return ""
}
