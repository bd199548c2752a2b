package guard

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// PaceEvery is how often a throttled subject may call: once in each such time.
const PaceEvery = time.Second

// HTTP puts a guard in front of next. identify says whose call a request is; its error
// denies the request.
//
//   - deny: 403;
//   - restrict: GET, HEAD and OPTIONS pass, all else is 403;
//   - throttle: one request in each PaceEvery passes, all else is 429 with Retry-After.
//
// The refusal is JSON: {"verdict", "reason", "revocation"}. When a revocation arrives
// during a request, the request's context is cancelled, reads of its body and writes of
// its response fail with *Revoked; if nothing was written yet the client gets the 403, else
// its connection breaks. A handler that hijacks the connection must heed the context itself.
func HTTP(g *Guard, identify func(*http.Request) (Call, error), next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		call, err := identify(r)
		if err != nil {
			g.counters.decided(Deny)
			refuse(w, http.StatusForbidden, Decision{Verdict: Deny, Reason: ReasonUnidentified})
			return
		}
		ctx, inflight, d := g.Begin(r.Context(), &call)
		defer inflight.End()
		if status := g.status(r.Method, d); status != http.StatusOK {
			refuse(w, status, d)
			return
		}
		Serve(w, r.WithContext(ctx), next, func(w http.ResponseWriter, cut *Revoked) {
			refuse(w, http.StatusForbidden, Decision{Verdict: Deny, Reason: cut.Reason, Revocation: cut.Revocation})
		})
	})
}

func (g *Guard) status(method string, d Decision) int {
	switch d.Verdict {
	case Allow:
		return http.StatusOK
	case Throttle:
		if g.Pace(d, PaceEvery) {
			return http.StatusOK
		}
		return http.StatusTooManyRequests
	case Restrict:
		if method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions {
			return http.StatusOK
		}
	}
	return http.StatusForbidden
}

// Pace reports whether a throttled call may go on: one for each revocation in each period
// every, counted in this guard. Any other decision than Throttle is not paced.
func (g *Guard) Pace(d Decision, every time.Duration) bool {
	if d.Verdict != Throttle || d.entry == nil {
		return d.Verdict != Deny
	}
	now, last := g.clock().UnixNano(), d.entry.paced.Load()
	if last != 0 && now-last < int64(every) {
		return false
	}
	return d.entry.paced.CompareAndSwap(last, now)
}

func refuse(w http.ResponseWriter, status int, d Decision) {
	body := struct {
		Verdict    string `json:"verdict"`
		Reason     string `json:"reason"`
		Revocation string `json:"revocation,omitempty"`
	}{Verdict: d.Verdict.String(), Reason: d.Reason}
	if d.Revocation != nil {
		body.Revocation = d.Revocation.ID
	}
	b, err := json.Marshal(body)
	if err != nil {
		http.Error(w, "denied", status)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store") // a cached verdict would outlive its revocation
	if status == http.StatusTooManyRequests {
		h.Set("Retry-After", strconv.Itoa(int(PaceEvery/time.Second)))
	}
	w.WriteHeader(status)
	// The client may be gone; there is nobody to tell.
	_, _ = w.Write(append(b, '\n'))
}
