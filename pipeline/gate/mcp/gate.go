// Package mcp is the gate for the Model Context Protocol: a guard between an agent's client
// and an MCP server. It decides each call of the client, cuts off calls in flight when a
// revocation arrives, and reports every call to the detector.
//
// It works on the messages as they are on the wire. What it has no reason to stop it passes
// on byte for byte.
package mcp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/estop-project/estop/pipeline/telemetry"
	"github.com/estop-project/estop/revoke/gate"
	"github.com/estop-project/estop/revoke/guard"
)

// The methods that the gate knows more of than their name.
const (
	methodCall        = "tools/call"
	methodRead        = "resources/read"
	methodPrompt      = "prompts/get"
	methodTask        = "tasks/result" // what a call that became a task has brought
	methodList        = "tools/list"
	methodProgress    = "notifications/progress"
	methodToolsChange = "notifications/tools/list_changed"
)

// Methods are the methods that are calls where nothing else is said.
func Methods() []string { return []string{methodCall, methodRead, methodPrompt, methodTask} }

// The bounds where nothing else is said.
const (
	DefaultMaxMessage = 16 << 20
	minMessage        = 1 << 10
	maxPending        = 4096 // unanswered requests of one client
	maxServer         = 256  // bytes of the server's name
)

// Options say what a gate guards, and how.
type Options struct {
	Guard *guard.Guard
	// Server names the MCP server: calls are on mcp://SERVER/TARGET.
	Server string
	// Methods are the requests that are calls: they are decided and reported. nil: Methods().
	// All others pass.
	Methods []string
	// MaxMessage bounds one message, in bytes. 0: DefaultMaxMessage.
	MaxMessage int
	// Authorize decides by policies what the guard lets through. nil: the guard alone decides.
	Authorize gate.Authorizer
	// Report takes each call when it is over, and must not wait. nil: nothing is reported.
	Report func(*telemetry.Call)
	// Registerer takes the metrics. nil: none.
	Registerer prometheus.Registerer
	Logger     *slog.Logger // nil: none
}

// Gate guards one MCP server. It is safe for concurrent use.
type Gate struct {
	o       Options
	log     *slog.Logger
	metrics *metrics
	tools   tools
}

// New checks the options.
func New(o Options) (*Gate, error) {
	if o.Methods == nil {
		o.Methods = Methods()
	}
	if o.MaxMessage == 0 {
		o.MaxMessage = DefaultMaxMessage
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Report == nil {
		o.Report = func(*telemetry.Call) {}
	}
	switch {
	case o.Guard == nil:
		return nil, errors.New("cannot make MCP gate: no guard")
	case o.Server == "" || len(o.Server) > maxServer || strings.ContainsAny(o.Server, "/\x00"):
		return nil, fmt.Errorf("cannot make MCP gate: the server's name %q is not 1 to %d bytes without a slash", o.Server, maxServer)
	case o.MaxMessage < minMessage:
		return nil, fmt.Errorf("cannot make MCP gate: messages of %d bytes at most are too small to be of use", o.MaxMessage)
	case slices.Contains(o.Methods, ""):
		return nil, errors.New("cannot make MCP gate: a method without a name")
	}
	return &Gate{o: o, log: o.Logger, metrics: newMetrics(o.Registerer)}, nil
}

// decides reports whether a method is a call.
func (g *Gate) decides(method string) bool { return slices.Contains(g.o.Methods, method) }

// begin decides a call. If it may go on, the guard watches over it until end; else there is
// an answer for the client, and the call is over.
func (g *Gate) begin(ctx context.Context, who *Caller, m *message) (*call, *failure) {
	target, err := m.target()
	if err != nil {
		f := g.refuse(err)
		return nil, &f
	}
	c := g.newCall(who, m, target)
	held := who.guardCall(c.action, c.resource)
	var d guard.Decision
	c.ctx, c.watch, d = g.o.Guard.Begin(ctx, &held)
	a := g.o.Authorize.Decide(g.o.Guard, d, gate.Request{
		Call: held, Time: c.began, Reads: g.reads(m.method, target), Gate: "mcp",
		Context: map[string]string{"method": m.method, "server": g.o.Server},
	})
	g.metrics.decided(d.Verdict, a.Allowed)
	if a.Allowed {
		g.metrics.inFlight.Inc()
		return c, nil
	}
	c.watch.End()
	s := stopped(a, d.Revocation)
	c.stopped = &s
	g.report(c, telemetry.OutcomeDenied, 0)
	f := s.failure()
	return nil, &f
}

// reads reports whether a call only reads: what a restricted agent may still do. Of a tool its
// server must have said so.
func (g *Gate) reads(method, target string) bool {
	return method == methodRead || method == methodPrompt || method == methodTask || (method == methodCall && g.tools.reads(target))
}

// refuse counts a message that is not forwarded for what it is.
func (g *Gate) refuse(err error) failure {
	g.metrics.refused.WithLabelValues(reasonOf(err)).Inc()
	g.log.Warn("message refused", "reason", err)
	return refused(err)
}

var reasons = map[error]string{
	errNoJSON: "no_json", errReturn: "carriage_return", errTwoWays: "ambiguous", errMethod: "method",
	errNested: "nested_batch", errInFlight: "id_in_use", errTooMany: "too_many", errLongID: "long_id", errMedia: "media_type", errTooLarge: "too_large",
}

func reasonOf(err error) string {
	for e, reason := range reasons {
		if errors.Is(err, e) {
			return reason
		}
	}
	return "other"
}

// call is a call in flight.
type call struct {
	action, resource, method string
	who                      *Caller
	traceparent              string
	began                    time.Time
	bytesIn                  int
	ctx                      context.Context // ends with *guard.Revoked as its cause when it is cut
	watch                    *guard.InFlight
	stopped                  *Stopped // why it did not go on
}

func (g *Gate) newCall(who *Caller, m *message, target string) *call {
	if len(target) > telemetry.DefaultMaxField {
		target = strings.Clone(target[:telemetry.DefaultMaxField]) // the message may be large
	}
	c := &call{
		method: m.method, action: m.method, resource: "mcp://" + g.o.Server + "/" + target,
		who: who, traceparent: m.meta("traceparent"), began: time.Now(), bytesIn: len(m.raw),
	}
	if target != "" && (m.method == methodCall || m.method == methodPrompt) {
		c.action += ":" + target
	}
	if !traceparent(c.traceparent) {
		c.traceparent = who.Traceparent
	}
	return c
}

// end says that a call that began is over, and how.
func (g *Gate) end(c *call, outcome telemetry.Outcome, bytesOut int) {
	c.watch.End()
	g.metrics.inFlight.Dec()
	g.report(c, outcome, bytesOut)
}

// cutBy returns why the call is cut off, or nil.
func (c *call) cutBy() *Stopped { return cutBy(c.ctx) }

// abort ends a call that began and never went to the server.
func (g *Gate) abort(c *call) { g.end(c, telemetry.OutcomeError, 0) }
