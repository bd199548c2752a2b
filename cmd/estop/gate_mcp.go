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
	"time"

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

Flags of this command are read from the environment too: ESTOP_GATE_AGENT for --agent.`

// gateMCP holds the flags of 'estop gate mcp'.
type gateMCP struct {
	caller           mcp.Caller
	from             map[string]*string // by name of the call: its source
	trusted          []string
	cert, key, ca    string
	state            string
	server, name     string
	methods          []string
	fail             string
	maxStale, grace  time.Duration
	maxMessage       int
	listen, upstream string
	policy           string
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
			if err := fromEnv(cmd); err != nil {
				return usage(cmd, err)
			}
			if err := g.check(cmd, args); err != nil {
				return usage(cmd, err)
			}
			return g.run(cmd, args)
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

// own marks the flags that are read from ESTOP_GATE_….
const own = "estop-gate"

func (g *gateMCP) flags(cmd *cobra.Command) {
	f := pflag.NewFlagSet("gate", pflag.ContinueOnError)
	f.StringVar(&g.caller.Tenant, "tenant", "", "the tenant in whose context the calls happen")
	f.StringVar(&g.caller.Agent, "agent", "", "the agent whose calls these are")
	f.StringVar(&g.caller.Identity, "identity", "", "the credential or role it acts with")
	f.StringVar(&g.caller.Session, "session", "", "its run or conversation (default: one for each start, or for each MCP session over HTTP)")
	f.StringSliceVar(&g.caller.Chain, "chain", nil, "its delegation chain, root first")
	f.StringVar(&g.server, "server", "", "name of the server in resources, mcp://SERVER/TOOL (default: that of its command or host)")
	f.StringSliceVar(&g.methods, "methods", mcp.Methods(), "the requests that are calls: decided and reported; all others pass")
	f.StringVar(&g.fail, "fail", "closed", "closed: deny while the revocations are out of reach; open: pass on what is known")
	f.DurationVar(&g.maxStale, "max-stale", 30*time.Second, "how long they may be out of reach before that")
	f.DurationVar(&g.grace, "grace", mcp.DefaultGrace, "how long the server has to end, and again after SIGTERM; over HTTP: calls in flight")
	f.IntVar(&g.maxMessage, "max-message", mcp.DefaultMaxMessage, "the largest message, in bytes")
	f.StringVar(&g.name, "name", "", "name of this gate in acknowledgements, unique (default: host, server and a random part)")
	f.StringVar(&g.policy, "policy", "", "folder or file of Cedar policies that decide what the guard lets through; live when edited (default: the guard alone decides)")
	f.StringVar(&g.listen, "listen", "", "serve streamable HTTP here, HOST:PORT")
	f.StringVar(&g.upstream, "upstream", "", "the server that is guarded, a URL")
	g.from = map[string]*string{}
	for _, n := range namedMCP {
		g.from[n.name] = f.String(n.name+"-from", "", "over HTTP: "+n.help)
	}
	f.StringSliceVar(&g.trusted, "trusted", []string{"127.0.0.1", "::1"}, "over HTTP: addresses and ranges whose headers are believed")
	f.StringVar(&g.cert, "tls-cert", "", "over HTTP: PEM file of the certificate to serve with (default: without TLS)")
	f.StringVar(&g.key, "tls-key", "", "over HTTP: PEM file of its key")
	f.StringVar(&g.ca, "tls-client-ca", "", "over HTTP: PEM file of the authority whose certificate clients must show")
	f.StringVar(&g.state, "state", "", "file that keeps what is known, so that a restart without NATS denies what was revoked; one for each gate")
	f.VisitAll(func(f *pflag.Flag) { f.Annotations = map[string][]string{own: nil} })
	cmd.Flags().AddFlagSet(f)
	cmd.Flags().String("http.addr", "", "where metrics and health of this gate are served; empty: nowhere")
	cmd.Flags().String("keys.verifier", "", "file of the public keys (default: that of the node in --dir)")
	complete(cmd, "fail", []string{"closed", "open"})
	complete(cmd, "methods", mcp.Methods())
}

// fromEnv sets the flags of this command that were not given and stand in the environment.
func fromEnv(cmd *cobra.Command) error {
	var err error
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if _, ok := f.Annotations[own]; !ok || f.Changed {
			return
		}
		name := node.EnvName("gate." + strings.ReplaceAll(f.Name, "-", "_"))
		if v := os.Getenv(name); v != "" {
			if e := cmd.Flags().Set(f.Name, v); e != nil {
				err = errors.Join(err, fmt.Errorf("%s: %w", name, e))
			}
		}
	})
	return err
}

func (g *gateMCP) check(cmd *cobra.Command, args []string) error {
	http := g.listen != "" || g.upstream != ""
	switch {
	case http && len(args) > 0:
		return errors.New("either a command behind --, or --listen and --upstream")
	case http && (g.listen == "" || g.upstream == ""):
		return errors.New("--listen and --upstream belong together")
	case !http && len(args) == 0:
		return errors.New("name the server's command behind --, or --listen and --upstream")
	case !http && cmd.ArgsLenAtDash() != 0:
		return errors.New("put -- in front of the server's command, so that its flags are its own")
	case !http && g.reads():
		return errors.New("--agent-from and its like are for --listen; a server behind -- has one agent")
	case g.fail != "closed" && g.fail != "open":
		return fmt.Errorf("--fail: %q is neither closed nor open%s", g.fail, node.DidYouMean(g.fail, []string{"closed", "open"}))
	case g.maxStale <= 0 || g.grace <= 0:
		return errors.New("--max-stale and --grace must be positive times, such as 30s")
	case len(g.methods) == 0 || slices.Contains(g.methods, ""):
		return errors.New("--methods: name at least one, such as tools/call")
	case g.maxMessage < 1<<10:
		return errors.New("--max-message: at least 1024 bytes")
	}
	if err := g.checkCaller(); err != nil {
		return err
	}
	return g.nameAll(args)
}

// reads reports whether a name is read from requests.
func (g *gateMCP) reads() bool {
	for _, text := range g.from {
		if *text != "" {
			return true
		}
	}
	return false
}

func (g *gateMCP) checkCaller() error {
	who, n := g.caller, g.from
	for _, f := range []struct {
		name string
		text *string
	}{{"tenant", &who.Tenant}, {"agent", &who.Agent}} {
		switch from := *n[f.name]; {
		case *f.text == "" && from == "":
			return fmt.Errorf("--%s is needed: whose calls are these?", f.name)
		case *f.text == "":
			*f.text = "from " + from
		}
	}
	if err := who.Check(); err != nil {
		return err
	}
	_, err := g.names()
	return err
}

// names says from where each name is read: what a flag says of it, or its source.
func (g *gateMCP) names() (gate.Names, error) {
	c := g.caller
	fixed := map[string]string{"tenant": c.Tenant, "agent": c.Agent, "identity": c.Identity, "session": c.Session, "chain": strings.Join(c.Chain, ",")}
	var n gate.Names
	for name, to := range map[string]*gate.Source{
		"tenant": &n.Tenant, "agent": &n.Agent, "identity": &n.Identity, "session": &n.Session, "chain": &n.Chain, "issued": &n.IssuedAt,
	} {
		from, err := gate.ParseSource(*g.from[name])
		switch {
		case err != nil:
			return n, fmt.Errorf("--%s-from: %w", name, err)
		case fixed[name] == "":
			*to = from
		case from.Kind != "":
			return n, fmt.Errorf("either --%s or --%s-from", name, name)
		default:
			*to = gate.Source{Kind: gate.FromValue, Key: fixed[name]}
		}
	}
	return n, n.Check(gate.FromHeader, gate.FromPrincipal, gate.FromSPIFFE, gate.FromValue)
}

// nameAll gives names to what has none.
func (g *gateMCP) nameAll(args []string) error {
	if g.upstream != "" {
		u, err := url.Parse(g.upstream)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
			return fmt.Errorf("--upstream: %q is not a URL such as http://127.0.0.1:3001", g.upstream)
		}
		if _, _, err := net.SplitHostPort(g.listen); err != nil {
			return fmt.Errorf("--listen: %q is not HOST:PORT", g.listen)
		}
		if g.server == "" {
			g.server = u.Host
		}
	} else if g.caller.Session == "" {
		g.caller.Session = "mcp-" + strings.ToLower(rand.Text()[:16])
	}
	if g.server == "" {
		g.server = serverName(args)
	}
	if strings.Contains(g.server, "/") {
		return fmt.Errorf("--server: %q has a slash", g.server)
	}
	if g.name == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "unknown"
		}
		g.name = fmt.Sprintf("%s/mcp/%s/%s", host, g.server, strings.ToLower(rand.Text()[:8]))
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

func (g *gateMCP) run(cmd *cobra.Command, args []string) error {
	// A client that is gone is an error of a write, and no end without a word.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	ctx, stop := untilSignal(cmd)
	defer stop()
	c, err := config(cmd)
	if err != nil {
		return err
	}
	log := c.Logger()
	o := node.GateOptions{Name: g.name, FailOpen: g.fail == "open", MaxStale: g.maxStale, File: g.state, Policy: g.policy}
	if g.caller.Tenant != "" {
		o.Tenants = []string{g.caller.Tenant}
	}
	stand, err := node.StartGate(context.WithoutCancel(ctx), c, o, log) // a kill must be heard to the end
	if errors.Is(err, node.ErrNoAddress) {
		err = usageError{err}
	}
	if err != nil {
		return err
	}
	defer stand.Close()
	m, err := mcp.New(mcp.Options{
		Guard: stand.Guard, Server: g.server, Methods: g.methods, MaxMessage: g.maxMessage,
		Authorize: stand.Authorize, Report: stand.Emitter.Emit, Registerer: stand.Registry, Logger: log,
	})
	if err != nil {
		return err
	}
	if g.listen != "" {
		return g.serve(ctx, cmd, m, stand.MetricsAddr(), log)
	}
	return m.Run(ctx, g.caller, mcp.Stdio{
		Argv: args, Env: withoutSecrets(os.Environ()), In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Grace: g.grace,
	})
}

// withoutSecrets is an environment without what configures estop: the server has no business
// with the keys to the switch.
func withoutSecrets(environ []string) []string {
	return slices.DeleteFunc(environ, func(e string) bool { return strings.HasPrefix(e, node.EnvPrefix) })
}

func (g *gateMCP) serve(ctx context.Context, cmd *cobra.Command, m *mcp.Gate, metrics string, log *slog.Logger) error {
	upstream, err := url.Parse(g.upstream)
	if err != nil {
		return err
	}
	names, err := g.names()
	if err != nil {
		return err
	}
	peers, err := httpgate.ParsePeers(g.trusted)
	if err != nil {
		return usageError{fmt.Errorf("--trusted: %w", err)}
	}
	secure, err := serve.TLS(g.cert, g.key, g.ca)
	if err != nil {
		return usageError{fmt.Errorf("--tls-cert, --tls-key, --tls-client-ca: %w", err)}
	}
	l, err := net.Listen("tcp", g.listen)
	if err != nil {
		return fmt.Errorf("cannot listen for clients (--listen): %w", err)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "estop guards %s\n  listens  %s\n", upstream.Redacted(), l.Addr())
	if metrics != "" {
		fmt.Fprintf(cmd.OutOrStdout(), "  metrics  http://%s/metrics\n", metrics)
	}
	h := mcp.LocalOnly(l.Addr(), m.Handler(upstream, mcp.Identify(names, peers.Facts)))
	return serve.HTTP(ctx, l, h, secure, g.grace, log)
}
