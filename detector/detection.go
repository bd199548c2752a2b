package detector

import "time"

// Detection is one breach, as it is written to Kafka and ClickHouse. It explains itself.
type Detection struct {
	ID        string    `json:"id"` // hash of detector, entity and the offset of the breaking call
	Time      time.Time `json:"ts"` // the breaking call's own time
	Detector  string    `json:"detector"`
	Version   string    `json:"version"`
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
	// Revocation is the id of the revocation that answers this detection; empty if none does.
	Revocation string `json:"revocation,omitempty"`
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
