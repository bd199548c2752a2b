package plugin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"

	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"github.com/estop-project/estop/pipeline/node"
	"github.com/estop-project/estop/revoke"
)

// actHeader must be there with any value: a page of another origin cannot send it without being asked for leave first.
const actHeader = "X-Estop-Act"

// maxBody bounds what is read of a request.
const maxBody = 64 << 10

// routes are what people do from Grafana, and the role that it takes.
func (d *Datasource) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/preview", handle(d, editor, d.preview))
	mux.Handle("/kill", handle(d, admin, d.kill))
	mux.Handle("/release", handle(d, editor, d.release))
	mux.Handle("/approve", handle(d, admin, d.approve))
	mux.Handle("/dismiss", handle(d, editor, d.dismiss))
	return mux
}

// handle serves one act. Whatever was tried is in Grafana's log, done or not.
func handle[In, Out any](d *Datasource, least role, f func(context.Context, *backend.User, In) (Out, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in In
		var out Out
		user := backend.UserFromContext(r.Context())
		err := guarded(r)
		if err == nil {
			err = permit(user, least)
		}
		if err == nil {
			err = decode(r, &in)
		}
		if err == nil {
			out, err = f(r.Context(), user, in)
		}
		if err != nil {
			d.log.Warn("not done from Grafana", "act", r.URL.Path, "by", login(user), "order", fmt.Sprintf("%+v", in), "err", err)
			refuse(w, err)
			return
		}
		d.log.Info("done from Grafana", "act", r.URL.Path, "by", login(user), "order", fmt.Sprintf("%+v", in))
		answer(w, http.StatusOK, out)
	})
}

func login(u *backend.User) string {
	if u == nil {
		return ""
	}
	return u.Login
}

// errRequest is wrapped where a request has not the form that only the plugin's own pages send.
var errRequest = errors.New("wrong request")

// guarded refuses what another site could make a browser send.
func guarded(r *http.Request) error {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case r.Method != http.MethodPost:
		return fmt.Errorf("%w: method %s, want POST", errRequest, r.Method)
	case err != nil || kind != "application/json":
		return fmt.Errorf("%w: content type %q, want application/json", errRequest, r.Header.Get("Content-Type"))
	case r.Header.Get(actHeader) == "":
		return fmt.Errorf("%w: the header %s is missing", errRequest, actHeader)
	}
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
		return fmt.Errorf("%w: it comes from another site", errRequest)
	}
	return nil
}

// decode reads an order. What it does not know it refuses: a misspelt field must not be an empty one.
func decode(r *http.Request, into any) error {
	if r.Body == nil {
		return fmt.Errorf("%w: there is none", errOrder)
	}
	b, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return fmt.Errorf("%w: %w", errOrder, err)
	}
	if len(b) > maxBody {
		return fmt.Errorf("%w: more than %d bytes", errOrder, maxBody)
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return fmt.Errorf("%w: %w", errOrder, err)
	}
	if dec.More() {
		return fmt.Errorf("%w: something follows it", errOrder)
	}
	return nil
}

// refuse answers with what went wrong, for people.
func refuse(w http.ResponseWriter, err error) {
	status := http.StatusBadGateway
	switch {
	case errors.Is(err, errForbidden), errors.Is(err, errScope):
		status = http.StatusForbidden
	case errors.Is(err, errRequest), errors.Is(err, errOrder), errors.Is(err, revoke.ErrInvalid), errors.Is(err, errQuery):
		status = http.StatusBadRequest
	case errors.Is(err, node.ErrNotWaiting), errors.Is(err, revoke.ErrNotActive):
		status = http.StatusNotFound
	case errors.Is(err, revoke.ErrUnapproved):
		status = http.StatusConflict
		err = fmt.Errorf("%w; propose it, and let another operator approve", err)
	case errors.Is(err, errNoNATS), errors.Is(err, errNoKafka), errors.Is(err, errNoKeys):
		status = http.StatusServiceUnavailable
	}
	answer(w, status, struct {
		Error string `json:"error"`
	}{err.Error()})
}

func answer(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		status, b = http.StatusInternalServerError, []byte(`{"error":"the answer cannot be written"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(b) // who asked may be gone
}
