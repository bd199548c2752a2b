// Package httpgate has the gates that speak HTTP: a reverse proxy in front of a service, and
// the endpoint that nginx, Traefik and Caddy ask before they pass a request on.
package httpgate

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
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

// Proxy is a reverse proxy with a guard: guard.HTTP in front of an upstream. A revocation
// ends what is in flight, event streams and WebSockets too.
type Proxy struct {
	guard   *guard.Guard
	o       ProxyOptions
	gated   http.Handler
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
	p.gated = guard.HTTP(g, p.identify, http.HandlerFunc(p.pass))
	return p, nil
}

// ServeHTTP answers one request.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := &sight{start: time.Now(), body: countedBody{ReadCloser: r.Body}}
	cw := &countedWriter{ResponseWriter: w}
	r = r.WithContext(context.WithValue(r.Context(), sightKey{}, s))
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = &s.body
	}
	// Also after a panic: that is how a response which was cut ends.
	defer func() { p.record(s, cw) }()
	p.gated.ServeHTTP(cw, r)
}

func (p *Proxy) identify(r *http.Request) (guard.Call, error) {
	f, err := p.o.Trusted.facts(r)
	if err != nil {
		return guard.Call{}, err
	}
	call, err := p.o.Names.Call(f)
	if err != nil {
		p.o.Logger.Debug("unidentified", "err", err, "peer", r.RemoteAddr)
		return call, err
	}
	call.Resource, call.Action = r.URL.Path, r.Method
	s := r.Context().Value(sightKey{}).(*sight)
	s.identified, s.seen.Call, s.seen.Traceparent = true, call, r.Header.Get("Traceparent")
	return call, nil
}

// pass sends a request on that the guard let through.
func (p *Proxy) pass(w http.ResponseWriter, r *http.Request) {
	s := r.Context().Value(sightKey{}).(*sight)
	if a := p.judge(r, s); !a.Allowed {
		s.seen.Refused(a)
		refuse(w, http.StatusForbidden, a)
		return
	}
	s.passed = true
	defer func() {
		var revoked *guard.Revoked
		s.cut = errors.As(context.Cause(r.Context()), &revoked)
	}()
	p.reverse.ServeHTTP(w, r)
}

// judge decides what guard.HTTP, which knows neither policies nor upgrades, let through.
func (p *Proxy) judge(r *http.Request, s *sight) gate.Answer {
	upgrade := r.Header.Get("Upgrade") != ""
	if !upgrade && p.o.Authorize == nil {
		return gate.Answer{Allowed: true}
	}
	d := p.guard.Check(&s.seen.Call)
	q := gate.Request{Call: s.seen.Call, Time: s.start, Reads: gate.Reads(r.Method) && !upgrade, Gate: "http"}
	if d.Verdict == guard.Throttle {
		d = guard.Decision{} // it has had its turn
		q.Verdict = guard.Throttle
	}
	// It begins as a GET, but who may only read may not open a way to write.
	return p.o.Authorize.Decide(p.guard, d, q)
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
		return // cut off, or the client is gone: guard.HTTP says what is to be said
	}
	p.o.Logger.Warn("the upstream does not answer", "upstream", p.o.Upstream.Redacted(), "err", err)
	http.Error(w, "the service behind the gate does not answer", http.StatusBadGateway)
}

func (p *Proxy) record(s *sight, w *countedWriter) {
	if p.o.Record == nil || !s.identified {
		return
	}
	s.seen.Time, s.seen.Latency, s.seen.Kind = s.start, time.Since(s.start), "http"
	s.seen.BytesIn, s.seen.BytesOut = s.body.n.Load(), w.n.Load()
	switch {
	case s.cut || !s.passed:
		s.seen.Outcome = gate.Denied
	default:
		s.seen.Outcome = gate.OutcomeOf(w.status)
	}
	p.o.Record(s.seen)
}

// sight is what the gate sees of one request on its way.
type sight struct {
	seen       gate.Seen
	start      time.Time
	body       countedBody
	identified bool
	passed     bool // the guard let it through
	cut        bool // and then a revocation came
}

type sightKey struct{}

// countedBody counts the bytes of a request.
type countedBody struct {
	io.ReadCloser
	n atomic.Int64
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.n.Add(int64(n))
	return n, err
}

// countedWriter counts the bytes of a response.
type countedWriter struct {
	http.ResponseWriter
	status   int
	n        atomic.Int64
	hijacked bool // the connection has switched to another protocol
}

func (w *countedWriter) WriteHeader(status int) {
	if w.hijacked {
		return // guard.HTTP would say why it was cut, but there is no response any more
	}
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *countedWriter) Write(p []byte) (int, error) {
	if w.hijacked {
		return 0, http.ErrHijacked
	}
	n, err := w.ResponseWriter.Write(p)
	w.n.Add(int64(n))
	return n, err
}

// Hijack hands the connection over.
func (w *countedWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	w.hijacked = w.hijacked || err == nil
	return conn, rw, err
}

// Unwrap is for http.ResponseController.
func (w *countedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
