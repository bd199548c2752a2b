package mcp

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/estop-project/estop/pipeline/telemetry"
	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/gate"
	"github.com/estop-project/estop/revoke/guard"
)

// Caller is whose calls come: what stands in every call of a client.
type Caller struct {
	Tenant   string
	Agent    string
	Identity string
	Session  string
	Chain    []string // root first; the acting agent last
	// IssuedAt is when the credential was issued. Zero: not known; no revocation lets it pass.
	IssuedAt time.Time
	// Traceparent is for calls that carry none of their own.
	Traceparent string
}

// Check says what is wrong with the names. Without them, calls would be denied one by one.
func (c Caller) Check() error {
	if c.Tenant == "" || c.Agent == "" {
		return errors.New("a tenant and an agent are needed: whose calls are these?")
	}
	if len(c.Tenant) > revoke.MaxTenant {
		return fmt.Errorf("the tenant's name has %d bytes; a revocation can carry %d", len(c.Tenant), revoke.MaxTenant)
	}
	for _, name := range append([]string{c.Tenant, c.Agent, c.Identity, c.Session}, c.Chain...) {
		if len(name) > revoke.MaxSubject {
			return fmt.Errorf("the name %.20q… has %d bytes; a revocation can carry %d", name, len(name), revoke.MaxSubject)
		}
		if !utf8.ValidString(name) || strings.ContainsRune(name, 0) {
			return fmt.Errorf("the name %q is not a text", name)
		}
	}
	if len(c.Chain) > telemetry.DefaultMaxChain {
		return fmt.Errorf("the chain has %d members; %d can be reported", len(c.Chain), telemetry.DefaultMaxChain)
	}
	if slices.Contains(c.Chain, "") {
		return errors.New("the chain has a member without a name")
	}
	return nil
}

// withAgent returns the caller with its agent as the last of the chain, if there is one.
func (c Caller) withAgent() Caller {
	if n := len(c.Chain); n > 0 && c.Chain[n-1] != c.Agent {
		c.Chain = append(slices.Clone(c.Chain), c.Agent)
	}
	return c
}

// guardCall is what the guard must know of a call.
func (c *Caller) guardCall(action, resource string) guard.Call {
	return guard.Call{
		Tenant: c.Tenant, Agent: c.Agent, Identity: c.Identity, Session: c.Session, Chain: c.Chain,
		CredentialIssuedAt: c.IssuedAt, Action: action, Resource: resource,
	}
}

// SessionHeader is where streamable HTTP carries its session.
const SessionHeader = "Mcp-Session-Id"

// Identify returns who calls over HTTP, from what facts knows of a request. Where nothing says the
// session, it is a hash of the MCP session, whose id itself is a secret between client and server.
func Identify(names gate.Names, facts func(*http.Request) (gate.Facts, error)) func(*http.Request) (Caller, error) {
	return func(r *http.Request) (Caller, error) {
		f, err := facts(r)
		if err != nil {
			return Caller{}, err
		}
		c, err := names.Call(f)
		if err != nil {
			return Caller{}, err
		}
		who := Caller{Tenant: c.Tenant, Agent: c.Agent, Identity: c.Identity, Session: c.Session, Chain: c.Chain, IssuedAt: c.CredentialIssuedAt}
		if id := r.Header.Get(SessionHeader); who.Session == "" && id != "" {
			sum := sha256.Sum256([]byte(id))
			who.Session = "mcp-" + hex.EncodeToString(sum[:12])
		}
		if t := r.Header.Get("Traceparent"); traceparent(t) {
			who.Traceparent = t
		}
		return who.withAgent(), who.Check()
	}
}
