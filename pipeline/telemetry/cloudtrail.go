package telemetry

import (
	"bytes"
	"io"
	"unicode/utf8"
)

// record is what estop reads of one CloudTrail record (record contents 1.11). Types are
// taken as they come: a number or boolean is its text, and anything else is skipped, for
// the services that write into these records do not agree with each other.
type record struct {
	time    int64
	hasTime bool
	reason  string // why the time is not one

	id, source, name, region, ip, userAgent []byte
	errorCode, errorMessage, eventType      []byte
	recipient, shared, vpc, readOnly        []byte
	additionalMFA, consoleLogin, issuedKey  []byte
	arn                                     []byte // the first in resources
	bytesIn, bytesOut                       int64
	omitted                                 []byte // AWS left parameters out for their size
	principal                               principal
	params                                  [len(parameters)][]byte
	key                                     []byte // S3 object
}

// nextRecord fills c with the next record of a message that is one record or a file.
func (d *Decoder) nextRecord(c *Call) error {
	s := &d.scan
	s.lax = true
	if d.state == atStart {
		inFile, ok := s.openFile()
		if !ok {
			d.state = atEnd
			return d.bad()
		}
		if !inFile {
			d.state = atEnd
			return d.oneRecord(c, true)
		}
		d.state = inRecords
	}
	s.arena = s.arena[:0]
	if s.element(d.index == 0) {
		return d.oneRecord(c, false)
	}
	d.state = atEnd
	if s.reason == "" && !s.closeFile() {
		s.fail(ReasonTrailingData)
	}
	if s.reason != "" {
		return d.bad()
	}
	return io.EOF
}

// oneRecord reads a record. Where it cannot, it moves behind the record, or to the end of
// the message where no end of the record is to be found.
func (d *Decoder) oneRecord(c *Call, last bool) error {
	s := &d.scan
	s.peek()
	start := s.i
	if s.cloudTrail(c) && (!last || s.end() || s.fail(ReasonTrailingData)) {
		if s.i-start <= s.limits.MaxBytes {
			return d.finish(c, s.b[start:s.i])
		}
		s.fail(ReasonTooLarge)
	}
	bad := d.bad()
	s.i = start
	if !s.skip(0) {
		s.reason = ""
		d.state = atEnd
	}
	return bad
}

// openFile moves into the array of {"Records":[…]}, or stays at the start of a record.
func (s *scanner) openFile() (inFile, ok bool) {
	if !s.expect('{') {
		return false, false
	}
	for first := true; ; first = false {
		key, more := s.member(first)
		if !more {
			break
		}
		if string(key) == "Records" && s.peek() == '[' {
			s.i++
			return true, true
		}
		if isRecordKey(key) || !s.skip(1) {
			break
		}
	}
	// Not a file, or not yet known to be broken: the record's reader says what it is.
	s.i, s.reason, s.field = 0, "", nil
	return false, true
}

// closeFile reads what follows the array of records.
func (s *scanner) closeFile() bool {
	for {
		if _, more := s.member(false); !more {
			return s.reason == "" && s.end()
		}
		if !s.skip(1) {
			return false
		}
	}
}

// isRecordKey tells that an object is a record by a key that each of them has.
func isRecordKey(key []byte) bool {
	switch string(key) {
	case "eventVersion", "userIdentity", "eventTime", "eventSource", "eventName", "awsRegion", "eventID":
		return true
	}
	return false
}

// cloudTrail reads one record as a call.
func (s *scanner) cloudTrail(c *Call) bool {
	if s.peek() != '{' {
		return s.wrongType()
	}
	s.i++
	var r record
	for first := true; ; first = false {
		key, more := s.member(first)
		if !more {
			break
		}
		if !s.recordField(&r, c, key) {
			return false
		}
	}
	return s.reason == "" && s.mapRecord(&r, c)
}

