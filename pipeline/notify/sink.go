package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// The bounds of what a receiver may answer.
const (
	maxAnswer  = 64 << 10 // bytes of a body, and of the headers
	maxExcerpt = 200      // bytes of a text from an answer in a log or a dead letter
)

// Sink is a receiver of events.
type Sink struct {
	Name     string
	Type     string
	Filter   Filter
	Retry    Retry
	Lanes    int // how many tenants' events are on their way at once
	Timeout  time.Duration
	url      string // may be a secret: it is in no error and no log
	hostname string
	header   http.Header
	form     form
	client   *http.Client
}

// form is how events look to one type of receiver.
type form interface {
	// fits reports whether there is a way to say this event.
	fits(e *Event) bool
	// message is the request. Of an event that cannot be said an error says why.
	message(e *Event, now time.Time) (message, error)
	// taken returns nil if the receiver has taken the event.
	taken(status int, body []byte) error
}

type message struct {
	contentType string
	header      http.Header
	body        []byte
}

// refusal says that an event will never be taken, however often it is sent.
type refusal struct{ error }

// busy says when a receiver wants to be asked again.
type busy struct {
	error
	after time.Duration
}

// Host is where the sink is. Paths may be secrets.
func (s *Sink) Host() string { return s.hostname }

// wants reports whether an event is for this sink.
func (s *Sink) wants(e *Event) bool { return s.Filter.passes(e) && s.form.fits(e) }

// Send sends an event once.
func (s *Sink) Send(ctx context.Context, e *Event, now time.Time) error {
	m, err := s.form.message(e, now)
	if err != nil {
		return refusal{fmt.Errorf("cannot say it to a %s: %w", s.Type, err)}
	}
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(m.body))
	if err != nil {
		return refusal{withoutURL(err)}
	}
	for _, header := range []http.Header{s.header, m.header} {
		for key, values := range header {
			req.Header[key] = values
		}
	}
	req.Header.Set("Content-Type", m.contentType)
	req.Header.Set("User-Agent", "estop")
	req.Header.Set("Idempotency-Key", strconv.Quote(e.ID))
	resp, err := s.client.Do(req)
	if err != nil {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return fmt.Errorf("no answer within %v", s.Timeout)
		}
		return withoutURL(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("the answer broke off: %w", withoutURL(err))
	}
	err = s.form.taken(resp.StatusCode, body)
	if after := retryAfter(resp.Header.Get("Retry-After"), now); err != nil && after > 0 {
		return busy{err, after}
	}
	return err
}

// withoutURL takes the URL out of an error of the HTTP client.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// retryAfter reads seconds or a date.
func retryAfter(text string, now time.Time) time.Duration {
	if n, err := strconv.ParseInt(text, 10, 32); err == nil {
		return time.Duration(max(n, 0)) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}

// takenOK takes every 2xx as a yes. What says that the event itself is wrong is a refusal; all else
// may be otherwise next time: a token is replaced, a path is put right.
func takenOK(status int, body []byte) error {
	if status/100 == 2 {
		return nil
	}
	err := answered(status, string(body))
	switch status {
	case http.StatusBadRequest, http.StatusGone, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType,
		http.StatusUnprocessableEntity, http.StatusRequestHeaderFieldsTooLarge:
		return refusal{err}
	}
	return err
}

func answered(status int, detail string) error {
	text := fmt.Sprintf("answered %d %s", status, http.StatusText(status))
	if status/100 == 3 {
		return errors.New(text + "; redirects are not followed: write the address that is meant")
	}
	if detail = excerpt(detail); detail != "" {
		text += ": " + detail
	}
	return errors.New(text)
}

// excerpt is a text from outside as a log may hold it.
func excerpt(text string) string {
	text = strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text[:min(len(text), maxExcerpt)])
	return strings.Join(strings.Fields(text), " ")
}

// newClient makes the HTTP client of one sink: sinks share no connections, so that none waits for another.
func newClient(roots *x509.CertPool, lanes int) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
			TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:    5 * time.Second,
			ForceAttemptHTTP2:      true,
			DisableCompression:     true, // a short answer can be a long one when it is unpacked
			MaxIdleConnsPerHost:    lanes,
			IdleConnTimeout:        time.Minute,
			MaxResponseHeaderBytes: maxAnswer,
		},
		// Following one would take the event, its signature and the token to whoever answers.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
