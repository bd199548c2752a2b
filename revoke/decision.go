package revoke

import "time"

// Verdict is what was decided about a stop that a detector ordered.
type Verdict string

// The verdicts.
const (
	Held      Verdict = "held"      // the interlock kept it back; it waits for a person
	Approved  Verdict = "approved"  // a person sent it after all
	Dismissed Verdict = "dismissed" // a person let it be

	// Unconfirmed is no decision of anybody's: it was published, and not all guards acknowledged it.
	Unconfirmed Verdict = "unconfirmed"
)

// Decision is one step in the life of a stop that the interlock held back. Its JSON is the
// value of a record in the topic estop.decisions.
type Decision struct {
	Verdict Verdict   `json:"verdict"`
	At      time.Time `json:"at"`
	By      string    `json:"by,omitempty"` // the person; empty: the interlock
	Why     string    `json:"why"`
	// Order is what the detector ordered. It waits until its Until, when it would have ended.
	Order Revocation `json:"order"`
	// Revocation is the ID of what was published for it; empty if nothing was.
	Revocation string `json:"revocation,omitempty"`
}
