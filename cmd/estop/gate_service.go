package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/estop-project/estop/pipeline/gate/serve"
	"github.com/estop-project/estop/pipeline/node"
	"github.com/estop-project/estop/revoke/gate"
	"github.com/estop-project/estop/revoke/gate/httpgate"
)

// gateService is what the gates in front of services share.
type gateService struct {
	kind    string // http, envoy, forward-auth
	offered []gate.Kind
	node.GateSettings
}

// named are the names of a call with their flags, and what the help says of them.
var named = []struct{ name, help string }{
	{"tenant", "where the tenant is read from, instead of --tenant"},
	{"agent", "where the agent is read from (always needed)"},
	{"identity", "where the credential or role is read from"},
	{"session", "where the run or conversation is read from"},
	{"chain", "where the delegation chain is read from: a list with commas, root first"},
	{"issued", "where the time is read from at which the credential was issued"},
}

func (g *gateService) flags(cmd *cobra.Command) {
	f, d := pflag.NewFlagSet("gate", pflag.ContinueOnError), node.DefaultGate()
	f.String("listen", d.Listen, "where to listen, HOST:PORT (always needed)")
	f.String("tenant", d.Tenant, "the tenant of all calls")
	f.StringSlice("tenants", d.Tenants, "the tenants whose calls come (default: --tenant, else all)")
	for _, n := range named {
		f.String(n.name+"-from", "", n.help)
	}
	f.String("fail", d.Fail, "closed: deny while the revocations are out of reach; open: pass on what is known")
	f.StringSlice("fail-open", d.FailOpen, "resources that fail open all the same: /public/*")
	f.StringSlice("fail-closed", d.FailClosed, "resources that fail closed all the same: /payments/*")
	f.Duration("max-stale", d.MaxStale, "how long the revocations may be out of reach before that")
	f.Duration("drain", d.Drain, "how long calls in flight may take to end when the gate does")
	f.String("state", d.State, "file that keeps what is known, so that a restart without NATS denies what was revoked; one for each gate")
	f.String("policy", d.Policy, "folder or file of Cedar policies that decide what the guard lets through; live when edited (default: the guard alone decides)")
	f.String("name", d.Name, "name of this gate in acknowledgements, unique (default: host, kind and a random part)")
	f.String("tls-cert", d.TLSCert, "PEM file of the certificate to serve with (default: without TLS)")
	f.String("tls-key", d.TLSKey, "PEM file of its key")
	f.String("tls-client-ca", d.TLSClientCA, "PEM file of the authority whose certificate clients must show")
	f.Bool("report", d.Report, "send the calls to Kafka, for the detectors")
	if g.kind != "envoy" {
		f.StringSlice("trusted", d.Trusted, "addresses and ranges whose headers are believed")
	}
	addGateFlags(cmd, f)
	complete(cmd, "fail", []string{"closed", "open"})
	for _, n := range named {
		complete(cmd, n.name+"-from", g.sources())
	}
}

// sources are the beginnings of what can follow --agent-from.
func (g *gateService) sources() []string {
	var all []string
	for _, k := range g.offered {
		switch k {
		case gate.FromPrincipal:
			all = append(all, string(k))
		case gate.FromSPIFFE:
			all = append(all, "spiffe:path", "spiffe:trust-domain")
		default:
			all = append(all, string(k)+":")
		}
	}
	return all
}

// names reads the sources of a call's names.
func (g *gateService) names() (gate.Names, error) {
	n, err := g.Sources()
	if err != nil {
		return n, err
	}
	if g.Tenant != "" {
		if n.Tenant.Kind != "" {
			return n, errors.New("either --tenant or --tenant-from")
		}
		n.Tenant = gate.Source{Kind: gate.FromValue, Key: g.Tenant}
	}
	switch {
	case n.Tenant.Kind == "":
		return n, errors.New("--tenant or --tenant-from is needed: whose calls are these?")
	case n.Agent.Kind == "":
		return n, errors.New("--agent-from is needed: whose calls are these?")
	}
	return n, n.Check(g.offered...)
}

// hears are the tenants whose revocations the guard hears; none: those of all.
func (g *gateService) hears() []string {
	if len(g.Tenants) == 0 && g.Tenant != "" {
		return []string{g.Tenant}
	}
	return g.Tenants
}

// peers are the addresses whose headers are believed.
func (g *gateService) peers() (httpgate.Peers, error) {
	p, err := httpgate.ParsePeers(g.Trusted)
	if err != nil {
		return nil, fmt.Errorf("--trusted: %w", err)
	}
	return p, nil
}

// stand is what a gate has that runs.
type stand struct {
	*node.Gate
	listener net.Listener
	secure   *tls.Config
	names    gate.Names
	record   func(gate.Seen) // nil: calls are not reported
	log      *slog.Logger
}

// run checks the settings, stands the gate to the node, says where it listens, and serves until
// it is told to end. A setting that is wrong is found before anything is started.
func (g *gateService) run(cmd *cobra.Command, c node.Config, guards string, serve func(context.Context, stand) error) error {
	s, err := g.check()
	if err != nil {
		return usage(cmd, err)
	}
	ctx, stop := untilSignal(cmd)
	defer stop()
	s.log = c.Logger()
	if s.listener, err = net.Listen("tcp", g.Listen); err != nil {
		return fmt.Errorf("cannot listen for clients (--listen): %w", err)
	}
	defer s.listener.Close()
	classes := g.Classes()
	// A kill must be heard while the last calls come to their end.
	s.Gate, err = node.StartGate(context.WithoutCancel(ctx), c, node.GateOptions{
		Name: g.guardName(), Tenants: g.hears(), FailClosed: classes.FailClosed, FailOpen: classes.Open,
		MaxStale: g.MaxStale, File: g.State, Policy: g.Policy,
	}, s.log)
	if errors.Is(err, node.ErrNoAddress) {
		err = usageError{err}
	}
	if err != nil {
		return err
	}
	defer s.Close()
	defer context.AfterFunc(ctx, s.Drain)()
	if g.Report {
		s.record = s.Emitter.Seen
	}
	fmt.Fprintf(cmd.OutOrStdout(), "estop guards %s\n  listens  %s\n", guards, s.listener.Addr())
	if at := s.MetricsAddr(); at != "" {
		fmt.Fprintf(cmd.OutOrStdout(), "  metrics  http://%s/metrics\n", at)
	}
	return serve(ctx, s)
}

func (g *gateService) check() (stand, error) {
	var s stand
	if g.Listen == "" {
		return s, errors.New(`--listen: "" is not HOST:PORT`)
	}
	var err error
	if s.names, err = g.names(); err != nil {
		return s, err
	}
	if s.secure, err = serve.TLS(g.TLSCert, g.TLSKey, g.TLSClientCA); err != nil {
		return s, fmt.Errorf("--tls-cert, --tls-key, --tls-client-ca: %w", err)
	}
	return s, nil
}

// guardName names the guard in acknowledgements.
func (g *gateService) guardName() string {
	if g.Name != "" {
		return g.Name
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s/%s/%s", host, g.kind, strings.ToLower(rand.Text()[:8]))
}
