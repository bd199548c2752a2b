package notify

import (
	"encoding/json"
	"time"
)

// siem sends events in the Open Cybersecurity Schema Framework: detections as Detection Finding
// (2004), all else as Remediation Activity (7001).
type siem struct {
	version string
	hec     bool   // wrapped for Splunk's HTTP Event Collector
	index   string // of Splunk; empty: that of the token
}

// hecEvent is the wrapper. Its time is in seconds.
type hecEvent struct {
	Time       float64    `json:"time"`
	Source     string     `json:"source"`
	Sourcetype string     `json:"sourcetype"`
	Index      string     `json:"index,omitempty"`
	Event      *ocsfEvent `json:"event"`
}

func (*siem) fits(e *Event) bool { return e.Kind != Verification }

func (s *siem) message(e *Event, _ time.Time) (message, error) {
	event, err := ocsf(e, s.version)
	if err != nil {
		return message{}, err
	}
	var v any = event
	if s.hec {
		v = hecEvent{float64(event.Time) / 1000, "estop", "_json", s.index, event}
	}
	body, err := json.Marshal(v)
	return message{"application/json", nil, body}, err
}

func (*siem) taken(status int, body []byte) error { return takenOK(status, body) }
