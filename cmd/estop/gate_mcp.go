package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/estop-project/estop/pipeline/gate/mcp"
	"github.com/estop-project/estop/pipeline/gate/serve"
	"github.com/estop-project/estop/pipeline/node"
	"github.com/estop-project/estop/revoke/gate"
	"github.com/estop-project/estop/revoke/gate/httpgate"
)

const gateMCPHelp = `Stands between an agent's client and an MCP server. Each call is decided before the server
sees it, and reported to the detector; a revocation answers the calls in flight at once,
tells the server to give them up, and refuses the next ones with the reason.

With a command behind -- it starts a server that talks over its standard input and output,
and ends with the server's exit code. With --listen and --upstream it stands in front of a
server that speaks streamable HTTP.

In the configuration of a client:

  {"mcpServers": {"files": {
    "command": "estop",
    "args": ["gate", "mcp", "--dir", "/var/lib/estop", "--tenant", "acme", "--agent", "invoice-bot",
             "--", "npx", "-y", "@modelcontextprotocol/server-filesystem", "/srv/invoices"]
  }}}

It finds the node that runs in --dir by itself. A node elsewhere is named by --nats.url,
--kafka.brokers and --keys.verifier. What a client can write is no identity: headers that
name the agent must be set by whatever authenticates it in front of the gate (--trusted).

Flags of this command stand in the environment, ESTOP_GATE_AGENT for --agent, or in the
configuration file, gate.agent, too; the flag is the strongest.`

// gateMCP is 'estop gate mcp' with its settings.
type gateMCP struct {
	node.GateSettings
	caller mcp.Caller
}

func newGateMCP() *cobra.Command {
	var g gateMCP
	cmd := &cobra.Command{
		Use:   "mcp [flags] -- COMMAND [ARGUMENT]…",
		Short: "Put an agent's MCP tools under the switch",
		Long:  gateMCPHelp,
		Example: "  estop gate mcp --tenant acme --agent invoice-bot -- npx -y @modelcontextprotocol/server-everything\n" +
			"  estop gate mcp --tenant acme --agent-from header:X-Agent --listen 127.0.0.1:8808 --upstream http://127.0.0.1:3001",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := config(cmd)
			if err != nil {
				return err
			}
			g.GateSettings = c.Gate
			if err := g.check(cmd, args); err != nil {
				return usage(cmd, err)
			}
			return g.run(cmd, c, args)
		},
	}
	g.flags(cmd)
	return cmd
}

// namedMCP are the names of a call that can be read from a request.
var namedMCP = []struct{ name, help string }{
	{"tenant", "where the tenant is read from: header:NAME, principal, spiffe:trust-domain"},
	{"agent", "where the agent is read from: header:NAME, principal, spiffe:path"},
	{"identity", "where the credential or role is read from"},
	{"session", "where the run or conversation is read from"},
	{"chain", "where the delegation chain is read from: a list with commas, root first"},
	{"issued", "where the time is read from at which the credential was issued"},
}

