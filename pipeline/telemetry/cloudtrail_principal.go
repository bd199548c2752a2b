package telemetry

import "bytes"

// principal is what estop reads of userIdentity. kind is an open set.
type principal struct {
	kind, id, arn, account, accessKey, userName []byte
	invokedBy, provider, onBehalfOf             []byte
	sourceIdentity, mfa, created                []byte
	issuerARN, issuerName                       []byte
}

func (s *scanner) principal(p *principal) bool {
	if !s.object() {
		return s.reason == ""
	}
	for first := true; ; first = false {
		key, more := s.member(first)
		if !more {
			return s.reason == ""
		}
		switch string(key) {
		case "type":
			s.loose(&p.kind)
		case "principalId":
			s.loose(&p.id)
		case "arn":
			s.loose(&p.arn)
		case "accountId":
			s.loose(&p.account)
		case "accessKeyId":
			s.loose(&p.accessKey)
		case "userName":
			s.loose(&p.userName)
		case "invokedBy":
			s.loose(&p.invokedBy)
		case "identityProvider":
			s.loose(&p.provider)
		case "onBehalfOf":
			s.only("userId", &p.onBehalfOf)
		case "sessionContext":
			s.sessionContext(p)
		default:
			s.skip(2)
		}
	}
}

func (s *scanner) sessionContext(p *principal) {
	if !s.object() {
		return
	}
	for first := true; ; first = false {
		key, more := s.member(first)
		if !more {
			return
		}
		switch string(key) {
		case "sourceIdentity":
			s.loose(&p.sourceIdentity)
		case "sessionIssuer", "attributes", "webIdFederationData":
			s.sessionPart(p)
		default:
			s.skip(3)
		}
	}
}

// sessionPart reads the parts of sessionContext; their members have names of their own,
// apart from those that are not needed. attributes may hold sourceIdentity too.
func (s *scanner) sessionPart(p *principal) {
	if !s.object() {
		return
	}
	for first := true; ; first = false {
		key, more := s.member(first)
		if !more {
			return
		}
		switch string(key) {
		case "arn":
			s.loose(&p.issuerARN)
		case "userName":
			s.loose(&p.issuerName)
		case "mfaAuthenticated":
			s.loose(&p.mfa)
		case "creationDate":
			s.loose(&p.created)
		case "sourceIdentity":
			s.loose(&p.sourceIdentity)
		case "federatedProvider":
			s.loose(&p.provider)
		default:
			s.skip(4)
		}
	}
}

// agent fills in who acted: the agent, the identity and the chain.
func (s *scanner) agent(p *principal, r *record, c *Call) {
	c.Identity = first(p.issuerARN, p.arn)
	role := p.role()
	switch {
	case len(p.sourceIdentity) > 0:
		c.Agent = s.build("source-identity/", p.sourceIdentity)
	case len(role) > 0:
		s.roleAgent(p, role, c)
	default:
		c.Agent = s.plainAgent(p, r)
	}
	if len(c.Identity) == 0 {
		c.Identity = c.Agent
	}
}

// roleAgent names the agent behind a role's session. A session name that a program made up
// for one run is no name of an agent: then the agent is the role.
func (s *scanner) roleAgent(p *principal, role []byte, c *Call) {
	name := s.build("role/", role)
	c.Agent = name
	session := p.sessionName()
	switch {
	case serviceLinked(p.issuerARN) && len(p.invokedBy) > 0:
		c.Chain = append(c.Chain, s.build("service/", p.invokedBy), c.Agent)
	case len(session) > 0 && !ephemeral(session):
		c.Agent = s.build("role/", role, slash, session)
		c.Chain = append(c.Chain, name, c.Agent)
	}
}