func (s *scanner) recordField(r *record, c *Call, key []byte) bool {
	switch string(key) {
	case "eventTime":
		return s.eventTime(r)
	case "eventID":
		return s.loose(&r.id)
	case "eventSource":
		return s.loose(&r.source)
	case "eventName":
		return s.loose(&r.name)
	case "eventType":
		return s.loose(&r.eventType)
	case "awsRegion":
		return s.loose(&r.region)
	case "sourceIPAddress":
		return s.loose(&r.ip)
	case "userAgent":
		return s.loose(&r.userAgent)
	case "errorCode":
		return s.loose(&r.errorCode)
	case "errorMessage":
		return s.loose(&r.errorMessage)
	case "recipientAccountId":
		return s.loose(&r.recipient)
	case "sharedEventID":
		return s.loose(&r.shared)
	case "vpcEndpointId":
		return s.loose(&r.vpc)
	case "readOnly":
		return s.loose(&r.readOnly)
	case "userIdentity":
		return s.principal(&r.principal)
	case "requestParameters":
		return s.parameters(r)
	case "responseElements":
		return s.response(r)
	case "resources":
		return s.resources(r)
	case "additionalEventData":
		return s.additional(r)
	case "eventVersion", "requestID", "eventCategory", "managementEvent", "tlsDetails",
		"apiVersion", "serviceEventDetails", "addendum", "sessionCredentialFromConsole",
		"edgeDeviceDetails", "insightDetails", "eventContext", "vpcEndpointAccountId":
	default:
		c.Unknown++
	}
	return s.skip(1)
}

// object moves into the object that is next, or behind a value that is none.
func (s *scanner) object() (inside bool) {
	if s.peek() != '{' {
		s.skip(1)
		return false
	}
	s.i++
	return true
}

// loose reads a scalar as text, and skips anything else.
func (s *scanner) loose(dst *[]byte) (ok bool) {
	switch c := s.peek(); c {
	case '"':
		*dst, ok = s.str()
		return ok
	case '{', '[':
		return s.skip(1)
	case 'n':
		return s.word("null")
	default:
		*dst, ok = s.literal(c)
		return ok
	}
}

func (s *scanner) eventTime(r *record) bool {
	if s.peek() != '"' {
		return s.wrongType()
	}
	t, ok := s.str()
	if !ok {
		return false
	}
	r.hasTime = true
	r.time, r.reason = parseTime(t)
	return r.reason == "" || s.fail(r.reason)
}

// resources keeps the first ARN.
func (s *scanner) resources(r *record) bool {
	if s.peek() != '[' {
		return s.skip(1)
	}
	s.i++
	for first := true; s.element(first); first = false {
		if !s.object() {
			continue
		}
		for inner := true; ; inner = false {
			key, more := s.member(inner)
			if !more {
				break
			}
			if string(key) == "ARN" && len(r.arn) == 0 {
				s.loose(&r.arn)
			} else {
				s.skip(3)
			}
		}
	}
	return s.reason == ""
}

// additional reads the sizes that S3 gives, and whether a console login had a second factor.
func (s *scanner) additional(r *record) bool {
	if !s.object() {
		return s.reason == ""
	}
	for first := true; ; first = false {
		key, more := s.member(first)
		if !more {
			return s.reason == ""
		}
		switch string(key) {
		case "bytesTransferredIn":
			s.bytesField(&r.bytesIn)
		case "bytesTransferredOut":
			s.bytesField(&r.bytesOut)
		case "MFAUsed":
			s.loose(&r.additionalMFA)
		default:
			s.skip(2)
		}
	}
}

// bytesField reads a number of bytes, which some services write as 289.0; what is no such
// number is none.
func (s *scanner) bytesField(dst *int64) {
	if c := s.peek(); c != '-' && (c < '0' || c > '9') {
		s.skip(2)
		return
	}
	if n, ok := s.number(); ok {
		if v, ok := n.int64(); ok && v > 0 {
			*dst = v
		}
	}
}

// response reads whether a console login went well, and which access key the call issued:
// the key links the sessions of a chain.
func (s *scanner) response(r *record) bool {
	if !s.object() {
		return s.reason == ""
	}
	for first := true; ; first = false {
		key, more := s.member(first)
		if !more {
			return s.reason == ""
		}
		switch string(key) {
		case "ConsoleLogin":
			s.loose(&r.consoleLogin)
		case "credentials", "accessKey":
			s.only("accessKeyId", &r.issuedKey)
		default:
			s.skip(2)
		}
	}
}

// only reads one member of an object.
func (s *scanner) only(name string, dst *[]byte) {
	if !s.object() {
		return
	}
	for first := true; ; first = false {
		key, more := s.member(first)
		if !more {
			return
		}
		if string(key) == name {
			s.loose(dst)
		} else {
			s.skip(3)
		}
	}
}

