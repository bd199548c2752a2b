package clickhouse

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

// handler speaks ClickHouse's HTTP interface for an engine.
type handler struct {
	engine   *engine
	hello    hello
	log      *slog.Logger
	user     string
	password string
	defaults map[string]string // settings of every query
	maxBody  int64             // bytes of one body, after decompression
	spoolDir string
	slots    chan struct{} // one for each query that runs
	marks    atomic.Uint64
}

// slotWait is how long a request waits for others to end before it is refused.
const slotWait = 10 * time.Second

// ServeHTTP answers /ping, / and queries.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-ClickHouse-Server-Display-Name", h.hello.name)
	w.Header().Set("X-ClickHouse-Timezone", h.hello.timezone)
	switch r.URL.Path {
	case "/ping", "/replicas_status":
		io.WriteString(w, "Ok.\n")
		return
	case "/":
	default:
		http.Error(w, "There is no handle "+r.URL.Path+". Use / or /ping for health checks.", http.StatusNotFound)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodPost {
		w.Header().Set("Allow", "GET, HEAD, POST")
		http.Error(w, "only GET and POST are supported", http.StatusMethodNotAllowed)
		return
	}
	if r.Method != http.MethodPost && r.URL.RawQuery == "" {
		io.WriteString(w, "Ok.\n")
		return
	}
	if e := h.authenticate(r); e != nil {
		writeException(w, e)
		return
	}
	req, err := readRequest(r)
	if err != nil {
		writeException(w, asException(err))
		return
	}
	req.queryID = first(req.queryID, uuid.NewString())
	w.Header().Set("X-ClickHouse-Query-Id", headerText(req.queryID))
	out := newAnswer(w, r, req)
	defer out.close()
	counted, err := h.answer(r, req, out)
	if err == nil {
		err = out.finish(counted)
	}
	if err != nil {
		out.fail(asException(err))
	}
}

// authenticate checks user and password, from wherever ClickHouse's clients send them. With
// no password set anyone on the machine may ask, but no page in a browser: a page of
// anybody's can send requests to this machine.
func (h *handler) authenticate(r *http.Request) *Exception {
	if h.password == "" {
		if r.Header.Get("Origin") != "" || r.Header.Get("Sec-Fetch-Site") != "" {
			return exceptionf(codeAuthentication, "pages in a browser are refused while no password is set. (AUTHENTICATION_FAILED)")
		}
		return nil
	}
	user, password := r.Header.Get("X-ClickHouse-User"), r.Header.Get("X-ClickHouse-Key")
	if user == "" && password == "" {
		if basicUser, basicPassword, ok := r.BasicAuth(); ok {
			user, password = basicUser, basicPassword
		} else {
			values := r.URL.Query()
			user, password = values.Get("user"), values.Get("password")
		}
	}
	if sameText(first(user, "default"), h.user)&sameText(password, h.password) != 1 {
		return exceptionf(codeAuthentication, "%s: Authentication failed: password is incorrect, or there is no user with such name. (AUTHENTICATION_FAILED)",
			first(user, "default"))
	}
	return nil
}

// sameText compares in a time that depends on neither text.
func sameText(a, b string) int {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:])
}

// answer runs the request's query and writes its result to out.
func (h *handler) answer(r *http.Request, req *request, out *answer) (stats, error) {
	body, err := h.body(r, req)
	if err != nil {
		return stats{}, err
	}
	statement, rows, err := readStatement(req.query, body)
	if err != nil {
		return stats{}, err
	}
	if isHello(req, statement.text) {
		block, err := h.hello.answer(req.revision)
		if err != nil {
			return stats{}, err
		}
		out.w.Header().Set("X-ClickHouse-Format", "Native")
		_, err = out.Write(block)
		return stats{resultRows: 1}, err
	}
	release, err := h.slot(r.Context())
	if err != nil {
		return stats{}, err
	}
	defer release()
	if rows != nil {
		return h.insert(r.Context(), req, statement.insertion, rows)
	}
	return h.query(r.Context(), req, statement.text, out)
}

// body returns the request's bytes, decompressed and bounded.
func (h *handler) body(r *http.Request, req *request) (io.Reader, error) {
	body, err := decodeBody(io.LimitReader(r.Body, h.maxBody+1), r.Header.Get("Content-Encoding"))
	if errors.Is(err, io.EOF) {
		return strings.NewReader(""), nil
	}
	if err != nil {
		return nil, err
	}
	if req.decompress {
		body = newDeframer(body)
	}
	return &boundedReader{from: body, left: h.maxBody}, nil
}

// slot waits until one query more may run.
func (h *handler) slot(ctx context.Context) (release func(), err error) {
	timer := time.NewTimer(slotWait)
	defer timer.Stop()
	select {
	case h.slots <- struct{}{}:
		return func() { <-h.slots }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-timer.C:
		return nil, exceptionf(codeTooManyQueries, "Too many simultaneous queries. Maximum: %d. (TOO_MANY_SIMULTANEOUS_QUERIES)", cap(h.slots))
	}
}

// boundedReader fails where a plain limit would cut silently.
type boundedReader struct {
	from io.Reader
	left int64
}

func (b *boundedReader) Read(p []byte) (int, error) {
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.from.Read(p)
	b.left -= int64(n)
	if b.left < 0 {
		return 0, exceptionf(codeQueryIsTooLarge, "the body is larger than this server takes")
	}
	return n, err
}

// headerText makes text safe for a header.
func headerText(text string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f {
			return -1
		}
		return r
	}, text)
}

func asException(err error) *Exception {
	var e *Exception
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, context.Canceled):
		return exceptionf(codeQueryCancelled, "Query was cancelled. (QUERY_WAS_CANCELLED)")
	}
	return exceptionf(codeUnknownException, "%v", err)
}
