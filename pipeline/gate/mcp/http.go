package mcp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/estop-project/estop/revoke/gate"
	"github.com/estop-project/estop/revoke/guard"
)

// Times of the HTTP gate.
const (
	bodyWait    = time.Minute     // for the body of a request
	cancelWait  = 5 * time.Second // for the server to take a cancellation
	stuckClient = time.Second     // for a client to read that its call was cut off
)

// Handler guards a server that speaks streamable HTTP at a URL. identify says whose a request
// is; its error denies the request.
func (g *Gate) Handler(upstream *url.URL, identify func(*http.Request) (Caller, error)) http.Handler {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableCompression = true // what is packed cannot be read
	h := &handler{g: g, upstream: upstream, identify: identify, transport: transport}
	h.proxy = &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(upstream)
			p.Out.Header.Del("Accept-Encoding")
			if e := exchangeOf(p.Out); e != nil {
				e.sent = p.Out
			}
		},
		ModifyResponse: h.answered,
		ErrorHandler:   h.failed,
		ErrorLog:       slog.NewLogLogger(g.log.Handler(), slog.LevelWarn),
	}
	return h
}

type handler struct {
	g         *Gate
	upstream  *url.URL
	identify  func(*http.Request) (Caller, error)
	transport http.RoundTripper
	proxy     *httputil.ReverseProxy
	gone      gone // calls that were cut off, by session and id
}

// exchange is one request over HTTP and what comes back.
type exchange struct {
	h       *handler
	who     Caller
	book    *book
	session string // of MCP
	listens bool   // to what the server says by itself
	said    screened
	sent    *http.Request // as the server got it
	ctx     context.Context
}

type exchangeKey struct{}

func exchangeOf(r *http.Request) *exchange {
	e, _ := r.Context().Value(exchangeKey{}).(*exchange)
	return e
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		r = r.WithContext(r.Context())           // the server looks at its own one
		r.Body, r.ContentLength = http.NoBody, 0 // messages come by POST, and are decided there
	}
	switch {
	case r.Header.Get("Upgrade") != "":
		http.Error(w, "the gate does not pass what it cannot read", http.StatusBadRequest)
		return
	case r.Method == http.MethodPost, r.Method == http.MethodGet:
	case r.Method == http.MethodDelete, r.Method == http.MethodOptions, r.Method == http.MethodHead:
		h.proxy.ServeHTTP(w, r)
		return
	default:
		http.Error(w, "the gate passes POST, GET and DELETE", http.StatusMethodNotAllowed)
		return
	}
	who, err := h.identify(r)
	if err != nil {
		h.g.metrics.decided(guard.Deny, false)
		h.g.log.Warn("request denied", "reason", err)
		s := stopped(gate.Unidentified(h.g.o.Guard, err), nil)
		reply(w, http.StatusForbidden, answer(nil, s.failure()))
		return
	}
	e := &exchange{h: h, who: who, book: newBook(h.g), session: r.Header.Get(SessionHeader)}
	if len(e.session) > maxID {
		http.Error(w, "the session's id is too long", http.StatusBadRequest)
		return
	}
	if r.Method == http.MethodPost {
		e.post(w, r)
	} else {
		e.listen(w, r)
	}
}

// post is a request with messages.
func (e *exchange) post(w http.ResponseWriter, r *http.Request) {
	g := e.h.g
	if !plainJSON(r.Header) {
		reply(w, http.StatusUnsupportedMediaType, answer(nil, g.refuse(errMedia)))
		return
	}
	c := http.NewResponseController(w)
	_ = c.SetReadDeadline(time.Now().Add(bodyWait)) // not every writer can
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(g.o.MaxMessage)))
	_ = c.SetReadDeadline(time.Time{})
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		reply(w, http.StatusRequestEntityTooLarge, answer(nil, g.refuse(fmt.Errorf("%w: more than %d bytes", errTooLarge, g.o.MaxMessage))))
		return
	case err != nil:
		reply(w, http.StatusBadRequest, answer(nil, failure{Code: codeParse, Message: "estop: the request broke off"}))
		return
	}
	defer func() { _ = c.SetWriteDeadline(time.Time{}) }() // the connection is used again
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	e.ctx = ctx
	e.said = g.screen(ctx, e.book, &e.who, body)
	defer e.book.fail() // what the server has not answered by then
	for _, p := range e.said.pass {
		if p.request != nil && p.request.call != nil {
			watched := p.request.call.ctx
			stop := context.AfterFunc(watched, func() {
				if cutBy(watched) != nil {
					cancel(context.Cause(watched))
					_ = c.SetWriteDeadline(time.Now().Add(stuckClient)) // not every writer can
				}
			})
			defer stop()
		}
	}
	forward := e.said.forward(e.book.wanted)
	switch {
	case forward != nil:
		e.proxy(w, r, forward)
	case len(e.said.answers) > 0:
		status := http.StatusOK
		if e.said.broken {
			status = http.StatusBadRequest
		}
		reply(w, status, e.said.reply())
	default:
		w.WriteHeader(http.StatusAccepted)
	}
}

// plainJSON reports whether a body is JSON in UTF-8, and nothing else to anybody. Some servers heed
// other charsets: in UTF-7 the text "tools+AC8-call" is tools/call.
func plainJSON(h http.Header) bool {
	types, coding := h.Values("Content-Type"), h.Values("Content-Encoding")
	if len(types) != 1 || len(coding) > 0 {
		return false
	}
	kind, params, err := mime.ParseMediaType(types[0])
	charset, said := params["charset"]
	if said {
		delete(params, "charset")
	}
	return err == nil && kind == "application/json" && len(params) == 0 && (!said || strings.EqualFold(charset, "utf-8"))
}

