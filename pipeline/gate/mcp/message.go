package mcp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// message is what the gate reads of one JSON-RPC message. Its slices point into the bytes
// that it was parsed from.
type message struct {
	raw    []byte // as it came
	id     []byte // as it was written; nil: none
	method string // empty: a response
	params []byte
	result []byte
	failed bool // a response with an error
}

// The reasons why a message is not forwarded, whoever sends it.
var (
	errNoJSON   = errors.New("it is not JSON in UTF-8")
	errReturn   = errors.New("a carriage return stands inside it, which some servers take for its end")
	errTwoWays  = errors.New("a name that matters stands in it twice or in another case, so that it may be read in two ways")
	errMethod   = errors.New("its method is not a text")
	errNested   = errors.New("a batch stands in a batch")
	errInFlight = errors.New("its id is in use by a call that has not ended")
	errTooMany  = errors.New("too many requests are unanswered")
	errLongID   = fmt.Errorf("its id or its progress token is longer than %d bytes", maxID)
	errMedia    = errors.New("its type is not application/json in UTF-8, neither packed nor in another charset")
	errTooLarge = errors.New("it is too large")
)

// maxID bounds an id and a progress token as they are written: the gate keeps them.
const maxID = 1 << 10

// split takes what a client sent apart: one message, or the messages of a batch. What is no
// JSON object has no method, and no id.
//
// A server reads what it gets in its own way. Where another way than the gate's could find
// a call that the gate did not see, split fails:
//   - What is not JSON to the gate may be to a lenient reader.
//   - A carriage return is white space in JSON, and to some readers the end of a line: they
//     would read a message that stood hidden inside another. (U+2028, an end of line to a
//     few, can only stand in a string, where no quotes can.)
//   - Of a member that is there twice, or again in another case, readers take one or the other.
func split(b []byte) (list []message, batch bool, err error) {
	body := bytes.TrimSpace(b)
	switch {
	case bytes.IndexByte(body, '\r') >= 0:
		return nil, false, errReturn
	case !utf8.Valid(body) || !json.Valid(body):
		return nil, false, errNoJSON
	case body[0] != '[':
		m, err := parse(body)
		return []message{m}, false, err
	}
	err = elements(body, func(value []byte) error {
		if value[0] == '[' {
			return errNested
		}
		m, err := parse(value)
		list = append(list, m)
		return err
	})
	return list, true, err
}

// parse reads one JSON value.
func parse(b []byte) (message, error) {
	m := message{raw: b}
	v, err := named(b, "id", "method", "params", "result", "error")
	if err != nil {
		return m, errTwoWays
	}
	m.id, m.params, m.result, m.failed = v[0], v[2], v[3], v[4] != nil
	if v[1] != nil {
		if v[1][0] != '"' {
			return m, errMethod
		}
		m.method = text(v[1])
	}
	return m, nil
}

// notification reports whether nobody answers the message.
func (m *message) notification() bool { return m.method != "" && m.id == nil }

// response reports whether the message answers a request.
func (m *message) response() bool { return m.method == "" && m.id != nil }

// idKey makes an id comparable: servers write 1.0 as 1, and "\u0061" as "a".
func idKey(id []byte) string {
	if len(id) == 0 {
		return ""
	}
	if id[0] == '"' {
		return "s" + text(id)
	}
	if f, err := strconv.ParseFloat(string(id), 64); err == nil {
		return "n" + strconv.FormatFloat(f, 'g', -1, 64)
	}
	return "v" + string(id)
}

// target is what a request acts on: the tool, the resource or the prompt.
func (m *message) target() (string, error) {
	v, err := named(m.params, "name", "uri")
	if err != nil {
		return "", errTwoWays
	}
	name, uri := v[0], v[1]
	if m.method == methodCall || m.method == methodPrompt || uri == nil {
		return plain(name), nil
	}
	return plain(uri), nil
}

// plain is a value as text.
func plain(value []byte) string {
	if len(value) > 0 && value[0] == '"' {
		return text(value)
	}
	return string(value)
}

// meta returns a text of the request's _meta.
func (m *message) meta(name string) string { return text(member(member(m.params, "_meta"), name)) }

// wrong adds what was read to the reason why a message is refused.
func wrong(err error) error { return fmt.Errorf("the gate does not forward this message: %w", err) }

// readServer takes what a server sent apart. The server is not the one that is guarded against:
// where it writes something twice, the gate reads it as most clients do.
func readServer(b []byte) (list []message, batch bool, err error) {
	body := bytes.TrimSpace(b)
	switch {
	case !json.Valid(body):
		return nil, false, errNoJSON
	case body[0] != '[':
		return []message{readAnswer(body)}, false, nil
	}
	// f does not fail.
	_ = elements(body, func(value []byte) error {
		list = append(list, readAnswer(value))
		return nil
	})
	return list, true, nil
}

func readAnswer(b []byte) message {
	m := message{raw: b}
	if !object(b) {
		return m
	}
	// f does not fail.
	_ = members(b, func(key string, value []byte) error {
		switch key {
		case "id":
			m.id = value
		case "method":
			m.method = text(value)
		case "params":
			m.params = value
		case "result":
			m.result = value
		case "error":
			m.failed = true
		}
		return nil
	})
	return m
}
