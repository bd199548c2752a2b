package notify

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/go-jose/go-jose/v4"
)

// Listener is a receiver for trying sinks out: it prints what it gets, one line of JSON for each request, and takes
// everything. It verifies nothing.
type Listener struct {
	Out io.Writer
	mu  sync.Mutex
}

// heard is a line of a Listener.
type heard struct {
	Path        string          `json:"path"`
	ContentType string          `json:"content_type"`
	Key         string          `json:"idempotency_key,omitempty"`
	Signature   string          `json:"signature,omitempty"`
	Body        json.RawMessage `json:"body"` // of a token: its claims
}

func (l *Listener) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 4<<20))
	if err != nil || r.Method != http.MethodPost {
		http.Error(w, "send a POST of up to 4 MiB", http.StatusBadRequest)
		return
	}
	h := heard{
		Path: r.URL.Path, ContentType: r.Header.Get("Content-Type"), Key: r.Header.Get("Idempotency-Key"),
		Signature: r.Header.Get("Webhook-Signature"), Body: body,
	}
	status := http.StatusOK
	if strings.HasPrefix(h.ContentType, "application/secevent+jwt") {
		status = http.StatusAccepted
		token, err := jose.ParseSignedCompact(string(body), []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.EdDSA})
		if err != nil {
			http.Error(w, `{"err":"invalid_request"}`, http.StatusBadRequest)
			return
		}
		h.Body = token.UnsafePayloadWithoutVerification()
	}
	if !json.Valid(h.Body) {
		http.Error(w, "this is no JSON", http.StatusBadRequest)
		return
	}
	line, err := json.Marshal(h)
	if err == nil {
		l.mu.Lock()
		_, err = l.Out.Write(append(line, '\n'))
		l.mu.Unlock()
	}
	if err != nil {
		http.Error(w, "cannot print it", http.StatusInternalServerError)
		return
	}
	w.WriteHeader(status)
}
