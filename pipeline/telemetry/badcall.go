package telemetry

import "fmt"

// The reasons of a BadCall. They are stable: dead-letter records and metrics carry them.
const (
	ReasonTruncatedJSON  = "truncated_json"   // the bytes end inside a JSON value
	ReasonBadJSON        = "bad_json"         // not JSON
	ReasonTrailingData   = "trailing_data"    // more bytes after the end of the call
	ReasonWrongType      = "wrong_type"       // a field is of another JSON type than documented
	ReasonBadValue       = "bad_value"        // a field is of the right type and means nothing
	ReasonDuplicateKey   = "duplicate_key"    // a known field is there twice
	ReasonTooLarge       = "too_large"        // the call is longer than MaxBytes
	ReasonFieldTooLong   = "field_too_long"   // a field is longer than MaxField
	ReasonTooDeep        = "too_deep"         // JSON nested deeper than MaxDepth
	ReasonChainTooDeep   = "chain_too_deep"   // more chain members than MaxChain
	ReasonTooMuchContext = "too_much_context" // more context entries than MaxContext
	ReasonInvalidUTF8    = "invalid_utf8"     // text that is not UTF-8
	ReasonNullByte       = "null_byte"        // U+0000 in a text
	ReasonMissingTime    = "missing_time"     // no ts
	ReasonBadTime        = "bad_time"         // ts is neither RFC 3339 nor integer nanoseconds
	ReasonNegativeTime   = "negative_time"    // ts before 1970, or a negative latency
	ReasonNegativeBytes  = "negative_bytes"   // bytes_in or bytes_out below zero
	ReasonEmptyTenant    = "empty_tenant"     // tenant missing or empty
	ReasonEmptyAgent     = "empty_agent"      // agent missing or empty
	ReasonBadProtobuf    = "bad_protobuf"     // not the wire format of estop.v1.Call
	ReasonBadGzip        = "bad_gzip"         // gzip that does not unpack
	ReasonGzipBomb       = "gzip_bomb"        // gzip that unpacks to more than a message may have, or MaxRatio allows
	ReasonUnknownFormat  = "unknown_format"   // no content type, and the bytes do not tell
	ReasonEmpty          = "empty"            // no bytes
)

// BadCall says that a call cannot be decoded and why. The decoder goes on with the
// following call of the same bytes at the next Next.
type BadCall struct {
	Reason string // one of the Reason constants
	Detail string // for people: where and what
	Index  int    // which call of the message, from 0
}

// Error returns the reason with its detail.
func (e *BadCall) Error() string {
	return fmt.Sprintf("bad call %d: %s: %s", e.Index, e.Reason, e.Detail)
}