func (g *gateMCP) flags(cmd *cobra.Command) {
	f, d := pflag.NewFlagSet("gate", pflag.ContinueOnError), node.DefaultGate()
	f.String("tenant", d.Tenant, "the tenant in whose context the calls happen")
	f.String("agent", d.Agent, "the agent whose calls these are")
	f.String("identity", d.Identity, "the credential or role it acts with")
	f.String("session", d.Session, "its run or conversation (default: one for each start, or for each MCP session over HTTP)")
	f.String("chain", d.Chain, "its delegation chain, root first: a list with commas")
	f.String("server", d.Server, "name of the server in resources, mcp://SERVER/TOOL (default: that of its command or host)")
	f.StringSlice("methods", d.Methods, "the requests that are calls: decided and reported; all others pass")
	f.String("fail", d.Fail, "closed: deny while the revocations are out of reach; open: pass on what is known")
	f.StringSlice("fail-open", d.FailOpen, "resources that fail open all the same: mcp://notes/read_*")
	f.StringSlice("fail-closed", d.FailClosed, "resources that fail closed all the same: mcp://notes/delete_*")
	f.Duration("max-stale", d.MaxStale, "how long they may be out of reach before that")
	f.Duration("grace", d.Grace, "how long the server has to end, and again after SIGTERM; over HTTP: calls in flight")
	f.Int("max-message", d.MaxMessage, "the largest message, in bytes")
	f.String("name", d.Name, "name of this gate in acknowledgements, unique (default: host, server and a random part)")
	f.String("policy", d.Policy, "folder or file of Cedar policies that decide what the guard lets through; live when edited (default: the guard alone decides)")
	f.Bool("report", d.Report, "send the calls to Kafka, for the detectors")
	f.String("listen", d.Listen, "serve streamable HTTP here, HOST:PORT")
	f.String("upstream", d.Upstream, "the server that is guarded, a URL")
	for _, n := range namedMCP {
		f.String(n.name+"-from", "", "over HTTP: "+n.help)
	}
	f.StringSlice("trusted", d.Trusted, "over HTTP: addresses and ranges whose headers are believed")
	f.String("tls-cert", d.TLSCert, "over HTTP: PEM file of the certificate to serve with (default: without TLS)")
	f.String("tls-key", d.TLSKey, "over HTTP: PEM file of its key")
	f.String("tls-client-ca", d.TLSClientCA, "over HTTP: PEM file of the authority whose certificate clients must show")
	f.String("state", d.State, "file that keeps what is known, so that a restart without NATS denies what was revoked; one for each gate")
	addGateFlags(cmd, f)
	complete(cmd, "fail", []string{"closed", "open"})
	complete(cmd, "methods", mcp.Methods())
}

func (g *gateMCP) check(cmd *cobra.Command, args []string) error {
	http := g.Listen != "" || g.Upstream != ""
	switch {
	case http && len(args) > 0:
		return errors.New("either a command behind --, or --listen and --upstream")
	case http && (g.Listen == "" || g.Upstream == ""):
		return errors.New("--listen and --upstream belong together")
	case !http && len(args) == 0:
		return errors.New("name the server's command behind --, or --listen and --upstream")
	case !http && cmd.ArgsLenAtDash() != 0:
		return errors.New("put -- in front of the server's command, so that its flags are its own")
	case !http && g.TenantFrom+g.AgentFrom+g.IdentityFrom+g.SessionFrom+g.ChainFrom+g.IssuedFrom != "":
		return errors.New("--agent-from and its like are for --listen; a server behind -- has one agent")
	}
	if err := g.checkCaller(); err != nil {
		return err
	}
	return g.nameAll(args)
}

func (g *gateMCP) checkCaller() error {
	g.caller = mcp.Caller{Tenant: g.Tenant, Agent: g.Agent, Identity: g.Identity, Session: g.Session}
	if g.Chain != "" {
		g.caller.Chain = strings.Split(g.Chain, ",")
	}
	who := g.caller
	for _, f := range []struct {
		name, from string
		text       *string
	}{{"tenant", g.TenantFrom, &who.Tenant}, {"agent", g.AgentFrom, &who.Agent}} {
		switch {
		case *f.text == "" && f.from == "":
			return fmt.Errorf("--%s is needed: whose calls are these?", f.name)
		case *f.text == "":
			*f.text = "from " + f.from
		}
	}
	if err := who.Check(); err != nil {
		return err
	}
	_, err := g.names()
	return err
}

// names says from where each name is read: what is said of it, or its source.
func (g *gateMCP) names() (gate.Names, error) {
	n, err := g.Sources()
	if err != nil {
		return n, err
	}
	for _, f := range []struct {
		name, said string
		from       *gate.Source
	}{
		{"tenant", g.Tenant, &n.Tenant}, {"agent", g.Agent, &n.Agent}, {"identity", g.Identity, &n.Identity},
		{"session", g.Session, &n.Session}, {"chain", g.Chain, &n.Chain},
	} {
		switch {
		case f.said == "":
		case f.from.Kind != "":
			return n, fmt.Errorf("either --%s or --%s-from", f.name, f.name)
		default:
			*f.from = gate.Source{Kind: gate.FromValue, Key: f.said}
		}
	}
	return n, n.Check(gate.FromHeader, gate.FromPrincipal, gate.FromSPIFFE, gate.FromValue)
}

