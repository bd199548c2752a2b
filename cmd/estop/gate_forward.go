package main

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/estop-project/estop/pipeline/gate/serve"
	"github.com/estop-project/estop/revoke/gate"
	"github.com/estop-project/estop/revoke/gate/httpgate"
)

var gateForwardHelp = `The endpoint that a proxy asks before it passes a request on: auth_request of nginx,
ForwardAuth of Traefik, forward_auth of Caddy. It answers 200, or 403, or 429 with Retry-After; to
nginx, which knows no 429 here, 403 with X-Estop-Verdict: throttle.

A proxy asks once, when a request begins: the next request of an agent that is stopped is
refused, and one that is in flight is not cut. 'estop gate http' cuts it.

` + gate.SourceHelp(httpgate.OfferedForward()...) + `

The proxy must set these headers, and take them away where
clients send them. It must not cache the answers.

Flags of this command stand in the environment, ESTOP_GATE_LISTEN for --listen, or in the
configuration file, gate.listen, too; the flag is the strongest.`

func newGateForwardAuth() *cobra.Command {
	g := gateService{kind: "forward-auth", offered: httpgate.OfferedForward()}
	var forms []string
	for _, f := range httpgate.Forms() {
		forms = append(forms, string(f))
	}
	cmd := &cobra.Command{
		Use:     "forward-auth",
		Short:   "Answer nginx, Traefik or Caddy whether a request may pass",
		Long:    gateForwardHelp,
		Example: "  estop gate forward-auth --listen 127.0.0.1:9191 --form x-original --tenant acme --agent-from header:X-Agent",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config(cmd)
			if err != nil {
				return err
			}
			g.GateSettings = c.Gate
			trusted, err := g.peers()
			if err != nil {
				return usage(cmd, err)
			}
			return g.run(cmd, c, "what asks", func(ctx context.Context, s stand) error {
				h, err := httpgate.NewForwardAuth(s.Guard, httpgate.ForwardAuthOptions{
					Names: s.names, Trusted: trusted, Form: httpgate.Form(g.Form), Authorize: s.Authorize, Record: s.record,
				})
				if err != nil {
					return err
				}
				return serve.HTTP(ctx, s.listener, h, s.secure, g.Drain, s.log)
			})
		},
	}
	g.flags(cmd)
	f := pflag.NewFlagSet("form", pflag.ContinueOnError)
	f.String("form", string(httpgate.FormAny), "headers that describe the request: x-forwarded (Traefik, Caddy), x-original (nginx), or any of the two")
	addKeyedFlags(cmd, f)
	complete(cmd, "form", forms)
	return cmd
}
