package telemetry

import (
	"fmt"
	"strings"
	"testing"
)

// trail returns a record of account 111122223333 with the given userIdentity and more members.
func trail(userIdentity, more string) []byte {
	return fmt.Appendf(nil, `{"eventVersion":"1.11","eventTime":"2026-11-20T08:00:00Z","eventID":"e",`+
		`"awsRegion":"eu-west-1","recipientAccountId":"111122223333","userIdentity":%s%s}`, userIdentity, more)
}

func TestEachKindOfPrincipalHasAStableAgent(t *testing.T) {
	session := func(role, name string) string {
		return fmt.Sprintf(`{"type":"AssumedRole","principalId":"AROA:%[2]s","arn":"arn:aws:sts::111122223333:assumed-role/%[1]s/%[2]s","accountId":"111122223333","accessKeyId":"ASIA","sessionContext":{"sessionIssuer":{"type":"Role","arn":"arn:aws:iam::111122223333:role/path/%[1]s","userName":"%[1]s"}}}`, role, name)
	}
	const issuer = "arn:aws:iam::111122223333:role/path/ci"
	for name, in := range map[string]struct{ user, agent, identity, session, chain string }{
		"named session":     {session("ci", "deployer"), "role/ci/deployer", issuer, "ASIA", "role/ci > role/ci/deployer"},
		"instance":          {session("ci", "i-0dbc91f429e48eeed"), "role/ci", issuer, "ASIA", ""},
		"old instance":      {session("ci", "i-1780bff0"), "role/ci", issuer, "ASIA", ""},
		"SDK's counter":     {session("ci", "aws-go-sdk-1688990082523310002"), "role/ci", issuer, "ASIA", ""},
		"UUID":              {session("ci", "run-1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed"), "role/ci", issuer, "ASIA", ""},
		"task hash":         {session("ci", "3f2a9c0d1e4b5a6f7c8d9e0f1a2b3c4d"), "role/ci", issuer, "ASIA", ""},
		"short number":      {session("ci", "worker-42"), "role/ci/worker-42", issuer, "ASIA", "role/ci > role/ci/worker-42"},
		"word of a–f":       {session("ci", "facade-decade"), "role/ci/facade-decade", issuer, "ASIA", "role/ci > role/ci/facade-decade"},
		"source identity":   {strings.Replace(session("ci", "x"), `"sessionIssuer"`, `"sourceIdentity":"alice","sessionIssuer"`, 1), "source-identity/alice", issuer, "ASIA", ""},
		"in attributes":     {strings.Replace(session("ci", "x"), `"sessionIssuer"`, `"attributes":{"sourceIdentity":"alice"},"sessionIssuer"`, 1), "source-identity/alice", issuer, "ASIA", ""},
		"service's role":    {`{"type":"AssumedRole","principalId":"AROA:Mando","arn":"arn:aws:sts::1:assumed-role/AWSServiceRoleForX/Mando","sessionContext":{"sessionIssuer":{"arn":"arn:aws:iam::1:role/aws-service-role/x.amazonaws.com/AWSServiceRoleForX"}},"invokedBy":"x.amazonaws.com"}`, "role/AWSServiceRoleForX", "arn:aws:iam::1:role/aws-service-role/x.amazonaws.com/AWSServiceRoleForX", "AROA:Mando", "service/x.amazonaws.com > role/AWSServiceRoleForX"},
		"role without ARN":  {`{"type":"AssumedRole","principalId":"AROA:deployer","sessionContext":{"sessionIssuer":{"arn":"` + issuer + `"}}}`, "role/ci/deployer", issuer, "AROA:deployer", "role/ci > role/ci/deployer"},
		"user":              {`{"type":"IAMUser","arn":"arn:aws:iam::111122223333:user/team/bob","userName":"bob","accessKeyId":"AKIA","principalId":"AIDA"}`, "user/bob", "arn:aws:iam::111122223333:user/team/bob", "AKIA", ""},
		"empty access key":  {`{"type":"IAMUser","userName":"bob","accessKeyId":"","principalId":"AIDA"}`, "user/bob", "user/bob", "AIDA", ""},
		"no type":           {`{"arn":"arn:aws:iam::111122223333:user/bob"}`, "user/bob", "arn:aws:iam::111122223333:user/bob", "", ""},
		"no type, service":  {`{"accountId":"111122223333","invokedBy":"ec2.amazonaws.com"}`, "service/ec2.amazonaws.com", "service/ec2.amazonaws.com", "", ""},
		"root":              {`{"type":"Root","arn":"arn:aws:iam::111122223333:root","principalId":"111122223333"}`, "root", "arn:aws:iam::111122223333:root", "111122223333", ""},
		"service":           {`{"type":"AWSService","invokedBy":"ec2.amazonaws.com"}`, "service/ec2.amazonaws.com", "service/ec2.amazonaws.com", "", ""},
		"account":           {`{"type":"AWSAccount","accountId":"444455556666","principalId":"AROAX:s"}`, "account/444455556666/AROAX", "account/444455556666/AROAX", "AROAX:s", ""},
		"federated user":    {`{"type":"FederatedUser","arn":"arn:aws:sts::111122223333:federated-user/carol","principalId":"1:carol"}`, "federated-user/carol", "arn:aws:sts::111122223333:federated-user/carol", "1:carol", ""},
		"web identity":      {`{"type":"WebIdentityUser","principalId":"p:app:dave","userName":"dave","identityProvider":"accounts.example.com"}`, "federated/accounts.example.com/dave", "federated/accounts.example.com/dave", "p:app:dave", ""},
		"identity center":   {`{"type":"IdentityCenterUser","principalId":"","onBehalfOf":{"userId":"u-1","identityStoreArn":"arn:aws:identitystore::1:identitystore/d-1"}}`, "identity-center/u-1", "identity-center/u-1", "", ""},
		"type of next year": {`{"type":"Agent","principalId":"AGENT1"}`, "principal/AGENT1", "principal/AGENT1", "AGENT1", ""},
		"nothing at all":    {`null`, "service/s3.amazonaws.com", "service/s3.amazonaws.com", "", ""},
		"text":              {`"HIDDEN"`, "service/s3.amazonaws.com", "service/s3.amazonaws.com", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			var d Decoder
			c := decodeOne(t, &d, CloudTrail, trail(in.user, `,"eventSource":"s3.amazonaws.com","eventName":"ListBuckets"`))
			var chain []string
			for _, m := range c.Chain {
				chain = append(chain, string(m))
			}
			for _, f := range []struct{ name, got, want string }{
				{"agent", string(c.Agent), in.agent}, {"identity", string(c.Identity), in.identity},
				{"session", string(c.Session), in.session}, {"chain", strings.Join(chain, " > "), in.chain},
				{"action", string(c.Action), "s3:ListBuckets"}, {"tenant", string(c.Tenant), "111122223333"},
			} {
				if f.got != f.want {
					t.Errorf("%s: got %q, want %q", f.name, f.got, f.want)
				}
			}
		})
	}
}

