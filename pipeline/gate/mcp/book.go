package mcp

import (
	"bytes"
	"maps"
	"slices"
	"sync"

	"github.com/estop-project/estop/pipeline/telemetry"
)

// book keeps the requests of one client that the server has not answered.
type book struct {
	g *Gate

	mu      sync.Mutex
	pending map[string]*request // by idKey

	gone gone // what was cut off or given up; locked after mu
}

// request is a request that the server has not answered.
type request struct {
	id       []byte
	method   string
	progress string // idKey of its progress token
	call     *call  // nil: it is no call
	over     bool   // it was cut off or given up; under book.mu
}

func newBook(g *Gate) *book {
	return &book{g: g, pending: map[string]*request{}}
}

// open enters a request. An id that is in use is refused, also by one that was cut off: nobody
// could tell the late answer from the right one.
func (b *book) open(m *message, c *call) (*request, error) {
	r := &request{id: bytes.Clone(m.id), method: m.method, call: c}
	token := member(member(m.params, "_meta"), "progressToken")
	if len(m.id) > maxID || len(token) > maxID {
		return nil, errLongID
	}
	if token != nil {
		r.progress = "p" + idKey(token)
	}
	key := idKey(m.id)
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.pending[key] != nil || b.gone.has(key):
		return nil, errInFlight
	case len(b.pending) >= maxPending:
		return nil, errTooMany
	}
	b.gone.remove(r.progress)
	b.pending[key] = r
	return r, nil
}

// answered takes out the request that the server answers. It reports whether the answer is
// for the client: not if the request was cut off or given up.
func (b *book) answered(m *message) (pass bool) {
	key := idKey(m.id)
	b.mu.Lock()
	r := b.pending[key]
	delete(b.pending, key)
	late := b.gone.remove(key)
	b.mu.Unlock()
	if late {
		b.g.metrics.late.Inc()
	}
	if r == nil {
		return !late
	}
	if r.method == methodList {
		b.g.tools.learn(m.result)
	}
	b.finish(r, outcome(m), len(m.raw))
	return true
}

// outcome is how the server says that a call ended.
func outcome(m *message) telemetry.Outcome {
	if m.failed || string(member(m.result, "isError")) == "true" {
		return telemetry.OutcomeError
	}
	return telemetry.OutcomeOK
}

func (b *book) finish(r *request, o telemetry.Outcome, bytesOut int) {
	if r.call != nil {
		b.g.end(r.call, o, bytesOut)
	}
}

// cut takes out a request that a revocation stops, and reports whether it was still open.
func (b *book) cut(r *request, s Stopped) bool {
	if !b.drop(r) {
		return false
	}
	b.g.metrics.cut.Inc()
	r.call.stopped = &s
	b.finish(r, telemetry.OutcomeDenied, 0)
	return true
}

// cutAll takes out all requests and returns them: the answer that they would come in is cut off.
func (b *book) cutAll(s Stopped) []*request {
	var all []*request
	for _, r := range b.unanswered() {
		switch {
		case r.call == nil && b.drop(r):
			all = append(all, r)
		case r.call != nil && b.cut(r, s):
			all = append(all, r)
		}
	}
	return all
}

// abandon takes out the request with an id that the client has given up.
func (b *book) abandon(id []byte) {
	b.mu.Lock()
	r := b.pending[idKey(id)]
	b.mu.Unlock()
	if r != nil && b.drop(r) {
		b.finish(r, telemetry.OutcomeError, 0)
	}
}

// fail takes out all requests and returns them: the server cannot answer them.
func (b *book) fail() []*request {
	var failed []*request
	for _, r := range b.unanswered() {
		if b.drop(r) {
			b.finish(r, telemetry.OutcomeError, 0)
			failed = append(failed, r)
		}
	}
	return failed
}

func (b *book) unanswered() []*request {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Collect(maps.Values(b.pending))
}

// drop moves an open request to the ones that are gone, and reports whether it was open.
func (b *book) drop(r *request) bool {
	key := idKey(r.id)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pending[key] != r {
		return false
	}
	r.over = true
	delete(b.pending, key)
	b.gone.add(key, r.progress)
	return true
}

// wanted reports whether the server shall still get a request.
func (b *book) wanted(r *request) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !r.over
}

// notified takes in a notification or a request of the server, and reports whether it is for
// the client.
func (b *book) notified(m *message) (pass bool) {
	switch m.method {
	case methodToolsChange:
		b.g.tools.forget()
	case methodProgress:
		if b.gone.has("p" + idKey(member(m.params, "progressToken"))) {
			b.g.metrics.late.Inc()
			return false
		}
	}
	return true
}

// hear takes in what the server says, and returns what of it is for the client: the bytes
// themselves where nothing is to be dropped, nil where all is.
func (b *book) hear(raw []byte) []byte {
	return sift(raw, func(m *message) bool {
		if m.response() {
			return b.answered(m)
		}
		return b.notified(m)
	})
}

// sift returns the messages of a server that pass. What the gate does not understand passes.
func sift(raw []byte, passes func(*message) bool) []byte {
	list, batch, err := readServer(raw)
	if err != nil {
		return raw
	}
	var keep [][]byte
	for i := range list {
		if passes(&list[i]) {
			keep = append(keep, list[i].raw)
		}
	}
	switch {
	case len(keep) == len(list):
		return raw
	case batch && len(keep) > 0:
		return join(keep)
	}
	return nil
}
