package plugin

import (
	"encoding/json"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/data"
)

// found is as much of a detection as a live view shows. The rest is in its explanation.
type found struct {
	ID         string    `json:"id"`
	Time       time.Time `json:"ts"`
	Detector   string    `json:"detector"`
	Canary     bool      `json:"canary"`
	Mode       string    `json:"mode"`
	Severity   string    `json:"severity"`
	Tenant     string    `json:"tenant"`
	EntityBy   string    `json:"entity_by"`
	Entity     string    `json:"entity"`
	Agent      string    `json:"agent"`
	Reason     string    `json:"reason"`
	Action     string    `json:"action"`
	Resource   string    `json:"resource"`
	Revocation string    `json:"revocation"`
}

func parseFound(b []byte) (found, bool) {
	var f found
	err := json.Unmarshal(b, &f)
	return f, err == nil && f.ID != ""
}

func detectionFrame(all []found) *data.Frame {
	names := []string{"id", "severity", "mode", "tenant", "entity_by", "entity", "agent", "detector", "reason", "action", "resource", "revocation"}
	f := data.NewFrame(channelDetections, data.NewField("time", nil, []time.Time{}))
	for _, name := range names {
		f.Fields = append(f.Fields, data.NewField(name, nil, []string{}))
	}
	for _, d := range all {
		f.AppendRow(d.Time, d.ID, d.Severity, d.Mode, d.Tenant, d.EntityBy, d.Entity, d.Agent, d.Detector, d.Reason, d.Action, d.Resource, d.Revocation)
	}
	return f
}