func (s *scanner) plainAgent(p *principal, r *record) []byte {
	id, _, _ := bytes.Cut(p.id, colon)
	switch string(p.kind) {
	case "IAMUser":
		if len(p.userName) > 0 {
			return s.build("user/", p.userName)
		}
	case "Root":
		return s.build("root")
	case "AWSAccount":
		if len(id) > 0 && !bytes.Equal(id, p.account) {
			return s.build("account/", p.account, slash, id)
		}
		return s.build("account/", p.account)
	case "WebIdentityUser", "SAMLUser":
		if len(p.userName) > 0 {
			return s.build("federated/", p.provider, slash, p.userName)
		}
	case "IdentityCenterUser":
		if u := first(p.onBehalfOf, id); len(u) > 0 {
			return s.build("identity-center/", u)
		}
	}
	switch {
	case len(arnResource(p.arn)) > 0:
		return arnResource(p.arn)
	case len(p.id) > 0:
		return s.build("principal/", p.id)
	case len(p.invokedBy) > 0:
		return s.build("service/", p.invokedBy)
	case len(p.account) > 0:
		return s.build("account/", p.account)
	case bytes.HasSuffix(r.ip, []byte(".amazonaws.com")):
		return s.build("service/", r.ip)
	case len(r.source) > 0:
		return s.build("service/", r.source)
	}
	return nil
}

var assumedRole = []byte("assumed-role/")

// role returns the name of the role whose session this is, empty for other principals.
func (p *principal) role() []byte {
	rest, ok := bytes.CutPrefix(arnResource(p.arn), assumedRole)
	if !ok {
		if string(p.kind) == "AssumedRole" {
			return first(p.issuerName, lastPart(p.issuerARN))
		}
		return nil
	}
	name, _, _ := bytes.Cut(rest, slash)
	return name
}

// sessionName returns the name of a role's session, empty for other principals.
func (p *principal) sessionName() []byte {
	if rest, ok := bytes.CutPrefix(arnResource(p.arn), assumedRole); ok {
		_, name, _ := bytes.Cut(rest, slash)
		return name
	}
	if string(p.kind) == "AssumedRole" {
		_, name, _ := bytes.Cut(p.id, colon)
		return name
	}
	return nil
}

// foreign returns the account of a principal that is of another account than the tenant's.
func (p *principal) foreign(tenant []byte) []byte {
	if bytes.Equal(p.account, tenant) {
		return nil
	}
	return p.account
}

func serviceLinked(arn []byte) bool {
	return bytes.Contains(arn, []byte(":role/aws-service-role/"))
}

// arnResource returns what follows the fifth colon of an ARN.
func arnResource(arn []byte) []byte {
	for range 5 {
		i := bytes.IndexByte(arn, ':')
		if i < 0 {
			return nil
		}
		arn = arn[i+1:]
	}
	return arn
}

func lastPart(b []byte) []byte { return b[bytes.LastIndexByte(b, '/')+1:] }

// ephemeral tells names that live for one run: an instance id (i-0abc…), a time or counter
// (eight digits in a row), a UUID or hash (twelve hexadecimal digits in a row, of which at
// least one is 0–9).
func ephemeral(name []byte) bool {
	if id, ok := bytes.CutPrefix(name, []byte("i-")); ok && len(id) >= 8 && hexRun(id) == len(id) {
		return true
	}
	digits, run, digitsInRun := 0, 0, 0
	for _, c := range name {
		digit := c-'0' <= 9
		if digit {
			digits++
			digitsInRun++
		} else {
			digits = 0
		}
		if digit || c|0x20 >= 'a' && c|0x20 <= 'f' {
			run++
		} else {
			run, digitsInRun = 0, 0
		}
		if digits >= 8 || run >= 12 && digitsInRun > 0 {
			return true
		}
	}
	return false
}

// hexRun returns how many hexadecimal digits b begins with.
func hexRun(b []byte) int {
	for i, c := range b {
		if c-'0' > 9 && (c|0x20 < 'a' || c|0x20 > 'f') {
			return i
		}
	}
	return len(b)
}
