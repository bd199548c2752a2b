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
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/estop-project/estop/pipeline/gate/serve"
	"github.com/estop-project/estop/pipeline/node"
	"github.com/estop-project/estop/revoke/gate"
	"github.com/estop-project/estop/revoke/gate/httpgate"
)

// gateService holds the flags that the gates in front of services share.
type gateService struct {
	kind    string // http, envoy, forward-auth
	offered []gate.Kind

	listen, name, state  string
	policy               string
	tenant               string
	tenants              []string
	from                 map[string]*string // by name of the call: its source
	trusted              []string
	fail                 string
	failOpen, failClosed []string
	maxStale, drain      time.Duration
	cert, key, clientCA  string
	report               bool
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
	f := pflag.NewFlagSet("gate", pflag.ContinueOnError)
	f.StringVar(&g.listen, "listen", "", "where to listen, HOST:PORT (always needed)")
	f.StringVar(&g.tenant, "tenant", "", "the tenant of all calls")
	f.StringSliceVar(&g.tenants, "tenants", nil, "the tenants whose calls come (default: --tenant, else all)")
	g.from = map[string]*string{}
	for _, n := range named {
		g.from[n.name] = f.String(n.name+"-from", "", n.help)
	}
	f.StringVar(&g.fail, "fail", "closed", "closed: deny while the revocations are out of reach; open: pass on what is known")
	f.StringSliceVar(&g.failOpen, "fail-open", nil, "resources that fail open all the same: /public/*")
	f.StringSliceVar(&g.failClosed, "fail-closed", nil, "resources that fail closed all the same: /payments/*")
	f.DurationVar(&g.maxStale, "max-stale", 30*time.Second, "how long the revocations may be out of reach before that")
	f.DurationVar(&g.drain, "drain", 15*time.Second, "how long calls in flight may take to end when the gate does")
	f.StringVar(&g.state, "state", "", "file that keeps what is known, so that a restart without NATS denies what was revoked; one for each gate")
	f.StringVar(&g.policy, "policy", "", "folder or file of Cedar policies that decide what the guard lets through; live when edited (default: the guard alone decides)")
	f.StringVar(&g.name, "name", "", "name of this gate in acknowledgements, unique (default: host, kind and a random part)")
	f.StringVar(&g.cert, "tls-cert", "", "PEM file of the certificate to serve with (default: without TLS)")
	f.StringVar(&g.key, "tls-key", "", "PEM file of its key")
	f.StringVar(&g.clientCA, "tls-client-ca", "", "PEM file of the authority whose certificate clients must show")
	f.BoolVar(&g.report, "report", true, "send the calls to Kafka, for the detectors")
	if g.kind != "envoy" {
		f.StringSliceVar(&g.trusted, "trusted", []string{"127.0.0.1", "::1"}, "addresses and ranges whose headers are believed")
	}
	g.add(cmd, f)
	cmd.Flags().String("http.addr", "", "where metrics and health of this gate are served; empty: nowhere")
	cmd.Flags().String("keys.verifier", "", "file of the public keys (default: that of the node in --dir)")
	complete(cmd, "fail", []string{"closed", "open"})
	for _, n := range named {
		complete(cmd, n.name+"-from", g.sources())
	}
}

// add adds flags that are read from the environment too.
func (g *gateService) add(cmd *cobra.Command, f *pflag.FlagSet) {
	f.VisitAll(func(f *pflag.Flag) { f.Annotations = map[string][]string{own: nil} })
	cmd.Flags().AddFlagSet(f)
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
	var n gate.Names
	for name, to := range map[string]*gate.Source{
		"tenant": &n.Tenant, "agent": &n.Agent, "identity": &n.Identity, "session": &n.Session, "chain": &n.Chain, "issued": &n.IssuedAt,
	} {
		s, err := gate.ParseSource(*g.from[name])
		if err != nil {
			return n, fmt.Errorf("--%s-from: %w", name, err)
		}
		*to = s
	}
	if g.tenant != "" {
		if n.Tenant.Kind != "" {
			return n, errors.New("either --tenant or --tenant-from")
		}
		n.Tenant = gate.Source{Kind: gate.FromValue, Key: g.tenant}
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
	if len(g.tenants) == 0 && g.tenant != "" {
		return []string{g.tenant}
	}
	return g.tenants
}

// classes say which resources fail closed.
func (g *gateService) classes() (gate.Classes, error) {
	c := gate.Classes{Open: g.fail == "open", Opens: g.failOpen, Closes: g.failClosed}
	if g.fail != "closed" && g.fail != "open" {
		return c, fmt.Errorf("--fail: %q is neither closed nor open%s", g.fail, node.DidYouMean(g.fail, []string{"closed", "open"}))
	}
	if g.maxStale <= 0 || g.drain <= 0 {
		return c, errors.New("--max-stale and --drain must be positive times, such as 30s")
	}
	return c, c.Check()
}

// peers are the addresses whose headers are believed.
func (g *gateService) peers() (httpgate.Peers, error) {
	p, err := httpgate.ParsePeers(g.trusted)
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

// run checks the flags, stands the gate to the node, says where it listens, and serves until
// it is told to end. A flag that is wrong is found before anything is started.
func (g *gateService) run(cmd *cobra.Command, guards string, serve func(context.Context, stand) error) error {
	s, classes, err := g.check()
	if err != nil {
		return usage(cmd, err)
	}
	ctx, stop := untilSignal(cmd)
	defer stop()
	c, err := config(cmd)
	if err != nil {
		return err
	}
	s.log = c.Logger()
	if s.listener, err = net.Listen("tcp", g.listen); err != nil {
		return fmt.Errorf("cannot listen for clients (--listen): %w", err)
	}
	defer s.listener.Close()
	// A kill must be heard while the last calls come to their end.
	s.Gate, err = node.StartGate(context.WithoutCancel(ctx), c, node.GateOptions{
		Name: g.guardName(), Tenants: g.hears(), FailClosed: classes.FailClosed, FailOpen: classes.Open, MaxStale: g.maxStale, File: g.state, Policy: g.policy,
	}, s.log)
	if errors.Is(err, node.ErrNoAddress) {
		err = usageError{err}
	}
	if err != nil {
		return err
	}
	defer s.Close()
	defer context.AfterFunc(ctx, s.Drain)()
	if g.report {
		s.record = s.Emitter.Seen
	}
	fmt.Fprintf(cmd.OutOrStdout(), "estop guards %s\n  listens  %s\n", guards, s.listener.Addr())
	if at := s.MetricsAddr(); at != "" {
		fmt.Fprintf(cmd.OutOrStdout(), "  metrics  http://%s/metrics\n", at)
	}
	return serve(ctx, s)
}

func (g *gateService) check() (stand, gate.Classes, error) {
	var s stand
	if _, _, err := net.SplitHostPort(g.listen); err != nil {
		return s, gate.Classes{}, fmt.Errorf("--listen: %q is not HOST:PORT", g.listen)
	}
	var err error
	if s.names, err = g.names(); err != nil {
		return s, gate.Classes{}, err
	}
	if s.secure, err = serve.TLS(g.cert, g.key, g.clientCA); err != nil {
		return s, gate.Classes{}, fmt.Errorf("--tls-cert, --tls-key, --tls-client-ca: %w", err)
	}
	classes, err := g.classes()
	return s, classes, err
}

// guardName names the guard in acknowledgements.
func (g *gateService) guardName() string {
	if g.name != "" {
		return g.name
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s/%s/%s", host, g.kind, strings.ToLower(rand.Text()[:8]))
}
