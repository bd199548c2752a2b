package cloudtrail

import (
	"fmt"
	"time"
)

// Principal is who acts. Does holds keys of operations.
type principal struct {
	name   string
	weight float64
	does   []string
	id     string
	act    func(*account, *principal, *record) // fills in the record's caller
	via    string                              // the service that calls in its name
}

var agentTools = []string{"GetObject", "PutObject", "ListBuckets", "Decrypt", "GetSecretValue", "Invoke", "InvokeModel", "GetItem", "GetParameter"}

// People returns the principals of the account.
func (a *account) people() []principal {
	var all []principal
	add := func(name string, weight float64, act func(*account, *principal, *record), via string, does ...string) {
		id := fmt.Sprintf("EXAMPLE%014d", a.IntN(1e9))
		all = append(all, principal{name: name, weight: weight, does: does, id: id, act: act, via: via})
	}
	for _, name := range []string{"support-triage", "invoice-reader", "code-reviewer", "researcher", "data-sync"} {
		add(name, 8, agentRole, "", agentTools...)
	}
	add("orchestrator", 8, agentRole, "", "AssumeRole", "Invoke", "InvokeModel", "GetParameter", "SendCommand")
	add("backup-runner", 5, instanceRole, "", "CreateSnapshot", "DescribeInstances", "PutObject")
	add("report-function", 2.5, agentRole, "cloudformation.amazonaws.com", "Decrypt", "GetObject", "DescribeInstances")
	add("AWSServiceRoleForAmazonInspector2", 3, linkedRole, "inspector2.amazonaws.com", "DescribeInstances", "ListBuckets")
	add("deploy", 6, user, "", "RunInstances", "DescribeInstances", "PutObject", "AssumeRole", "SendCommand", "ListUsers")
	add("alice", 5, consoleUser, "", "ListBuckets", "ListUsers", "DescribeInstances", "GetSecretValue")
	add("bob", 2, consoleUser, "secretsmanager.amazonaws.com", "Decrypt")
	add("ec2.amazonaws.com", 1, service, "", "AssumeRole")
	add("lambda.amazonaws.com", 1, service, "", "AssumeRole", "Decrypt")
	add("snapshots", 1.2, typeless, "ec2.amazonaws.com")
	add("root", 0.5, root, "", "ListUsers", "ListBuckets")
	add("partner", 2, otherAccount, "", "GetObject", "Decrypt")
	add("ci-runner", 3, webIdentity, "", "AssumeRoleWithWebIdentity")
	add("carol", 2, identityCenter, "", "ListBuckets", "GetObject")
	return all
}

// AgentRole is a session of a role: half of the session names say who it is, the others
// were made up for one run.
func agentRole(a *account, p *principal, r *record) {
	session := p.name
	if a.chance(0.5) {
		session = fmt.Sprintf("botocore-session-%d", a.now.Unix()-int64(a.IntN(3600)))
	}
	a.role(p, r, "role/"+p.name, session)
	if a.chance(0.3) {
		r.UserIdentity.SessionContext.SourceIdentity = p.name + "@agents.example"
	}
	if a.chance(0.1) {
		r.UserIdentity.SessionContext = nil
	}
}

func instanceRole(a *account, p *principal, r *record) {
	a.role(p, r, "role/"+p.name, "i-0abcd"+p.id[9:])
}

func linkedRole(a *account, p *principal, r *record) {
	a.role(p, r, "role/aws-service-role/"+p.via+"/"+p.name, fmt.Sprintf("MandoService%d", a.Uint64()>>1))
	r.UserIdentity.AccessKeyID = nil
}

func (a *account) role(p *principal, r *record, path, session string) {
	id := "AROA" + p.id
	r.UserIdentity = identity{
		Type: "AssumedRole", PrincipalID: id + ":" + session, AccountID: accountID, AccessKeyID: a.key(), InvokedBy: p.via,
		ARN:            "arn:aws:sts::" + accountID + ":assumed-role/" + p.name + "/" + session,
		SessionContext: a.session("false"),
	}
	r.UserIdentity.SessionContext.SessionIssuer = sessionIssuer{"Role", id, "arn:aws:iam::" + accountID + ":" + path, accountID, p.name}
	a.from(p, r)
}

