package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/estop-project/estop/pipeline/gate/serve"
	"github.com/estop-project/estop/revoke/gate"
	"github.com/estop-project/estop/revoke/gate/envoygate"
)

var gateEnvoyHelp = `An external authorization server (ext_authz v3 over gRPC) for Envoy and what is built on it.
It answers OK, or 403, or 429 with Retry-After, with the reason and the revocation in headers
and in the dynamic metadata.

Envoy asks once, when a request begins: the next request of an agent that is stopped is
refused, and one that is in flight ends when Envoy's own time for it is over
(max_stream_duration). Leave failure_mode_allow off, and let nothing cache the answers: a cached
one outlives the kill.

` + gate.SourceHelp(envoygate.Offered()...) + `

The principal is what Envoy verified of the client's certificate (source.principal). Claims are
those that Envoy's JWT filter has verified: claim:jwt.sub where its payload_in_metadata is jwt, and
envoy.filters.http.jwt_authn is one of the metadata_context_namespaces.

Whoever reaches the gate can ask it, and what is asked counts as a call: listen where only Envoy
comes, or give --tls-client-ca.

Flags of this command stand in the environment, ESTOP_GATE_LISTEN for --listen, or in the
configuration file, gate.listen, too; the flag is the strongest.`

func newGateEnvoy() *cobra.Command {
	g := gateService{kind: "envoy", offered: envoygate.Offered()}
	cmd := &cobra.Command{
		Use:   "envoy",
		Short: "Answer Envoy whether a request may pass: ext_authz",
		Long:  gateEnvoyHelp,
		Example: "  estop gate envoy --listen 127.0.0.1:9191 --tenant acme --agent-from spiffe:path --identity-from principal\n" +
			"  estop gate envoy --listen 127.0.0.1:9191 --tenant-from claim:jwt.tenant --agent-from claim:jwt.sub --session-from 'claim:jwt.sid?'",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config(cmd)
			if err != nil {
				return err
			}
			g.GateSettings = c.Gate
			return g.run(cmd, c, "what Envoy asks", func(ctx context.Context, s stand) error {
				e, err := envoygate.New(s.Guard, envoygate.Options{Names: s.names, Authorize: s.Authorize, Record: s.record})
				if err != nil {
					return err
				}
				return serve.GRPC(ctx, s.listener, serve.Envoy(e, s.secure, s.Ready), g.Drain, s.log)
			})
		},
	}
	g.flags(cmd)
	return cmd
}
