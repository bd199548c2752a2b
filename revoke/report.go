package revoke

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// GuardPrefix is where guards report, .<guard token>.
const GuardPrefix = "estop.v1.guard"

// GuardSubject returns the NATS subject on which the named guard reports.
func GuardSubject(guard string) string { return GuardPrefix + "." + Token(guard) }

// Bounds of a report.
const (
	MaxReport      = 64 << 10 // bytes
	MaxReportEvery = time.Hour
	// maxServed bounds the names of tenants in a report, in bytes.
	maxServed = 48 << 10
	maxStart  = 64 // bytes
)

// ReportKind is the occasion of a report.
type ReportKind string

// The kinds.
const (
	Hello ReportKind = "hello" // the guard has started
	Here  ReportKind = "here"  // it goes on
	Bye   ReportKind = "bye"   // it ends in good order
)

// FailMode is what a guard does with calls while it does not know enough.
type FailMode string

// The modes.
const (
	FailsOpen    FailMode = "open"    // it lets all pass
	FailsClosed  FailMode = "closed"  // it denies all, once it is stale
	FailsByClass FailMode = "by_call" // each call's resource has its owner's choice
)

// Report is what a guard says of itself: when it starts, every few seconds, and when it ends. Its JSON is
// also the value of a record in the topic estop.guards.
type Report struct {
	Kind   ReportKind    `json:"kind"`
	Guard  string        `json:"guard"`
	Start  string        `json:"start"`  // an id of this run of it, at random
	Number uint64        `json:"number"` // 0 for the first one of the run, then one more each
	At     time.Time     `json:"at"`     // by the guard's clock
	Every  time.Duration `json:"every_ns"`
	// Version is what the owner of the guard calls the program that it is in.
	Version string `json:"version,omitempty"`

	All     bool     `json:"all,omitempty"` // it serves all tenants
	Tenants []string `json:"tenants,omitempty"`
	Cut     bool     `json:"cut,omitempty"` // it serves more tenants than Tenants says: they were too many

	Synced bool `json:"synced"` // it has loaded the active set
	Stale  bool `json:"stale"`  // it fails closed now: what it knows is too old
	// Age is how old what it knows is: the time since the last heartbeat that agreed was issued.
	Age      time.Duration `json:"age_ns"`
	MaxStale time.Duration `json:"max_stale_ns"` // 0: it is never stale
	Fails    FailMode      `json:"fails"`

	Sequence uint64 `json:"sequence"` // of the stream, up to which it has read or heard
	Held     uint64 `json:"held"`     // how many messages it knows the stream to hold
	Digest   string `json:"digest"`   // of those, hexadecimal
	InFlight int    `json:"in_flight"`
	Counts   Counts `json:"counts"`
	// Seen is when the report was heard, by the clock of who heard it. A guard leaves it out.
	Seen time.Time `json:"seen,omitzero"`
}

// Counts are a guard's counts since it was made.
type Counts struct {
	Applied    uint64 `json:"applied"`
	Refused    uint64 `json:"refused"` // messages not believed
	Allowed    uint64 `json:"allowed"`
	Throttled  uint64 `json:"throttled"`
	Restricted uint64 `json:"restricted"`
	Denied     uint64 `json:"denied"`
	Cancelled  uint64 `json:"cancelled"` // calls in flight
	Missed     uint64 `json:"missed"`    // times that heartbeats did not come
	Errors     uint64 `json:"errors"`    // acknowledgements that could not be sent, readings that failed
}

// Serve says which tenants the guard serves: all, or those, as many of them as a report has room for.
func (r *Report) Serve(all bool, tenants []string) {
	r.All, r.Tenants, r.Cut = all, nil, false
	size := 0
	for _, t := range tenants {
		quoted, _ := json.Marshal(t) // a text always has a JSON
		if size += len(quoted) + 1; size > maxServed {
			r.Cut = true
			return
		}
		r.Tenants = append(r.Tenants, t)
	}
}

// Serves reports whether the guard said that it serves a tenant.
func (r *Report) Serves(tenant string) bool { return r.All || slices.Contains(r.Tenants, tenant) }

// ParseReport reads a report as a guard sends it.
func ParseReport(b []byte) (Report, error) {
	var r Report
	if len(b) > MaxReport {
		return r, fmt.Errorf("cannot read report of a guard: %w: %d bytes", ErrTooLarge, len(b))
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return Report{}, fmt.Errorf("cannot read report of a guard: %w: %w", ErrMalformed, err)
	}
	if why := r.wrong(); why != "" {
		return Report{}, fmt.Errorf("cannot read report of a guard: %w: %s", ErrMalformed, why)
	}
	return r, nil
}

func (r *Report) wrong() string {
	switch {
	case r.Guard == "" || len(r.Guard) > MaxSubject:
		return "no name, or too long a one"
	case r.Start == "" || len(r.Start) > maxStart:
		return "no start, or too long a one"
	case r.Kind != Hello && r.Kind != Here && r.Kind != Bye:
		return fmt.Sprintf("kind %q", r.Kind)
	case r.Every < 0 || r.Every > MaxReportEvery:
		return fmt.Sprintf("every %v", r.Every)
	case len(r.Digest) > 2*DigestSize || len(r.Version) > 256 || len(r.Fails) > 32:
		return "a text is too long"
	}
	for _, t := range r.Tenants {
		if t == "" || len(t) > MaxTenant {
			return "a tenant has no name, or too long a one"
		}
	}
	return ""
}
