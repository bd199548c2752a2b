package telemetry

import (
	"bytes"
	"strings"
)

// Format is how the bytes of a call are written.
type Format uint8

// The formats. Auto, the zero value, tells by the bytes: see sniff.
const (
	Auto       Format = iota
	JSON              // native JSON, docs/calls.md
	Protobuf          // estop.v1.Call, estop.proto
	CloudTrail        // an AWS CloudTrail record, or a file {"Records":[…]} of them
)

// HeaderContentType is the Kafka header that names a record's format.
const HeaderContentType = "content-type"

// The content types that estop writes.
const (
	ContentTypeJSON       = "application/vnd.estop.call+json"
	ContentTypeProtobuf   = "application/vnd.estop.call+protobuf"
	ContentTypeCloudTrail = "application/vnd.aws.cloudtrail+json"
)

// String returns the format's name.
func (f Format) String() string {
	switch f {
	case JSON:
		return "json"
	case Protobuf:
		return "protobuf"
	case CloudTrail:
		return "cloudtrail"
	}
	return "auto"
}

// ContentType returns the media type of the format; empty for Auto.
func (f Format) ContentType() string {
	switch f {
	case JSON:
		return ContentTypeJSON
	case Protobuf:
		return ContentTypeProtobuf
	case CloudTrail:
		return ContentTypeCloudTrail
	}
	return ""
}

// FormatOf returns the format that a media type names; parameters (; charset=…) and case
// do not matter. It returns false for media types that estop does not decode.
func FormatOf(contentType string) (Format, bool) {
	if i := strings.IndexByte(contentType, ';'); i >= 0 {
		contentType = contentType[:i]
	}
	contentType = strings.TrimSpace(contentType)
	for _, t := range mediaTypes {
		if strings.EqualFold(t.name, contentType) {
			return t.format, true
		}
	}
	return Auto, false
}

var mediaTypes = []struct {
	name   string
	format Format
}{
	{ContentTypeJSON, JSON},
	{"application/json", JSON},
	{ContentTypeProtobuf, Protobuf},
	{"application/x-protobuf", Protobuf},
	{"application/protobuf", Protobuf},
	{ContentTypeCloudTrail, CloudTrail},
}

// gzipped tells gzip by its magic bytes. No format begins with them.
func gzipped(b []byte) bool { return len(b) > 2 && b[0] == 0x1f && b[1] == 0x8b }

// mayBeCloudTrail is false where none of the keys that only CloudTrail has can be found, which is much faster to say
// than what the keys are. A key can be written with escapes.
func mayBeCloudTrail(b []byte) bool {
	return bytes.Contains(b, []byte(`"userIdentity"`)) || bytes.Contains(b, []byte(`"eventSource"`)) ||
		bytes.Contains(b, []byte(`"Records"`)) || bytes.IndexByte(b, '\\') >= 0
}

// sniff tells JSON by its opening brace, and CloudTrail from native JSON by the top-level
// keys that only CloudTrail has. Protobuf cannot be told from noise: it needs its header.
func (s *scanner) sniff(b []byte) Format {
	b = bytes.TrimLeft(b, " \t\r\n")
	if len(b) == 0 || b[0] != '{' {
		return Auto
	}
	if !mayBeCloudTrail(b) {
		return JSON
	}
	s.reset(b)
	s.i++
	for first := true; ; first = false {
		key, more := s.member(first)
		if !more {
			return JSON // or broken JSON: the native decoder names what is wrong
		}
		switch string(key) {
		case "userIdentity", "eventSource", "Records":
			return CloudTrail
		}
		if !s.skip(0) {
			return JSON
		}
	}
}
