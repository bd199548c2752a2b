// Package revoke is the kill switch: revocations, their signing as Security Event Tokens,
// and their way over NATS. The guard, which answers for each call, is revoke/guard.
package revoke

import "time"

// Scope is what a revocation stops.
type Scope string

// The scopes.
const (
	Session  Scope = "session"
	Identity Scope = "identity"
	Agent    Scope = "agent"
	Chain    Scope = "chain" // every agent below a member of a delegation chain
	Tenant   Scope = "tenant"
	Global   Scope = "global" // everything of every tenant
)

// Everything stands for the tenant and the subject of the scope global. A tenant may have that name
// too: it is the scope that says what is meant, and the NATS subject of no tenant is the same.
const Everything = "~"

// Action is what a revocation does to its scope.
type Action string

// The actions, weakest first, and Release, which ends an earlier one.
const (
	Throttle Action = "throttle"
	Restrict Action = "restrict"
	Revoke   Action = "revoke"
	Release  Action = "release"
)

// Revocation stops a scope for a time. Its JSON is the value of a record in the topic
// estop.revocations (inside Record) and a part of the signed token.
type Revocation struct {
	// ID is deterministic for an automatic revocation: a hash of detector, entity and the
	// offset of the call that broke it. A replay repeats it, so nobody acts on it twice.
	ID      string `json:"id"`
	Tenant  string `json:"tenant"`
	Scope   Scope  `json:"scope"`
	Subject string `json:"subject"` // for the scopes tenant and global: the tenant again
	Action  Action `json:"action"`

	IssuedAt time.Time `json:"issued_at"`
	// ValidAfter lets credentials through that were issued later; zero lets none through.
	ValidAfter time.Time `json:"valid_after,omitzero"`
	// Until is when the revocation ends by itself. It is mandatory.
	Until time.Time `json:"until"`

	Detector  string `json:"detector,omitempty"`
	Detection string `json:"detection,omitempty"`
	Reason    string `json:"reason"`
	Initiator string `json:"initiator"` // policy: a detector; admin: a person
	By        string `json:"by,omitempty"`
	Releases  string `json:"releases,omitempty"` // for a release: the ID that it ends
	// Shield, for a release, is until when no detector may stop the target again; a person
	// may. Zero shields from nothing but a repetition of what was released.
	Shield time.Time `json:"shield,omitzero"`
	// Late, of a detector, is how long before IssuedAt the breach was that it answers, where that is an old one. It is no
	// part of what is signed: Reason says it to guards.
	Late time.Duration `json:"late_ns,omitempty"`
	// ApprovedBy is the second operator who agreed to it. It is what approvals in the token prove, and
	// no part of what is signed.
	ApprovedBy string `json:"approved_by,omitempty"`
}

// Record is a revocation with its signed form, as it is written to Kafka.
type Record struct {
	Revocation
	SET string `json:"set"` // compact JWS of the Security Event Token
}

// Ack is a guard's word that it enforces a revocation. Only an Ack counts as stopped.
type Ack struct {
	Revocation string    `json:"revocation"`
	Guard      string    `json:"guard"`
	Tenant     string    `json:"tenant"`
	AppliedAt  time.Time `json:"applied_at"`
	// Cancelled is how many calls in flight the guard cancelled.
	Cancelled int `json:"cancelled"`
	// Latency is from the revocation's IssuedAt to AppliedAt, nanoseconds, by the guard's clock.
	// Clocks differ, so it may be negative; never compare it between machines.
	Latency time.Duration `json:"latency_ns"`
	// FirstDenied is when the revocation denied its first call there. A guard reports that once, beside its
	// acknowledgement; AppliedAt is then that moment too.
	FirstDenied time.Time `json:"first_denied_at,omitzero"`
}

// Report says whether a only reports a first denied call. It confirms nothing: calls in flight may go on.
func (a Ack) Report() bool { return !a.FirstDenied.IsZero() }
