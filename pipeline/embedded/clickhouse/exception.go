package clickhouse

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
)

// Exception is an error of the engine, with ClickHouse's own number.
type Exception struct {
	Code    int    // ClickHouse's error code, e.g. 60 for UNKNOWN_TABLE; 1002 when there was none
	Message string // the whole text, beginning with "Code: "
}

// Error returns the whole text.
func (e *Exception) Error() string { return e.Message }

// Status returns the HTTP status that a ClickHouse server gives for the code.
func (e *Exception) Status() int {
	if status, ok := statusOfCode[e.Code]; ok {
		return status
	}
	return http.StatusInternalServerError
}

// Codes that the handler itself gives, where a ClickHouse server would give them too.
const (
	codeBadArguments     = 36
	codeNotImplemented   = 48
	codeSyntaxError      = 62
	codeUnknownFormat    = 73
	codeUnknownSetting   = 115
	codeIncorrectData    = 117
	codeReadonly         = 164
	codeTooManyQueries   = 202
	codeQueryIsTooLarge  = 306
	codeOutfileForbidden = 358
	codeQueryCancelled   = 394
	codeCannotDecompress = 271
	codeAuthentication   = 516
	codeUnknownException = 1002
)

// statusOfCode follows ClickHouse's exceptionCodeToHTTPStatus; all other codes are 500.
var statusOfCode = map[int]int{
	codeAuthentication: http.StatusForbidden,
	497:                http.StatusForbidden, // ACCESS_DENIED
	codeReadonly:       http.StatusForbidden,
	194:                http.StatusUnauthorized, // REQUIRED_PASSWORD

	6: http.StatusBadRequest, 26: http.StatusBadRequest, 27: http.StatusBadRequest, // CANNOT_PARSE_TEXT, …
	codeBadArguments: http.StatusBadRequest, 38: http.StatusBadRequest, 41: http.StatusBadRequest,
	42: http.StatusBadRequest, 43: http.StatusBadRequest, 53: http.StatusBadRequest,
	codeSyntaxError: http.StatusBadRequest, 69: http.StatusBadRequest, 72: http.StatusBadRequest,
	codeIncorrectData: http.StatusBadRequest, 457: http.StatusBadRequest, // BAD_QUERY_PARAMETER

	46: http.StatusNotFound, 47: http.StatusNotFound, 50: http.StatusNotFound, // UNKNOWN_FUNCTION, …
	56: http.StatusNotFound, 60: http.StatusNotFound, codeUnknownFormat: http.StatusNotFound,
	81: http.StatusNotFound, codeUnknownSetting: http.StatusNotFound,

	159:                  http.StatusRequestTimeout, // TIMEOUT_EXCEEDED
	codeQueryIsTooLarge:  http.StatusRequestEntityTooLarge,
	codeNotImplemented:   http.StatusNotImplemented,
	codeTooManyQueries:   http.StatusServiceUnavailable,
	codeOutfileForbidden: http.StatusForbidden,
}

var exceptionCode = regexp.MustCompile(`^Code: (\d{1,9})\.`)

// parseException reads the code out of an engine's error text.
func parseException(text string) *Exception {
	if m := exceptionCode.FindStringSubmatch(text); m != nil {
		if code, err := strconv.Atoi(m[1]); err == nil && code > 0 {
			return &Exception{Code: code, Message: text}
		}
	}
	return exceptionf(codeUnknownException, "%s", text)
}

// exceptionf makes an exception of the handler's own in the engine's words.
func exceptionf(code int, format string, args ...any) *Exception {
	return &Exception{Code: code, Message: fmt.Sprintf("Code: %d. DB::Exception: %s", code, fmt.Sprintf(format, args...))}
}
