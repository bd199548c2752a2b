package envoygate_test

import (
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/gate/envoygate"
	"github.com/estop-project/estop/revoke/guard"
)

// BenchmarkCheck is what one question of Envoy costs that is answered with yes: the work in the process, and the whole
// way over gRPC on loopback.
func BenchmarkCheck(b *testing.B) {
	signer, err := revoke.GenerateKey()
	if err != nil {
		b.Fatal(err)
	}
	g, err := guard.New(guard.Options{Name: "g", Conn: &nats.Conn{}, Verifier: signer.Verifier(), All: true})
	if err != nil {
		b.Fatal(err)
	}
	o := envoygate.Options{Names: spiffe(b)}
	b.Run("process", func(b *testing.B) {
		s, err := envoygate.New(g, o)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			resp, err := s.Check(b.Context(), as("bot", "GET", "/orders/7"))
			if err != nil || resp.GetOkResponse() == nil {
				b.Fatal(resp, err)
			}
		}
	})
	b.Run("loopback", func(b *testing.B) {
		c := dial(b, serve(b, g, o))
		for b.Loop() {
			wantAllowed(b, check(b, c, as("bot", "GET", "/orders/7")))
		}
	})
}
