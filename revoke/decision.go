package revoke

import "time"

// Verdict is what was decided about an order.
type Verdict string

// The verdicts.
const (
	Held      Verdict = "held"      // the interlock kept it back; it waits for a person
	Approved  Verdict = "approved"  // a person sent it after all
	Dismissed Verdict = "dismissed" // a person let it be
	Proposed  Verdict = "proposed"  // a person ordered what takes two; it waits for the second
	Alone     Verdict = "alone"     // a person did in an emergency what takes two otherwise

	// Drilled is that somebody has tried the guards; Why says what came of it.
	Drilled Verdict = "drilled"

	// Unconfirmed is no decision of anybody's: it was published, and not all guards acknowledged it.
	Unconfirmed Verdict = "unconfirmed"
)

// Decision is one step in the life of an order that waits, or waited, for a person. Its JSON is the
// value of a record in the topic estop.decisions.
type Decision struct {
	Verdict Verdict   `json:"verdict"`
	At      time.Time `json:"at"`
	By      string    `json:"by,omitempty"` // the person; empty: the interlock
	Why     string    `json:"why"`
	// Order is what was ordered. It waits until its Until, when it would have ended.
	Order Revocation `json:"order"`
	// Approval of what is proposed is what a Proposal has.
	Approval string `json:"approval,omitempty"`
	// Revocation is the ID of what was published for it; empty if nothing was.
	Revocation string `json:"revocation,omitempty"`
}