func TestTheResourceIsWhatTheCallActsOn(t *testing.T) {
	var d Decoder
	f := func(source, members, want string) {
		t.Helper()
		user := `{"type":"IAMUser","userName":"bob","arn":"arn:aws-cn:iam::1:user/bob"}`
		c := decodeOne(t, &d, CloudTrail, trail(user, `,"eventSource":"`+source+`.amazonaws.com","eventName":"X",`+members))
		if got := string(c.Resource); got != want {
			t.Errorf("%s %s: got %q, want %q", source, members, got, want)
		}
	}
	f("s3", `"resources":[{"ARNPrefix":"p"},{"ARN":"arn:aws:s3:::b/k"},{"ARN":"arn:aws:s3:::b"}],"requestParameters":{"bucketName":"x"}`, "arn:aws:s3:::b/k")
	f("s3", `"requestParameters":{"bucketName":"b"}`, "arn:aws-cn:s3:::b")
	f("s3", `"requestParameters":{"key":"a/b.txt","bucketName":"b"}`, "arn:aws-cn:s3:::b/a/b.txt")
	f("sts", `"requestParameters":{"roleArn":"arn:aws:iam::1:role/r","roleSessionName":"s"}`, "arn:aws:iam::1:role/r")
	f("iam", `"requestParameters":{"roleName":"r","policyName":"p"}`, "arn:aws-cn:iam::111122223333:role/r")
	f("lambda", `"requestParameters":{"functionName":"f"}`, "arn:aws-cn:lambda:eu-west-1:111122223333:function:f")
	f("ec2", `"requestParameters":{"instancesSet":{"items":[{"instanceId":"i-1"},{"instanceId":"i-2"}]}}`, "arn:aws-cn:ec2:eu-west-1:111122223333:instance/i-1")
	f("ssm", `"requestParameters":{"instanceId":"i-1"}`, "arn:aws-cn:ec2:eu-west-1:111122223333:instance/i-1")
	f("ssm", `"requestParameters":{"name":"/app/key"}`, "arn:aws-cn:ssm:eu-west-1:111122223333:parameter/app/key")
	f("kms", `"requestParameters":{"keyId":"alias/k"}`, "arn:aws-cn:kms:eu-west-1:111122223333:alias/k")
	f("kms", `"requestParameters":{"keyId":"arn:aws:kms:r:1:key/k"}`, "arn:aws:kms:r:1:key/k")
	f("health", `"requestParameters":{"name":"x"}`, "health:*")
	f("health", `"requestParameters":null`, "health:*")
	f("health", `"requestParameters":"text"`, "health:*")
	f("health", `"requestParameters":{"x":"\u0000"}`, "health:*")
}