// nameAll gives names to what has none.
func (g *gateMCP) nameAll(args []string) error {
	if g.Upstream != "" {
		if u, err := url.Parse(g.Upstream); err == nil && g.Server == "" {
			g.Server = u.Host
		}
	} else if g.caller.Session == "" {
		g.caller.Session = "mcp-" + strings.ToLower(rand.Text()[:16])
	}
	if g.Server == "" {
		g.Server = serverName(args)
	}
	if strings.Contains(g.Server, "/") {
		return fmt.Errorf("--server: %q has a slash", g.Server)
	}
	if g.Name == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "unknown"
		}
		g.Name = fmt.Sprintf("%s/mcp/%s/%s", host, g.Server, strings.ToLower(rand.Text()[:8]))
	}
	return nil
}

// serverName makes a name out of a command: that of the package or script that a runner runs,
// else of the program.
func serverName(argv []string) string {
	runners := []string{"npx", "uvx", "node", "python", "python3", "deno", "bun", "bunx", "sh", "bash", "docker", "go", "uv"}
	name := filepath.Base(argv[0])
	if slices.Contains(runners, name) {
		for _, a := range argv[1:] {
			if !strings.HasPrefix(a, "-") && a != "run" {
				name = filepath.Base(a)
				break
			}
		}
	}
	return name
}

func (g *gateMCP) run(cmd *cobra.Command, c node.Config, args []string) error {
	// A client that is gone is an error of a write, and no end without a word.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	ctx, stop := untilSignal(cmd)
	defer stop()
	log, classes := c.Logger(), g.Classes()
	o := node.GateOptions{
		Name: g.Name, FailClosed: classes.FailClosed, FailOpen: classes.Open, MaxStale: g.MaxStale, File: g.State, Policy: g.Policy,
	}
	if g.Tenant != "" {
		o.Tenants = []string{g.Tenant}
	}
	stand, err := node.StartGate(context.WithoutCancel(ctx), c, o, log) // a kill must be heard to the end
	if errors.Is(err, node.ErrNoAddress) {
		err = usageError{err}
	}
	if err != nil {
		return err
	}
	defer stand.Close()
	mo := mcp.Options{
		Guard: stand.Guard, Server: g.Server, Methods: g.Methods, MaxMessage: g.MaxMessage,
		Authorize: stand.Authorize, Registerer: stand.Registry, Logger: log,
	}
	if g.Report {
		mo.Report = stand.Emitter.Emit
	}
	m, err := mcp.New(mo)
	if err != nil {
		return err
	}
	if g.Listen != "" {
		return g.serve(ctx, cmd, m, stand.MetricsAddr(), log)
	}
	return m.Run(ctx, g.caller, mcp.Stdio{
		Argv: args, Env: withoutSecrets(os.Environ()), In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Grace: g.Grace,
	})
}

// withoutSecrets is an environment without what configures estop: the server has no business
// with the keys to the switch.
func withoutSecrets(environ []string) []string {
	return slices.DeleteFunc(environ, func(e string) bool { return strings.HasPrefix(e, node.EnvPrefix) })
}

func (g *gateMCP) serve(ctx context.Context, cmd *cobra.Command, m *mcp.Gate, metrics string, log *slog.Logger) error {
	upstream, err := url.Parse(g.Upstream)
	if err != nil {
		return err
	}
	names, err := g.names()
	if err != nil {
		return err
	}
	peers, err := httpgate.ParsePeers(g.Trusted)
	if err != nil {
		return usageError{fmt.Errorf("--trusted: %w", err)}
	}
	secure, err := serve.TLS(g.TLSCert, g.TLSKey, g.TLSClientCA)
	if err != nil {
		return usageError{fmt.Errorf("--tls-cert, --tls-key, --tls-client-ca: %w", err)}
	}
	l, err := net.Listen("tcp", g.Listen)
	if err != nil {
		return fmt.Errorf("cannot listen for clients (--listen): %w", err)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "estop guards %s\n  listens  %s\n", upstream.Redacted(), l.Addr())
	if metrics != "" {
		fmt.Fprintf(cmd.OutOrStdout(), "  metrics  http://%s/metrics\n", metrics)
	}
	h := mcp.LocalOnly(l.Addr(), m.Handler(upstream, mcp.Identify(names, peers.Facts)))
	return serve.HTTP(ctx, l, h, secure, g.Grace, log)
}