// mapRecord makes the call of a record: docs/calls.md has the table.
func (s *scanner) mapRecord(r *record, c *Call) bool {
	if !r.hasTime {
		return s.fail(ReasonMissingTime)
	}
	p := &r.principal
	c.Time, c.ID = r.time, r.id
	c.Tenant = first(r.recipient, p.account)
	s.agent(p, r, c)
	c.Session = first(p.accessKey, p.id)
	service := bytes.TrimSuffix(r.source, []byte(".amazonaws.com"))
	if len(service)+len(r.name) > 0 {
		c.Action = s.build("", service, colon, r.name)
	}
	c.Resource = s.resource(r, service)
	c.Outcome = r.outcome()
	c.BytesIn, c.BytesOut = r.bytesIn, r.bytesOut
	s.recordContext(r, c)
	return s.complete(c, haveTime) && s.fits(c)
}

// fits checks the lengths of what a record became.
func (s *scanner) fits(c *Call) bool {
	for _, f := range [...][]byte{c.ID, c.Tenant, c.Agent, c.Identity, c.Session, c.Action, c.Resource} {
		if len(f) > s.limits.MaxField {
			return s.fail(ReasonFieldTooLong)
		}
	}
	return true
}

// recordContext keeps what detectors match on, under CloudTrail's own names.
func (s *scanner) recordContext(r *record, c *Call) {
	p := &r.principal
	mfa := p.mfa
	switch string(r.additionalMFA) {
	case "Yes":
		mfa = []byte("true")
	case "No":
		mfa = []byte("false")
	}
	for _, e := range [...]struct {
		key   string
		value []byte
	}{
		{"eventType", r.eventType},
		{"awsRegion", r.region},
		{"sourceIPAddress", r.ip},
		{"userAgent", r.userAgent},
		{"readOnly", r.readOnly},
		{"errorCode", r.errorCode},
		{"sharedEventID", r.shared},
		{"vpcEndpointId", r.vpc},
		{"principalType", p.kind},
		{"principalAccount", p.foreign(c.Tenant)},
		{"invokedBy", p.invokedBy},
		{"identityProvider", p.provider},
		{"roleSessionName", p.sessionName()},
		{"creationDate", p.created},
		{"mfa", mfa},
		{"issuedAccessKeyId", r.issuedKey},
		{"omitted", r.omitted},
	} {
		if len(e.value) > 0 && len(c.Context) < s.limits.MaxContext {
			c.Context = append(c.Context, Pair{s.build(e.key), shorten(e.value, s.limits.MaxField)})
		}
	}
}

// shorten returns at most n bytes of a text, and no part of a character. A long user agent is
// no reason to lose sight of a call.
func shorten(b []byte, n int) []byte {
	if len(b) <= n {
		return b
	}
	for n > 0 && !utf8.RuneStart(b[n]) {
		n--
	}
	return b[:n]
}

// outcome tells a refusal from other errors. Throttling is an error: nobody said no.
func (r *record) outcome() Outcome {
	code := r.errorCode
	switch {
	case string(r.consoleLogin) == "Failure":
		return OutcomeDenied
	case len(code) == 0 && len(r.errorMessage) == 0:
		return OutcomeOK
	case len(code) == 0 && string(r.errorMessage) == "Failed authentication":
		return OutcomeDenied
	}
	for _, mark := range refusals {
		if bytes.Contains(code, mark) {
			return OutcomeDenied
		}
	}
	return OutcomeError
}

// refusals are what error codes of refused calls contain: Client.UnauthorizedOperation,
// AccessDeniedException, KMSAccessDenied, AuthFailure, ExpiredTokenException, ….
var refusals = [][]byte{
	[]byte("Denied"), []byte("Unauthorized"), []byte("NotAuthorized"), []byte("Forbidden"),
	[]byte("AuthFailure"), []byte("InvalidClientTokenId"), []byte("UnrecognizedClient"),
	[]byte("SignatureDoesNotMatch"), []byte("ExpiredToken"), []byte("MissingAuthenticationToken"),
}

// build puts text together in the arena.
func (s *scanner) build(prefix string, parts ...[]byte) []byte {
	from := len(s.arena)
	s.arena = append(s.arena, prefix...)
	for _, p := range parts {
		s.arena = append(s.arena, p...)
	}
	return s.arena[from:len(s.arena):len(s.arena)]
}

// first returns the first of its arguments that is not empty.
func first(of ...[]byte) []byte {
	for _, b := range of {
		if len(b) > 0 {
			return b
		}
	}
	return nil
}

var (
	colon = []byte(":")
	slash = []byte("/")
)
