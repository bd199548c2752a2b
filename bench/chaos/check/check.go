package check

import (
	"cmp"
	"fmt"
	"slices"
)

// Kind names a promise that was broken.
type Kind string

// The kinds.
const (
	NotRecovered   Kind = "not recovered"              // a group did not catch up after the last fault
	AppendLost     Kind = "append lost"                // Kafka confirmed a call and does not have it there
	AppendDoubled  Kind = "append doubled"             // a call is in Kafka twice
	OrderBroken    Kind = "order broken"               // calls of an agent are not in the order in which it made them
	NotArchived    Kind = "not archived"               // a record has no row
	ArchivedTwice  Kind = "archived twice"             // a record has several rows
	ArchivedWrong  Kind = "archived wrong"             // a row is of no record, or says something else than it
	NotDetected    Kind = "not detected"               // a breach of the reference has no detection
	NoBreach       Kind = "detection without a breach" // the reference does not have it
	Altered        Kind = "detection altered"          // the reference has it otherwise
	NotRevoked     Kind = "not revoked"                // a breach that stops somebody has no revocation
	WrongID        Kind = "revocation of another id"   // it stands for no breach of the reference
	WrongTarget    Kind = "revocation of another target"
	NotStored      Kind = "revocation not stored"   // the stream of revocations does not have it
	AllowedLate    Kind = "allowed after the bound" // a guard went on allowing what is stopped
	LetGo          Kind = "let go"                  // a guard denied and allowed again
	NotEnforced    Kind = "not enforced in the end" // a guard does not deny when all has recovered
	HonestStopped  Kind = "honest agent stopped"    // a guard denied by a revocation what no breach stops
	NothingChecked Kind = "nothing was checked"     // the history cannot show anything
)

// Kinds are all kinds, in a fixed order.
func Kinds() []Kind {
	return []Kind{
		NotRecovered, AppendLost, AppendDoubled, OrderBroken, NotArchived, ArchivedTwice, ArchivedWrong,
		NotDetected, NoBreach, Altered, NotRevoked, WrongID, WrongTarget, NotStored,
		AllowedLate, LetGo, NotEnforced, HonestStopped, NothingChecked,
	}
}

// Violation is one promise broken, with the evidence.
type Violation struct {
	Kind     Kind   `json:"kind"`
	Subject  string `json:"subject"` // call, detection, target or place
	Evidence string `json:"evidence"`
}

// String writes a violation on one line.
func (v Violation) String() string { return fmt.Sprintf("%s: %s: %s", v.Kind, v.Subject, v.Evidence) }

// Check returns all violations of a history, by kind and subject.
func Check(h History) []Violation {
	var found violations
	for _, b := range h.Behind {
		found.add(NotRecovered, "group", "%s", b)
	}
	found.sane(&h)
	found.appends(&h)
	for i := range h.Topics {
		found.archive(&h.Topics[i])
	}
	found.detections(&h)
	found.revocations(&h)
	found.guards(&h)
	order := map[Kind]int{}
	for i, k := range Kinds() {
		order[k] = i
	}
	slices.SortStableFunc(found, func(a, b Violation) int {
		return cmp.Or(cmp.Compare(order[a.Kind], order[b.Kind]), cmp.Compare(a.Subject, b.Subject))
	})
	return found
}

type violations []Violation

func (v *violations) add(k Kind, subject, format string, args ...any) {
	*v = append(*v, Violation{k, subject, fmt.Sprintf(format, args...)})
}

// sane refuses a history in which nothing could have gone wrong.
func (v *violations) sane(h *History) {
	empty := func(what string, n int) {
		if n == 0 {
			v.add(NothingChecked, what, "there are none")
		}
	}
	empty("appends", len(h.Appends))
	empty("topics", len(h.Topics))
	empty("breaches of the reference", len(h.Reference))
	empty("guards", len(h.Guards))
	for _, g := range h.Guards {
		empty("answers of guard "+g.Name, len(g.Spans))
	}
}
