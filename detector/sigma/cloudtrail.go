package sigma

import (
	"slices"
	"strings"
)

// builtin are the mappings that need no file.
var builtin = []*Mapping{cloudTrail}

// cloudTrail maps the fields of AWS CloudTrail to what our decoder makes of its records; docs/calls.md has
// the table.
var cloudTrail = &Mapping{
	Product: "aws", Service: "cloudtrail",
	fields: map[string]target{
		"recipientAccountId": {field: "tenant"},
		"userIdentity.arn": {
			field: "identity", never: ":assumed-role/", why: "match the role's own ARN, arn:aws:iam::ACCOUNT:role/NAME",
			note: "identity is userIdentity.arn, but of an assumed role it is the role's ARN",
		},
		"userIdentity.sessionContext.sessionIssuer.arn":           {field: "identity"},
		"userIdentity.accessKeyId":                                {field: "session"},
		"userIdentity.type":                                       {field: "context.principalType"},
		"userIdentity.invokedBy":                                  {field: "context.invokedBy"},
		"userIdentity.identityProvider":                           {field: "context.identityProvider"},
		"userIdentity.sessionContext.attributes.creationDate":     {field: "context.creationDate"},
		"userIdentity.sessionContext.attributes.mfaAuthenticated": {field: "context.mfa"},
		"additionalEventData.MFAUsed": {
			field: "context.mfa", values: map[string]string{"yes": "true", "no": "false"},
			note: "mfa is MFAUsed, but where AWS does not give it, mfaAuthenticated",
		},
		"responseElements.credentials.accessKeyId": {field: "context.issuedAccessKeyId"},
		"responseElements.accessKey.accessKeyId":   {field: "context.issuedAccessKeyId"},
		"requestParameters.omitted":                {field: "context.omitted"},
		"awsRegion":                                {field: "context.awsRegion"},
		"errorCode":                                {field: "context.errorCode"},
		"eventType":                                {field: "context.eventType"},
		"readOnly":                                 {field: "context.readOnly"},
		"sharedEventID":                            {field: "context.sharedEventID"},
		"sourceIPAddress":                          {field: "context.sourceIPAddress"},
		"userAgent":                                {field: "context.userAgent"},
		"vpcEndpointId":                            {field: "context.vpcEndpointId"},
		// Not for a match, but to group by and to count: the action holds both.
		"eventName": {field: "action", note: "action holds the service and the name of an event"},
	},
	special: cloudTrailEvent,
	merge:   mergeActions,
	missing: []missing{
		{"requestParameters", "of the request a call keeps the resource alone; where that is meant, map the field to resource with --map and compare a part of it"},
		{"responseElements", "of the answer a call keeps the outcome and the access key alone"},
		{"userIdentity.userName", "who acted is the agent: user/NAME, role/ROLE/SESSION and others; map the field to agent with --map and compare a part of it"},
		{"userIdentity.sessionContext.sessionIssuer.userName", "the role is a part of the identity; map the field to identity with --map and compare a part of it"},
		{"errorMessage", "a call keeps errorCode and the outcome, not the message"},
		{"resources", "the first ARN is the resource; map the field to resource with --map"},
	},
}

const awsDomain = ".amazonaws.com"

// cloudTrailEvent translates the fields that are one part of an action, service:EventName, and the outcome
// of a login.
func cloudTrailEvent(r *ruleReader, t fieldTest) (*match, bool) {
	switch t.name {
	case "eventName":
		return eventName(r, t), true
	case "eventSource":
		return eventSource(r, t), true
	case "responseElements.ConsoleLogin":
		return consoleLogin(r, t), true
	}
	return nil, false
}

// eventName puts the colon in front of a name. A service's name holds no colon, so this is exact.
func eventName(r *ruleReader, t fieldTest) *match {
	switch t.comparison {
	case "":
		return t.as("action", "endswith", func(v string) string { return ":" + v })
	case "startswith":
		return t.as("action", "contains", func(v string) string { return ":" + v })
	case "endswith":
		return t.as("action", "", func(v string) string { return "*:*" + v })
	case "contains":
		return t.as("action", "", func(v string) string { return "*:*" + v + "*" })
	}
	r.fail(t.key, "write a match on action by hand", "%s on eventName cannot be moved to the action, which is service:eventName", t.comparison)
	return nil
}

// eventSource puts the colon behind a service, whose domain calls leave out.
func eventSource(r *ruleReader, t fieldTest) *match {
	for i, v := range t.values {
		if bare := strings.TrimSuffix(v, awsDomain); strings.Contains(bare, ".") || bare == v && t.comparison != "startswith" {
			r.fail(t.at(i), "write the whole source, as in s3.amazonaws.com", "the eventSource %q cannot be moved to the action, which is service:eventName", shorten(v))
			return nil
		}
	}
	service := func(v string) string { return strings.TrimSuffix(v, awsDomain) }
	whole := func(v string) bool { return strings.HasSuffix(v, awsDomain) }
	switch {
	case t.comparison == "":
		return t.as("action", "startswith", func(v string) string { return service(v) + ":" })
	case t.comparison == "startswith":
		return t.as("action", "", func(v string) string {
			if whole(v) {
				return service(v) + ":*"
			}
			return v + "*:*"
		})
	case t.comparison == "endswith" || t.comparison == "contains":
		return t.as("action", "", func(v string) string { return "*" + service(v) + ":*" })
	}
	r.fail(t.key, "write a match on action by hand", "%s on eventSource cannot be moved to the action, which is service:eventName", t.comparison)
	return nil
}

// consoleLogin tells the outcome of a login: a failed one is denied.
func consoleLogin(r *ruleReader, t fieldTest) *match {
	outcomes := map[string]string{"failure": "denied", "success": "ok"}
	var any []*match
	for i, v := range t.values {
		outcome, ok := outcomes[strings.ToLower(v)]
		if !ok || t.comparison != "" || t.all {
			r.fail(t.at(i), "write Failure or Success", "the outcome of a login cannot be %q", shorten(v))
			return nil
		}
		any = append(any, join(opAnd, test("action", "signin:ConsoleLogin"), test("outcome", outcome)))
	}
	m := join(opOr, any...)
	if t.not {
		return negate(m)
	}
	return m
}

// mergeActions joins what eventSource and eventName became in one selection: of services and names with one
// colon in an action, startswith iam: and endswith :CreateUser are iam:CreateUser.
func mergeActions(kids []*match) []*match {
	const most = 100 // values of the product
	sources := slices.IndexFunc(kids, func(m *match) bool { return m.op == opTest && m.key == "action|startswith" })
	names := slices.IndexFunc(kids, func(m *match) bool {
		return m.op == opTest && (m.key == "action|endswith" || m.key == "action|contains")
	})
	if sources < 0 || names < 0 || len(kids[sources].values)*len(kids[names].values) > most {
		return kids
	}
	merged := test(map[string]string{"action|endswith": "action", "action|contains": "action|startswith"}[kids[names].key])
	for _, source := range kids[sources].values {
		for _, name := range kids[names].values {
			service, okSource := strings.CutSuffix(source, ":")
			if !okSource || !strings.HasPrefix(name, ":") {
				return kids
			}
			merged.values = append(merged.values, service+name)
		}
	}
	rest := []*match{merged}
	for i, kid := range kids {
		if i != sources && i != names {
			rest = append(rest, kid)
		}
	}
	return rest
}
