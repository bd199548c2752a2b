package node

import (
	"fmt"
	"net/url"
	"time"

	"github.com/estop-project/estop/pipeline/gate/mcp"
	"github.com/estop-project/estop/revoke/gate"
	"github.com/estop-project/estop/revoke/gate/httpgate"
)

// GateSettings are what 'estop gate' is told: of its flag --agent-from the key is gate.agent_from. Which of them
// a gate takes is its own.
type GateSettings struct {
	Listen   string `config:"listen"`
	Upstream string `config:"upstream"` // the service that is guarded, a URL
	Name     string `config:"name"`     // of the guard, in acknowledgements; empty: made up
	State    string `config:"state"`    // file of what is known; empty: none
	Policy   string `config:"policy"`   // folder or file of Cedar policies; empty: none

	Tenant   string   `config:"tenant"`
	Tenants  []string `config:"tenants"` // whose calls come
	Agent    string   `config:"agent"`
	Identity string   `config:"identity"`
	Session  string   `config:"session"`
	Chain    string   `config:"chain"` // root first, with commas; an empty member is a mistake

	TenantFrom   string   `config:"tenant_from"` // as gate.ParseSource has them
	AgentFrom    string   `config:"agent_from"`
	IdentityFrom string   `config:"identity_from"`
	SessionFrom  string   `config:"session_from"`
	ChainFrom    string   `config:"chain_from"`
	IssuedFrom   string   `config:"issued_from"`
	Trusted      []string `config:"trusted"` // whose headers are believed
	Form         string   `config:"form"`    // of what a proxy asks

	Fail       string        `config:"fail"` // closed or open
	FailOpen   []string      `config:"fail_open"`
	FailClosed []string      `config:"fail_closed"`
	MaxStale   time.Duration `config:"max_stale"`
	Drain      time.Duration `config:"drain"`
	Report     bool          `config:"report"` // send the calls to Kafka

	TLSCert     string `config:"tls_cert"`
	TLSKey      string `config:"tls_key"`
	TLSClientCA string `config:"tls_client_ca"`

	Server     string        `config:"server"` // of MCP, as resources name it
	Methods    []string      `config:"methods"`
	MaxMessage int           `config:"max_message"` // bytes
	Grace      time.Duration `config:"grace"`
}

// DefaultGate are the settings of a gate where nothing else is said.
func DefaultGate() GateSettings {
	return GateSettings{
		Trusted: []string{"127.0.0.1", "::1"}, Form: string(httpgate.FormAny),
		Fail: "closed", MaxStale: 30 * time.Second, Drain: 15 * time.Second, Report: true,
		Methods: mcp.Methods(), MaxMessage: mcp.DefaultMaxMessage, Grace: mcp.DefaultGrace,
	}
}

// sources are where names are read from, by key.
func (s GateSettings) sources(n *gate.Names) []struct {
	key, text string
	to        *gate.Source
} {
	return []struct {
		key, text string
		to        *gate.Source
	}{
		{"gate.tenant_from", s.TenantFrom, &n.Tenant}, {"gate.agent_from", s.AgentFrom, &n.Agent},
		{"gate.identity_from", s.IdentityFrom, &n.Identity}, {"gate.session_from", s.SessionFrom, &n.Session},
		{"gate.chain_from", s.ChainFrom, &n.Chain}, {"gate.issued_from", s.IssuedFrom, &n.IssuedAt},
	}
}

// Sources says from where each name is read; those of which nothing is said have no kind.
func (s GateSettings) Sources() (gate.Names, error) {
	var n gate.Names
	for _, f := range s.sources(&n) {
		from, err := gate.ParseSource(f.text)
		if err != nil {
			return n, fmt.Errorf("%s: %w", f.key, err)
		}
		*f.to = from
	}
	return n, nil
}

// Classes say which resources fail closed.
func (s GateSettings) Classes() gate.Classes {
	return gate.Classes{Open: s.Fail == "open", Opens: s.FailOpen, Closes: s.FailClosed}
}

func (s GateSettings) check(found *problems) {
	found.address("gate.listen", s.Listen)
	if s.Upstream != "" && !isHTTP(s.Upstream) {
		found.add("gate.upstream", fmt.Sprintf("%q is not a URL such as http://127.0.0.1:3000", withoutPassword(s.Upstream)))
	}
	for _, f := range s.sources(&gate.Names{}) {
		if _, err := gate.ParseSource(f.text); err != nil {
			found.add(f.key, err.Error())
		}
	}
	if _, err := httpgate.ParsePeers(s.Trusted); err != nil {
		found.add("gate.trusted", err.Error())
	}
	var forms []string
	for _, f := range httpgate.Forms() {
		forms = append(forms, string(f))
	}
	found.oneOf("gate.form", s.Form, forms...)
	s.checkFailing(found)
	if (s.TLSCert == "") != (s.TLSKey == "") {
		found.add("gate.tls_cert", "a certificate and its key belong together: gate.tls_cert and gate.tls_key")
	}
	if len(s.Methods) == 0 {
		found.add("gate.methods", "name at least one, such as tools/call")
	}
	found.between("gate.max_message", int64(s.MaxMessage), 1<<10, 1<<30)
	found.positive("gate.drain", s.Drain)
	found.positive("gate.grace", s.Grace)
}

func (s GateSettings) checkFailing(found *problems) {
	found.oneOf("gate.fail", s.Fail, "closed", "open")
	if err := (gate.Classes{Opens: s.FailOpen}).Check(); err != nil {
		found.add("gate.fail_open", err.Error())
	}
	if err := (gate.Classes{Closes: s.FailClosed}).Check(); err != nil {
		found.add("gate.fail_closed", err.Error())
	}
	found.positive("gate.max_stale", s.MaxStale)
}

func isHTTP(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}
