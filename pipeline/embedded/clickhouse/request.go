package clickhouse

import (
	"net/http"
	"net/url"
	"sort"
	"strconv"
	"strings"
)

// request is what a client asks for, apart from the body.
type request struct {
	query    string // the query parameter; the body follows it on a new line
	queryID  string
	database string
	format   string // for an answer whose query names none

	settings map[string]string // for this query alone
	params   map[string]string // param_name: value of {name:Type}

	compress     bool   // answer in ClickHouse's native framing
	method       string // of that framing: LZ4 or ZSTD
	decompress   bool   // the body is in native framing
	wait         bool   // hold the answer back until the query is over
	httpEncoding bool   // the answer may be encoded as Accept-Encoding says
	revision     int    // of the native protocol, as the client states it; 0 when it does not
}

// reserved are the parameters that mean something other than a setting. Sessions, quotas and
// roles do not exist here: a client that sends them is served without.
var reserved = map[string]bool{
	"query": true, "database": true, "default_format": true, "query_id": true,
	"user": true, "password": true, "quota_key": true, "role": true,
	"session_id": true, "session_timeout": true, "session_check": true, "close_session": true,
	"compress": true, "decompress": true, "buffer_size": true, "wait_end_of_query": true,
	"stacktrace": true, "client_protocol_version": true, "enable_http_compression": true,
}

// readRequest reads the parameters and headers. GET cannot change anything, so a link in
// another page cannot either.
func readRequest(r *http.Request) (*request, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, exceptionf(codeBadArguments, "cannot read the parameters: %v", err)
	}
	req := &request{
		query:        values.Get("query"),
		queryID:      first(values.Get("query_id"), r.Header.Get("X-ClickHouse-Query-Id")),
		database:     first(values.Get("database"), r.Header.Get("X-ClickHouse-Database")),
		format:       first(values.Get("default_format"), r.Header.Get("X-ClickHouse-Format"), "TabSeparated"),
		compress:     flag(values, "compress", false),
		method:       "LZ4",
		decompress:   flag(values, "decompress", false),
		wait:         flag(values, "wait_end_of_query", false),
		httpEncoding: flag(values, "enable_http_compression", true),
		settings:     make(map[string]string),
		params:       make(map[string]string),
	}
	if !isPlainName(req.format) {
		return nil, exceptionf(codeUnknownFormat, "Unknown format %s. (UNKNOWN_FORMAT)", req.format)
	}
	if len(req.queryID) > maxQueryID {
		return nil, exceptionf(codeBadArguments, "the query id is longer than %d bytes", maxQueryID)
	}
	req.revision, _ = strconv.Atoi(values.Get("client_protocol_version"))
	for name, all := range values {
		value := all[len(all)-1]
		switch {
		case reserved[name]:
		case !isPlainName(name):
			return nil, exceptionf(codeUnknownSetting, "Unknown setting '%s'. (UNKNOWN_SETTING)", name)
		case strings.HasPrefix(name, "param_"):
			req.params[name] = value
		default:
			req.settings[name] = value
		}
	}
	if strings.EqualFold(req.settings["network_compression_method"], "ZSTD") {
		req.method = "ZSTD"
	}
	if r.Method == http.MethodGet {
		req.settings["readonly"] = first(req.settings["readonly"], "2")
	}
	return req, nil
}

// maxQueryID bounds a query's id, which is repeated in a header and in a setting.
const maxQueryID = 256

// first returns the first text that is not empty.
func first(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}

func flag(values url.Values, name string, otherwise bool) bool {
	switch strings.ToLower(values.Get(name)) {
	case "":
		return otherwise
	case "0", "false":
		return false
	}
	return true
}

// isPlainName tells whether name can stand in a statement as it is.
func isPlainName(name string) bool {
	if name == "" || name[0] >= '0' && name[0] <= '9' {
		return false
	}
	for i := 0; i < len(name); i++ {
		if !isWordByte(name[i]) || name[i] >= 0x80 {
			return false
		}
	}
	return true
}

// setStatement writes the SET that gives a session its settings and parameters. What the
// client sets outranks the defaults; mark, which identifies the running query, outranks both.
//
// The names were checked when the request was read, so they stand as they are.
func (req *request) setStatement(defaults map[string]string, mark string) string {
	all := make(map[string]string, len(defaults)+len(req.settings)+1)
	for name, value := range defaults {
		all[name] = value
	}
	for name, value := range req.settings {
		all[name] = value
	}
	all["log_comment"] = mark + req.settings["log_comment"]
	parts := make([]string, 0, len(all)+len(req.params))
	for name, value := range all {
		parts = append(parts, name+" = "+quoteText(value))
	}
	for name, value := range req.params {
		parts = append(parts, name+" = "+quoteText(value))
	}
	sort.Strings(parts)
	return "SET " + strings.Join(parts, ", ")
}