func user(a *account, p *principal, r *record) {
	r.UserIdentity = identity{
		Type: "IAMUser", PrincipalID: "AIDA" + p.id, ARN: "arn:aws:iam::" + accountID + ":user/" + p.name,
		AccountID: accountID, AccessKeyID: a.key(), UserName: p.name, InvokedBy: p.via,
	}
	a.from(p, r)
}

func consoleUser(a *account, p *principal, r *record) {
	user(a, p, r)
	r.UserIdentity.SessionContext = a.session("true")
	if p.via == "" {
		r.FromConsole = "true"
	}
}

func service(_ *account, p *principal, r *record) {
	r.UserIdentity = identity{Type: "AWSService", InvokedBy: p.name}
	r.SourceIPAddress, r.UserAgent = p.name, p.name
}

// Typeless is an event of a service's own, whose principal has no type.
func typeless(a *account, p *principal, r *record) {
	r.UserIdentity = identity{AccountID: accountID, InvokedBy: p.via}
	r.SourceIPAddress, r.UserAgent = p.via, p.via
	r.EventSource, r.EventName, r.EventType = p.via, "SharedSnapshotVolumeCreated", "AwsServiceEvent"
	r.SharedEventID = a.uuid()
	r.ServiceEvent = map[string]any{"snapshotId": a.thing("snap")}
}

func root(a *account, p *principal, r *record) {
	none := ""
	r.UserIdentity = identity{
		Type: "Root", PrincipalID: accountID, ARN: "arn:aws:iam::" + accountID + ":root", AccountID: accountID,
		AccessKeyID: &none, SessionContext: a.session("true"),
	}
	a.from(p, r)
}

func otherAccount(a *account, p *principal, r *record) {
	r.UserIdentity = identity{Type: "AWSAccount", PrincipalID: "AIDA" + p.id, AccountID: otherID}
	r.SharedEventID = a.uuid()
	a.from(p, r)
}

func webIdentity(a *account, p *principal, r *record) {
	provider := "arn:aws:iam::" + accountID + ":oidc-provider/ci.example"
	subject := "repo:example/" + []string{"site", "api", "agents"}[a.IntN(3)] + ":ref:refs/heads/main"
	r.UserIdentity = identity{Type: "WebIdentityUser", PrincipalID: provider + ":agents:" + subject, UserName: subject, Provider: provider}
	a.from(p, r)
}

func identityCenter(a *account, p *principal, r *record) {
	store := "arn:aws:identitystore::" + accountID + ":identitystore/d-9067example"
	r.UserIdentity = identity{
		Type: "IdentityCenterUser", AccountID: accountID,
		OnBehalfOf: map[string]any{"userId": "544894e8-" + p.id[17:] + "-4000-a000-" + p.id[9:21], "identityStoreArn": store},
	}
	a.from(p, r)
}

// Session has the date of its creation in one of the two formats.
func (a *account) session(mfa string) *sessionContext {
	layout := time.RFC3339
	if a.chance(0.15) {
		layout = "20060102T150405Z"
	}
	created := a.now.Add(-time.Duration(a.IntN(3600)) * time.Second).Format(layout)
	return &sessionContext{WebIdentity: map[string]any{}, Attributes: attributes{created, mfa}}
}

// From says where the call came from: an address of the ranges kept for documentation, or
// the service that called in the principal's name.
func (a *account) from(p *principal, r *record) {
	if p.via != "" {
		r.SourceIPAddress, r.UserAgent = p.via, p.via
		return
	}
	r.SourceIPAddress = []string{"192.0.2.", "198.51.100.", "203.0.113."}[a.IntN(3)] + fmt.Sprint(len(p.name)+a.IntN(3))
	r.UserAgent = []string{
		"Boto3/1.40.3 md/Botocore#1.40.3 ua/2.1 os/linux#6.8.0 lang/python#3.12.3",
		"aws-sdk-go-v2/1.38.0 ua/2.1 os/linux lang/go#1.26.0",
		"aws-cli/2.28.1 md/awscrt#0.27.4 ua/2.1 os/linux#6.8.0",
	}[len(p.name)%3]
}

func (a *account) key() *string {
	k := fmt.Sprintf("EXAMPLEKEY%010d", a.IntN(1e6))
	if a.chance(0.01) {
		k = ""
	}
	return &k
}

// Thing makes the id of one of forty resources of a kind.
func (a *account) thing(kind string) string {
	n := a.IntN(40)
	return fmt.Sprintf("%s-%017x", kind, uint64(n+1)*0x9e3779b97f4a7c15>>4)
}