func TestTheOutcomeTellsRefusalsFromErrors(t *testing.T) {
	var d Decoder
	f := func(members string, want Outcome) {
		t.Helper()
		c := decodeOne(t, &d, CloudTrail, trail(`{"type":"IAMUser","userName":"bob"}`, `,"eventSource":"x","eventName":"X"`+members))
		if c.Outcome != want {
			t.Errorf("%s: got %s, want %s", members, c.Outcome, want)
		}
	}
	f(``, OutcomeOK)
	f(`,"errorCode":"","errorMessage":null`, OutcomeOK)
	f(`,"errorCode":"AccessDenied"`, OutcomeDenied)
	f(`,"errorCode":"AccessDeniedException"`, OutcomeDenied)
	f(`,"errorCode":"Client.UnauthorizedOperation"`, OutcomeDenied)
	f(`,"errorCode":"ExpiredTokenException"`, OutcomeDenied)
	f(`,"errorMessage":"Failed authentication","responseElements":{"ConsoleLogin":"Failure"}`, OutcomeDenied)
	f(`,"errorCode":"ThrottlingException"`, OutcomeError)
	f(`,"errorCode":"Client.RequestLimitExceeded"`, OutcomeError)
	f(`,"errorCode":"NoSuchBucketPolicy"`, OutcomeError)
	f(`,"errorMessage":"something"`, OutcomeError)
}

func TestWhatDetectorsMatchOnIsInTheContext(t *testing.T) {
	var d Decoder
	user := `{"type":"IAMUser","userName":"bob","accountId":"444455556666","invokedBy":"athena.amazonaws.com","sessionContext":{"attributes":{"creationDate":"20131102T010628Z","mfaAuthenticated":"true"}}}`
	c := decodeOne(t, &d, CloudTrail, trail(user, `,"eventSource":"sts.amazonaws.com","eventName":"AssumeRole","eventType":"AwsApiCall",`+
		`"sourceIPAddress":"203.0.113.7","userAgent":"`+strings.Repeat("u", DefaultMaxField-1)+`éé","readOnly":true,"errorCode":"E","sharedEventID":"s",`+
		`"requestParameters":{"omitted":true},"responseElements":{"credentials":{"accessKeyId":"ASIANEW","sessionToken":"secret"}},`+
		`"additionalEventData":{"bytesTransferredIn":7,"bytesTransferredOut":289.0},"brandNew":{"x":1}`))
	for key, want := range map[string]string{
		"eventType": "AwsApiCall", "awsRegion": "eu-west-1", "sourceIPAddress": "203.0.113.7", "readOnly": "true",
		"errorCode": "E", "sharedEventID": "s", "principalType": "IAMUser", "principalAccount": "444455556666",
		"invokedBy": "athena.amazonaws.com", "creationDate": "20131102T010628Z", "mfa": "true",
		"issuedAccessKeyId": "ASIANEW", "omitted": "true", "userAgent": strings.Repeat("u", DefaultMaxField-1),
	} {
		if got, _ := c.Value(key); string(got) != want {
			t.Errorf("%s: got %.80q, want %.80q", key, got, want)
		}
	}
	if c.BytesIn != 7 || c.BytesOut != 289 || c.Unknown != 1 {
		t.Errorf("got %d in, %d out, %d unknown", c.BytesIn, c.BytesOut, c.Unknown)
	}
	if strings.Contains(string(AppendJSON(nil, c)), "secret") {
		t.Error("the session token is in the call")
	}
}
