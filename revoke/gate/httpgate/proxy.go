// Package httpgate has the gates that speak HTTP: a reverse proxy in front of a service, and
// the endpoint that nginx, Traefik and Caddy ask before they pass a request on.
package httpgate

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"

	"github.com/estop-project/estop/revoke/gate"
	"github.com/estop-project/estop/revoke/guard"
)

// Offered are the kinds of source that the names of a proxy may have.
func Offered() []gate.Kind {
	return []gate.Kind{gate.FromHeader, gate.FromPrincipal, gate.FromSPIFFE, gate.FromValue}
}

// ProxyOptions say what a proxy stands in front of, and whom it believes.
type ProxyOptions struct {
	Upstream *url.URL
	Names    gate.Names
	Trusted  Peers // whose headers are believed
	// Transport is the way to the upstream; nil: http.DefaultTransport.
	Transport http.RoundTripper
	// Authorize decides by policies what the guard lets through. nil: the guard alone decides.
	Authorize gate.Authorizer
	// Record is told of each request that has ended or was refused. nil: nobody is.
	Record func(gate.Seen)
	Logger *slog.Logger
}

// Proxy is a reverse proxy with a guard, which it asks once for each request. A revocation ends
// what is in flight, event streams and WebSockets too.
type Proxy struct {
	guard   *guard.Guard
	o       ProxyOptions
	reverse *httputil.ReverseProxy
}

// NewProxy returns a proxy around a guard.
func NewProxy(g *guard.Guard, o ProxyOptions) (*Proxy, error) {
	switch {
	case g == nil:
		return nil, errors.New("cannot make HTTP gate: no guard")
	case o.Upstream == nil || (o.Upstream.Scheme != "http" && o.Upstream.Scheme != "https") || o.Upstream.Host == "":
		return nil, errors.New("cannot make HTTP gate: the upstream is no http:// or https:// URL")
	}
	if err := o.Names.Check(Offered()...); err != nil {
		return nil, err
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	p := &Proxy{guard: g, o: o}
	p.reverse = &httputil.ReverseProxy{
		Rewrite:      p.rewrite,
		Transport:    o.Transport,
		ErrorHandler: p.failed,
		ErrorLog:     slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug),
	}
	return p, nil
}

// ServeHTTP answers one request.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	call, err := p.identify(r)
	if err != nil {
		p.o.Logger.Debug("unidentified", "err", err, "peer", r.RemoteAddr)
		refuse(w, http.StatusForbidden, gate.Unidentified(p.guard, err))
		return
	}
	ctx, inflight, d := p.guard.Begin(r.Context(), &call)
	defer inflight.End()
	c := &counted{ResponseWriter: w}
	r = c.count(r)
	seen := gate.Seen{Call: call, Time: start, Traceparent: r.Header.Get("Traceparent"), Kind: "http"}
	// Also after a panic: that is how a response which was cut ends.
	defer func() { p.record(seen, c) }()
	a := p.o.Authorize.Decide(p.guard, d, gate.Request{
		Call: call, Time: start, Gate: "http",
		// An upgrade begins as a GET, but who may only read may not open a way to write.
		Reads: gate.Reads(r.Method) && r.Header.Get("Upgrade") == "",
	})
	if !a.Allowed {
		seen.Refused(a)
		refuse(c, statusOf(a), a)
		return
	}
	defer func() {
		if cut := guard.RevokedBy(ctx); cut != nil {
			seen.Refused(gate.Revoked(cut))
		}
	}()
	guard.Serve(c, r.WithContext(ctx), p.reverse, func(w http.ResponseWriter, cut *guard.Revoked) {
		refuse(w, http.StatusForbidden, gate.Revoked(cut))
	})
}

func (p *Proxy) identify(r *http.Request) (guard.Call, error) {
	f, err := p.o.Trusted.facts(r)
	if err != nil {
		return guard.Call{}, err
	}
	call, err := p.o.Names.Call(f)
	call.Resource, call.Action = r.URL.Path, r.Method
	return call, err
}

// rewrite makes the request to the upstream. Names in headers go on only from those who are
// believed: otherwise a client could tell the upstream another name than the gate has read.
func (p *Proxy) rewrite(r *httputil.ProxyRequest) {
	r.SetURL(p.o.Upstream)
	r.Out.Host = r.In.Host
	trusted := p.o.Trusted.trust(r.In)
	for _, name := range p.o.Names.Headers() {
		r.Out.Header.Del(name)
		if values := r.In.Header.Values(name); trusted && len(values) > 0 {
			// Also where the header Connection names it, by which a client could drop it.
			r.Out.Header[http.CanonicalHeaderKey(name)] = values
		}
	}
	if trusted {
		r.Out.Header["X-Forwarded-For"] = r.In.Header["X-Forwarded-For"]
	}
	r.SetXForwarded()
}

func (p *Proxy) failed(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		return // cut off, or the client is gone: whoever serves the request says what is to be said
	}
	p.o.Logger.Warn("the upstream does not answer", "upstream", p.o.Upstream.Redacted(), "err", err)
	http.Error(w, "the service behind the gate does not answer", http.StatusBadGateway)
}

// record tells of a request that has ended.
func (p *Proxy) record(seen gate.Seen, c *counted) {
	if p.o.Record == nil {
		return
	}
	if seen.Outcome == gate.OK { // neither refused nor cut
		seen.Outcome = gate.OutcomeOf(c.status)
	}
	seen.Latency, seen.BytesIn, seen.BytesOut = time.Since(seen.Time), c.in.Load(), c.out.Load()
	p.o.Record(seen)
}
