package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/estop-project/estop/pipeline/gate/serve"
	"github.com/estop-project/estop/pipeline/node"
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

Flags of this command are read from the environment too: ESTOP_GATE_LISTEN for --listen.`

func newGateForwardAuth() *cobra.Command {
	g := gateService{kind: "forward-auth", offered: httpgate.OfferedForward()}
	var form string
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
			if err := fromEnv(cmd); err != nil {
				return usage(cmd, err)
			}
			if !slices.Contains(forms, form) {
				return usage(cmd, fmt.Errorf("--form: %q is not one of %s%s", form, strings.Join(forms, ", "), node.DidYouMean(form, forms)))
			}
			trusted, err := g.peers()
			if err != nil {
				return usage(cmd, err)
			}
			return g.run(cmd, "what asks", func(ctx context.Context, s stand) error {
				h, err := httpgate.NewForwardAuth(s.Guard, httpgate.ForwardAuthOptions{
					Names: s.names, Trusted: trusted, Form: httpgate.Form(form), Authorize: s.Authorize, Record: s.record,
				})
				if err != nil {
					return err
				}
				return serve.HTTP(ctx, s.listener, h, s.secure, g.drain, s.log)
			})
		},
	}
	g.flags(cmd)
	f := pflag.NewFlagSet("form", pflag.ContinueOnError)
	f.StringVar(&form, "form", string(httpgate.FormAny), "headers that describe the request: x-forwarded (Traefik, Caddy), x-original (nginx), or any of the two")
	g.add(cmd, f)
	complete(cmd, "form", forms)
	return cmd
}
