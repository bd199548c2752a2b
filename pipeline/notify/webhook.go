package notify

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// webhook sends events as JSON, signed as in the specification Standard Webhooks 1.0: its
// libraries verify it.
type webhook struct {
	keys [][]byte // of HMAC; several while one is replaced
}

// webhookBody is what a webhook gets.
type webhookBody struct {
	ID        string    `json:"id"`
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"`
	Tenant    string    `json:"tenant"`
	Data      any       `json:"data"`
}

func (*webhook) fits(*Event) bool { return true }

func (w *webhook) message(e *Event, now time.Time) (message, error) {
	body, err := json.Marshal(webhookBody{e.ID, "estop." + string(e.Kind), e.Time.UTC(), e.Tenant, e.data()})
	if err != nil {
		return message{}, err
	}
	stamp := strconv.FormatInt(now.Unix(), 10)
	header := http.Header{"Webhook-Id": {e.ID}, "Webhook-Timestamp": {stamp}}
	if len(w.keys) > 0 {
		var signatures []string
		for _, key := range w.keys {
			signatures = append(signatures, webhookSignature(key, e.ID, stamp, body))
		}
		header.Set("Webhook-Signature", strings.Join(signatures, " "))
	}
	return message{"application/json", header, body}, nil
}

func webhookSignature(key []byte, id, stamp string, body []byte) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + stamp + "."))
	mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

func (*webhook) taken(status int, body []byte) error { return takenOK(status, body) }

// data is the event's own content.
func (e *Event) data() any {
	switch {
	case e.Detection != nil:
		return e.Detection
	case e.Revocation != nil:
		return e.Revocation
	case e.Decision != nil:
		return e.Decision
	}
	return struct{}{}
}

// webhookKey reads a secret: what follows whsec_ is base64, anything else is the key itself.
func webhookKey(secret string) ([]byte, error) {
	text, ok := strings.CutPrefix(secret, "whsec_")
	if !ok {
		return []byte(secret), nil
	}
	return base64.StdEncoding.DecodeString(text)
}
