package httpgate

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/estop-project/estop/revoke/gate"
)

// statusOf is the status of an answer that refuses.
func statusOf(a gate.Answer) int {
	if a.RetryAfter > 0 {
		return http.StatusTooManyRequests
	}
	return http.StatusForbidden
}

// refuse answers as guard.HTTP does, and says the same in headers, which proxies can use.
func refuse(w http.ResponseWriter, status int, a gate.Answer) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store") // a cached verdict would outlive its revocation
	h.Set("X-Estop-Verdict", a.Verdict.String())
	h.Set("X-Estop-Reason", gate.Header(a.Reason))
	if a.Revocation != "" {
		h.Set("X-Estop-Revocation", gate.Header(a.Revocation))
	}
	if len(a.Policies) > 0 {
		h.Set("X-Estop-Policy", gate.Header(strings.Join(a.Policies, ", ")))
	}
	if a.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(a.RetryAfter/time.Second)))
	}
	w.WriteHeader(status)
	// Who asked may be gone; there is nobody to tell.
	_, _ = w.Write(gate.Body(a))
}
