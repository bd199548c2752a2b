package main

import (
	"context"
	"fmt"
	"net/url"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/estop-project/estop/pipeline/gate/serve"
	"github.com/estop-project/estop/revoke/gate"
	"github.com/estop-project/estop/revoke/gate/httpgate"
)

var gateHTTPHelp = `A reverse proxy in front of a service. Each request is decided before the service sees it,
and reported to the detectors; a revocation cuts the requests in flight, event streams and
WebSockets too, and refuses the next ones with the reason.

` + gate.SourceHelp(httpgate.Offered()...) + `

Headers count only where they come from a --trusted address: that of the authenticator which
sets them. From others they are taken away. A certificate is verified with --tls-client-ca.

Flags of this command stand in the environment, ESTOP_GATE_LISTEN for --listen, or in the
configuration file, gate.listen, too; the flag is the strongest.`

func newGateHTTP() *cobra.Command {
	g := gateService{kind: "http", offered: httpgate.Offered()}
	cmd := &cobra.Command{
		Use:   "http",
		Short: "Put an HTTP service behind the switch: a reverse proxy",
		Long:  gateHTTPHelp,
		Example: "  estop gate http --listen :8080 --upstream http://127.0.0.1:3000 --tenant acme --agent-from header:X-Agent --trusted 10.0.0.0/8\n" +
			"  estop gate http --listen :8443 --upstream http://127.0.0.1:3000 --tenant acme --agent-from spiffe:path --identity-from principal \\\n" +
			"    --tls-cert cert.pem --tls-key key.pem --tls-client-ca agents-ca.pem",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config(cmd)
			if err != nil {
				return err
			}
			g.GateSettings = c.Gate
			to, err := url.Parse(g.Upstream)
			if err != nil || to.Host == "" {
				return usage(cmd, fmt.Errorf("--upstream: %q is not a URL such as http://127.0.0.1:3000", g.Upstream))
			}
			trusted, err := g.peers()
			if err != nil {
				return usage(cmd, err)
			}
			return g.run(cmd, c, to.Redacted(), func(ctx context.Context, s stand) error {
				p, err := httpgate.NewProxy(s.Guard, httpgate.ProxyOptions{
					Upstream: to, Names: s.names, Trusted: trusted, Authorize: s.Authorize, Record: s.record, Logger: s.log,
				})
				if err != nil {
					return err
				}
				return serve.HTTP(ctx, s.listener, p, s.secure, g.Drain, s.log)
			})
		},
	}
	g.flags(cmd)
	f := pflag.NewFlagSet("upstream", pflag.ContinueOnError)
	f.String("upstream", "", "the service, a URL (always needed)")
	addKeyedFlags(cmd, f)
	return cmd
}
