package detector

import "time"

// Detection is one breach, as it is written to Kafka and ClickHouse. It explains itself.
type Detection struct {
	ID        string    `json:"id"` // hash of detector, entity and the offset of the breaking call
	Time      time.Time `json:"ts"` // the breaking call's own time
	Detector  string    `json:"detector"`
	Version   string    `json:"version"`
	Canary    bool      `json:"canary,omitempty"` // of the version that runs beside the live one
	Mode      string    `json:"mode"`
	Severity  string    `json:"severity"`
	Tags      []string  `json:"tags,omitempty"`
	Tenant    string    `json:"tenant"`
	EntityBy  string    `json:"entity_by"` // agent, identity, …
	Entity    string    `json:"entity"`
	Agent     string    `json:"agent"` // of the breaking call
	Identity  string    `json:"identity"`
	Session   string    `json:"session"`
	Action    string    `json:"action"`
	Resource  string    `json:"resource"`
	Chain     []string  `json:"chain,omitempty"`
	CallID    string    `json:"call_id"`
	Topic     string    `json:"topic"` // source of the breaking call
	Partition int32     `json:"partition"`
	Offset    int64     `json:"offset"`

	Reason string `json:"reason"` // "evidence" or the text of the hard limit that broke
	// LogEvidence and LogLevel are natural logarithms of the e-detector and of its alarm level.
	LogEvidence float64 `json:"log_evidence"`
	LogLevel    float64 `json:"log_level"`
	Budget      string  `json:"budget,omitempty"`
	// FirstBad is the id of the first call whose evidence was not taken back since.
	FirstBad string   `json:"first_bad,omitempty"`
	Features []Sample `json:"features"`
	// Signs are the detections that a correlation is made of, in the order in which they came.
	Signs []Sign `json:"signs,omitempty"`
	// Graph is what the access graph knew of the call; nil where it is off.
	Graph *Graph `json:"graph,omitempty"`
	// Step is the step of a graded answer, from 1 on, whether or not anybody is stopped; 0 where the answer is not graded.
	Step int `json:"step,omitempty"`
	// Late is how long after the breaking call was appended it was judged, where that is so long that the breach is an old
	// one: after an outage, or behind a backlog. It says when, and no more: another run of the log has another one.
	Late time.Duration `json:"late_ns,omitempty"`
	// Revocation is the id of the revocation that answers this detection; empty if none does.
	Revocation string `json:"revocation,omitempty"`
}

// Key names the detector in its set, as Compiled.Key does.
func (d *Detection) Key() string { return key(d.Canary, d.Detector) }

// Sign is a detection that others make another one of.
type Sign struct {
	ID       string    `json:"id"`
	Detector string    `json:"detector"`
	Time     time.Time `json:"ts"`
}

// Graph is what the access graph knew of the call that broke a detector. It explains and never
// decides: a detection is the same without it.
type Graph struct {
	// The place of the call in its delegation, from what was known before it.
	Depth          int  `json:"depth"`                     // members of the chain
	Repeated       int  `json:"repeated,omitempty"`        // members that stand in it again
	FanOut         int  `json:"fan_out,omitempty"`         // children of the parent
	Sharing        int  `json:"sharing,omitempty"`         // agents of the identity
	ResourceBeyond bool `json:"resource_beyond,omitempty"` // the parent used resources, but never this one
	IdentityBeyond bool `json:"identity_beyond,omitempty"` // the parent used identities, but never this one

	// Taken is the time of the snapshot that the rest is of. It is zero, and the rest is
	// missing, where no snapshot could be asked.
	Taken     time.Time    `json:"taken,omitzero"`
	Group     uint32       `json:"group,omitempty"` // of peers; 0: none
	GroupSize int          `json:"group_size,omitempty"`
	Peers     []Peer       `json:"peers,omitempty"` // the nearest agents, at most three
	Reach     *Reach       `json:"reach,omitempty"` // nil: the snapshot does not know the agent
	Resource  *Criticality `json:"resource,omitempty"`
	Excess    *Excess      `json:"excess,omitempty"` // nil: it acts for nobody that the snapshot knows
}

// Excess is what an agent used, in all of its work, that the agent it acts for never did.
type Excess struct {
	Resources  int `json:"resources"`
	Identities int `json:"identities"`
	// Share is Resources by all that the agent used. Of a parent that used none it says nothing.
	Share  float64 `json:"share"`
	Parent int     `json:"parent"` // resources that the parent used
}

// Peer is an agent near to the one that made the call.
type Peer struct {
	Agent string  `json:"agent"`
	Share float64 `json:"share"` // of what the other uses, rare things counting more
}

// Reach is an agent's blast radius: what somebody has who takes it over.
type Reach struct {
	Agents     int      `json:"agents"`
	Identities int      `json:"identities"`
	Resources  int      `json:"resources"`
	Share      float64  `json:"share"`             // of the tenant's resources
	Nearest    []string `json:"nearest,omitempty"` // resources, at most eight
	Partial    bool     `json:"partial,omitempty"` // there are more than were looked at
}

// Criticality is how much of the tenant hangs on the resource of the call.
type Criticality struct {
	PageRank    float64 `json:"pagerank"`
	Below       float64 `json:"below"` // share of the tenant's resources with a smaller PageRank
	Betweenness float64 `json:"betweenness"`
	Agents      int     `json:"agents"` // that use it
	Identities  int     `json:"identities"`
}

// Sample is one feature of one entity at one time, beside what its baseline expected.
type Sample struct {
	Time     time.Time `json:"ts"`
	Tenant   string    `json:"tenant"`
	EntityBy string    `json:"entity_by"`
	Entity   string    `json:"entity"`
	Detector string    `json:"detector"`
	Feature  string    `json:"feature"`
	Observed float64   `json:"observed"`
	// Known says whether the baseline has seen enough to speak. Where it is false,
	// Expected, Low, High and LogP are 0 and mean nothing.
	Known       bool    `json:"known"`
	Expected    float64 `json:"expected"`
	Low         float64 `json:"low"`  // 0.5 % quantile of the prediction
	High        float64 `json:"high"` // 99.5 % quantile
	LogP        float64 `json:"log_p"`
	LogEvidence float64 `json:"log_evidence"`
}
