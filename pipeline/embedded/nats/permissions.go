package natsd

import (
	"slices"

	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/coverage"
)

// Role is what a login to NATS is for. Who has which role may publish and hear what
// PermissionsOf says and nothing else.
type Role string

// The roles.
const (
	Detector Role = "detector" // every node: what 'estop run' does
	Operator Role = "operator" // a person's commands: kill, release, drill and status
	Monitor  Role = "monitor"  // it hears and reads everything, and publishes nothing
	Guard    Role = "guard"    // guards and gates
)

// Roles lists all roles.
func Roles() []Role { return []Role{Detector, Operator, Monitor, Guard} }

// Permissions are the NATS subjects that a role may publish and hear. A wildcard at the end
// stands for all that begin so.
type Permissions struct {
	Account            string
	Publish, Subscribe []string
}

// Accounts of the server. What is published in one is not heard in another unless it is
// exported by the one and imported by the other.
const (
	detectorAccount = "DETECTOR"
	guardAccount    = "GUARDS"
	monitorAccount  = "MONITORS"
)

// What the rest of this file is made of. The subjects are the protocol's own.
const (
	readRevocations = "$JS.API.DIRECT.GET." + revoke.Stream
	readRisks       = "$JS.API.DIRECT.GET." + revoke.RiskStream
	streamInfo      = "$JS.API.STREAM.INFO." + revoke.Stream
	everything      = "estop.v1.>"
	jetStream       = "$JS.API.>"
	inboxes         = "_INBOX.>"
	answers         = "_R_.>" // to who asks from another account

	revocations = revoke.RevokePrefix + ".>"
	risks       = revoke.RiskPrefix + ".>"
	acks        = revoke.AckPrefix + ".>"
	reports     = revoke.GuardPrefix + ".>"
)

// PermissionsOf returns what a role may do. It is the one list: the embedded server, the files
// in deploy/nats and those of 'estop keys nats' are made from it.
func PermissionsOf(r Role) Permissions {
	hears := []string{everything, inboxes}
	switch r {
	case Detector:
		return Permissions{detectorAccount, []string{everything, jetStream, inboxes, answers}, hears}
	case Operator:
		// It shares the account of the detector, because the stream acknowledges what it is to keep there.
		return Permissions{detectorAccount, []string{revocations, coverage.AskSubject, streamInfo, readRevocations, readRisks}, hears}
	case Monitor:
		return Permissions{monitorAccount, []string{coverage.AskSubject, readRevocations, readRisks}, hears}
	case Guard:
		return Permissions{guardAccount, []string{acks, reports, readRevocations, readRisks}, hears}
	}
	return Permissions{}
}

// account is what leaves an account and what comes into it.
type account struct {
	name             string
	jetStream        bool
	streams          []string // exported for whoever imports them
	services         []string // exported: requests come in, answers go out
	imports, borrows []shared // streams, and services
}

type shared struct{ account, subject string }

func from(account string, subjects ...string) []shared {
	var all []shared
	for _, s := range subjects {
		all = append(all, shared{account, s})
	}
	return all
}

// accounts are all there are. Guests are not in the detector's: a request whose answer is to go to the subject of a
// revocation would have the server itself publish it there, past every permission. For the same reason
// monitors are in one of their own, from which nothing goes anywhere.
func accounts() []account {
	told := []string{revocations, revoke.BeatSubject, risks} // by the detector
	read := []string{readRevocations, readRisks}
	return []account{
		{
			name: detectorAccount, jetStream: true, streams: told, services: append(slices.Clone(read), coverage.AskSubject),
			imports: from(guardAccount, acks, reports),
		},
		{
			name: guardAccount, streams: []string{acks, reports},
			imports: from(detectorAccount, told...), borrows: from(detectorAccount, read...),
		},
		{
			name:    monitorAccount,
			imports: append(from(detectorAccount, told...), from(guardAccount, acks, reports)...),
			borrows: from(detectorAccount, append(slices.Clone(read), coverage.AskSubject)...),
		},
	}
}
