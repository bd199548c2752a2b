package httpgate

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/estop-project/estop/revoke/gate"
	"github.com/estop-project/estop/revoke/guard"
)

// Form is in which headers a proxy describes the request that it asks about.
type Form string

// The forms. FormAny takes either, and denies what bears both: a client that could add the
// other form's headers would describe its own request.
const (
	FormForwarded Form = "x-forwarded" // X-Forwarded-Method and -Uri: Traefik, Caddy
	FormOriginal  Form = "x-original"  // X-Original-Method and -URI or -URL: nginx
	FormAny       Form = "any"
)

// Forms are all forms.
func Forms() []Form { return []Form{FormAny, FormForwarded, FormOriginal} }

// ForwardAuthOptions say who asks, and how.
type ForwardAuthOptions struct {
	// Names say whose request it is, from headers that the proxy sets, and that it takes away
	// where clients send them.
	Names   gate.Names
	Trusted Peers // the proxies
	Form    Form  // empty: FormAny
	// Authorize decides by policies what the guard lets through. nil: the guard alone decides.
	Authorize gate.Authorizer
	// Record is told of each request that was asked about. nil: nobody is.
	Record func(gate.Seen)
}

// ForwardAuth is the endpoint that a proxy asks before it passes a request on: nginx's
// auth_request, Traefik's ForwardAuth, Caddy's forward_auth. It answers 200, or 403, or 429
// with Retry-After; to nginx 403 also in place of 429, for it knows no other refusal: there
// the header X-Estop-Verdict tells the difference.
//
// A proxy asks once, when a request begins: what is in flight is not cut.
type ForwardAuth struct {
	guard *guard.Guard
	o     ForwardAuthOptions
}

// OfferedForward are the kinds of source that the names of a forward-auth endpoint may have.
func OfferedForward() []gate.Kind { return []gate.Kind{gate.FromHeader, gate.FromValue} }

// NewForwardAuth returns an endpoint around a guard.
func NewForwardAuth(g *guard.Guard, o ForwardAuthOptions) (*ForwardAuth, error) {
	if o.Form == "" {
		o.Form = FormAny
	}
	switch {
	case g == nil:
		return nil, errors.New("cannot make forward-auth gate: no guard")
	case o.Form != FormAny && o.Form != FormForwarded && o.Form != FormOriginal:
		return nil, fmt.Errorf("cannot make forward-auth gate: unknown form %q", o.Form)
	}
	return &ForwardAuth{g, o}, o.Names.Check(OfferedForward()...)
}

// ServeHTTP answers a proxy.
func (f *ForwardAuth) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	call, err := f.identify(r)
	if err != nil {
		refuse(w, http.StatusForbidden, gate.Unidentified(f.guard, err))
		return
	}
	a := f.o.Authorize.Decide(f.guard, f.guard.Check(&call), gate.Request{
		Call: call, Time: start, Reads: gate.Reads(call.Action), Gate: "forward-auth",
	})
	if f.o.Record != nil {
		seen := gate.Seen{Call: call, Time: start, Kind: "forward-auth", Traceparent: r.Header.Get("Traceparent"), Revocation: a.Revocation}
		seen.Refused(a)
		f.o.Record(seen)
	}
	switch {
	case a.Allowed:
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Estop-Verdict", a.Verdict.String())
	case a.RetryAfter > 0 && r.Header.Get("X-Original-Method") == "":
		refuse(w, http.StatusTooManyRequests, a)
	default:
		refuse(w, http.StatusForbidden, a)
	}
}

func (f *ForwardAuth) identify(r *http.Request) (guard.Call, error) {
	if !f.o.Trusted.trust(r) {
		return guard.Call{}, errors.New("who asks is not one of the trusted proxies")
	}
	method, path, err := f.o.Form.read(r.Header)
	if err != nil {
		return guard.Call{}, err
	}
	call, err := f.o.Names.Call(gate.Facts{Header: func(name string) []string { return r.Header.Values(name) }})
	call.Action, call.Resource = method, path
	return call, err
}

// read returns the method and the path of the request that is asked about.
func (f Form) read(h http.Header) (method, path string, err error) {
	forwarded, original := have(h, "X-Forwarded-Method", "X-Forwarded-Uri"), have(h, "X-Original-Method", "X-Original-Uri", "X-Original-Url")
	switch {
	case f != FormOriginal && f != FormForwarded && forwarded && original:
		return "", "", errors.New("both X-Forwarded-… and X-Original-… describe the request; choose one form, and take the other's headers away from clients")
	case f == FormForwarded || f == FormAny && forwarded:
		return request(h, "X-Forwarded-Method", "X-Forwarded-Uri")
	}
	uri := "X-Original-Uri"
	if len(h.Values("X-Original-Url")) > 0 {
		if len(h.Values(uri)) > 0 {
			return "", "", errors.New("both X-Original-URI and X-Original-URL describe the request")
		}
		uri = "X-Original-Url"
	}
	return request(h, "X-Original-Method", uri)
}

func have(h http.Header, names ...string) bool {
	for _, name := range names {
		if len(h.Values(name)) > 0 {
			return true
		}
	}
	return false
}

// request reads a request out of two headers. Each must be there once.
func request(h http.Header, methodIn, uriIn string) (method, path string, err error) {
	methods, uris := h.Values(methodIn), h.Values(uriIn)
	if len(methods) != 1 || len(uris) != 1 || methods[0] == "" || uris[0] == "" {
		return "", "", fmt.Errorf("the proxy must send %s and %s, each once", methodIn, uriIn)
	}
	u, err := url.ParseRequestURI(uris[0])
	if err != nil {
		return "", "", fmt.Errorf("%s is no URI", uriIn)
	}
	if !strings.HasPrefix(u.Path, "/") {
		u.Path = "/" + u.Path
	}
	return methods[0], u.Path, nil
}