// proxy sends a request on.
func (e *exchange) proxy(w http.ResponseWriter, r *http.Request, body []byte) {
	r = r.WithContext(context.WithValue(e.ctx, exchangeKey{}, e))
	if body != nil {
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	}
	e.h.proxy.ServeHTTP(w, r)
}

// listen is a request for what the server has to say by itself. The stream of an agent that is
// stopped stays, so that its client hears of the next call why; but nothing comes through it.
func (e *exchange) listen(w http.ResponseWriter, r *http.Request) {
	e.listens = true
	e.ctx = r.Context()
	e.proxy(w, r, nil)
}

// hear takes in what the server says, and returns what of it is for the client.
func (e *exchange) hear(data []byte) []byte {
	if !e.listens {
		return e.book.hear(data)
	}
	call := e.who.guardCall("mcp/listen", "mcp://"+e.h.g.o.Server+"/")
	if e.h.g.o.Guard.Check(&call).Verdict == guard.Deny {
		return nil
	}
	return sift(e.book.hear(data), func(m *message) bool {
		late := m.response() && e.h.gone.remove(e.lateKey(m.id))
		if late {
			e.h.g.metrics.late.Inc()
		}
		return !late
	})
}

func (e *exchange) lateKey(id []byte) string { return e.session + "\x00" + idKey(id) }

// cut tells the server to give up what it works on, and returns what the client is told: nil if
// nothing was cut off.
func (e *exchange) cut() []byte {
	s := cutBy(e.ctx)
	if s == nil {
		return nil
	}
	var answers [][]byte
	for _, r := range e.book.cutAll(*s) {
		answers = append(answers, answer(r.id, s.failure()))
		if r.call != nil {
			e.h.gone.add(e.lateKey(r.id))
			e.h.g.log.Info("call cut off", "action", r.call.action, "agent", e.who.Agent, "revocation", s.Revocation, "reason", s.Reason)
			go e.h.cancel(e.sent, cancelled(r.id, "estop: "+s.Reason))
		}
	}
	return e.oneOrBatch(answers)
}

func (e *exchange) oneOrBatch(answers [][]byte) []byte {
	switch {
	case len(answers) == 0:
		return nil
	case e.said.batch:
		return join(answers)
	}
	return answers[0]
}

// cancel sends the server a notification of its own, in the session of the request.
func (h *handler) cancel(sent *http.Request, notification []byte) {
	if sent == nil {
		return // it never left
	}
	ctx, stop := context.WithTimeout(context.Background(), cancelWait)
	defer stop()
	r := sent.Clone(ctx)
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(notification)), int64(len(notification))
	resp, err := h.transport.RoundTrip(r)
	if err != nil {
		h.g.log.Warn("cannot tell the server to give up a call", "error", err)
		return
	}
	resp.Body.Close()
}

// answered reads the server's response.
func (h *handler) answered(resp *http.Response) error {
	e := exchangeOf(resp.Request)
	if e == nil {
		return nil
	}
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch {
	case kind == "text/event-stream":
		resp.Body = newEventFilter(e, resp.Body)
		resp.Header.Del("Content-Length")
		resp.ContentLength = -1
	case kind == "application/json":
		return e.json(resp)
	case len(e.said.answers) > 0:
		resp.Body.Close()
		setJSON(resp, http.StatusOK, e.said.reply())
	}
	return nil
}

// json reads a response that is one message or one batch.
func (e *exchange) json(resp *http.Response) error {
	most := e.h.g.o.MaxMessage
	body, err := io.ReadAll(io.LimitReader(resp.Body, int64(most)+1))
	resp.Body.Close()
	if err != nil {
		return err
	}
	if len(body) > most {
		return fmt.Errorf("the server's message is larger than %d bytes", most)
	}
	keep := e.hear(body)
	if len(e.said.answers) > 0 { // a batch, of which some was denied
		all := e.said.answers
		if list, _, err := readServer(keep); err == nil {
			for _, m := range list {
				all = append(all, m.raw)
			}
		}
		keep = join(all)
	}
	setJSON(resp, resp.StatusCode, keep)
	return nil
}

func setJSON(resp *http.Response, status int, body []byte) {
	resp.StatusCode, resp.Status = status, ""
	resp.Header.Set("Content-Type", "application/json")
	resp.Header.Del("Content-Length")
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
}

// failed answers where the server did not, or was not to.
func (h *handler) failed(w http.ResponseWriter, r *http.Request, err error) {
	e := exchangeOf(r)
	if e == nil {
		http.Error(w, "the MCP server cannot be reached", http.StatusBadGateway)
		return
	}
	if told := e.cut(); told != nil || cutBy(e.ctx) != nil {
		reply(w, http.StatusOK, told)
		return
	}
	h.g.log.Warn("no answer from the MCP server", "error", err)
	var answers [][]byte
	for _, r := range e.book.fail() {
		answers = append(answers, answer(r.id, failure{Code: CodeServer, Message: "estop: no answer from the MCP server"}))
	}
	reply(w, http.StatusBadGateway, e.oneOrBatch(append(answers, e.said.answers...)))
}

func reply(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store") // a verdict that is kept would outlive its revocation
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client may be gone
}

// LocalOnly returns h for a listener: where that is one of this machine alone, requests must name
// this machine. A web page could otherwise reach it under a name of its own.
func LocalOnly(l net.Addr, h http.Handler) http.Handler {
	if a, ok := l.(*net.TCPAddr); ok && a.IP.IsLoopback() {
		return localOnly(h)
	}
	return h
}

func localOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
		if host != "localhost" && (err != nil || !ip.IsLoopback()) {
			http.Error(w, fmt.Sprintf("this gate serves localhost, not %q", host), http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}
