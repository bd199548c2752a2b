// Package check holds the history of a campaign against what estop promises. It knows nothing of how the history
// came to be: a table of its tests invents one for each promise that can be broken.
package check

import "time"

// History is what happened, as it can be seen from outside when all has recovered.
type History struct {
	// Appends are the calls that were appended, those of each agent in the order of its numbers.
	Appends []Append
	// Topics are the topics that the archive copies, with what Kafka and what ClickHouse has of them.
	Topics []Topic
	// Reference is what an undisturbed replay of the calls finds, in any order.
	Reference []Detection
	// Detections are the records of estop.detections; the same one may be there several times.
	Detections []Detection
	// Revocations are the records of estop.revocations, likewise.
	Revocations []Revocation
	// Stored is what the stream of revocations was seen to hold, each id once.
	Stored []Stored
	Guards []Guard
	// Behind says of each consumer group that did not catch up how far it is.
	Behind []string
}

// CallsTopic is the name of the topic of Topics that Appends went to.
const CallsTopic = "estop.calls"

// Append is one call that was appended.
type Append struct {
	ID     string
	Agent  string // TENANT/AGENT
	Number int    // of the agent's calls, in the order in which it made them
	Acked  bool   // Kafka said that it has it, at this place:
	At     Place
}

// Place is where a row or a record stands in its topic.
type Place struct {
	Partition int32
	Offset    int64
	Part      uint32 // of the record
}

// Topic is a topic beside its table.
type Topic struct {
	Name    string
	Records []Row // in the order of offsets in each partition
	Rows    []Row // of ClickHouse, in any order; one that is there twice is there twice
}

// Row is one thing that Kafka or ClickHouse has.
type Row struct {
	Place
	ID string
}

// Detection is one detection, of production or of the reference.
type Detection struct {
	ID       string
	Detector string
	Target   string // TENANT/SCOPE/SUBJECT that its response stops; empty: it stops nobody
	Call     string // the id of the call that broke it,
	At       Place  // and its place in the topic of calls
	Reason   string
	Evidence float64 // natural logarithm
	// Revocation is the id of the revocation that answers it. The reference knows of none.
	Revocation string
}

// Revocation is one record of a revocation.
type Revocation struct {
	ID     string
	Target string
}

// Stored is a revocation that the stream had.
type Stored struct {
	ID     string
	Target string
	Seen   time.Time // when the stream was first seen to have it
	Until  time.Time // when it ends
}

// Guard is what one guard answered.
type Guard struct {
	Name string
	// Bound is how long after the stream has a revocation the guard may still allow what it stops.
	Bound time.Duration
	Spans []Span // in the order of time for each target
}

// Span is a run of the same answer to calls that a target names.
type Span struct {
	Target      string
	Answer      Answer
	Revocation  string // that denied, if one did
	First, Last time.Time
}

// Answer is what a guard says to a call.
type Answer int

// The answers.
const (
	Allowed Answer = iota
	Denied         // by a revocation
	Closed         // because the guard does not know enough
)

// String names the answer.
func (a Answer) String() string { return [...]string{"allowed", "denied", "closed"}[a] }
