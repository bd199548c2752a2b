package notify

import (
	"fmt"

	"github.com/estop-project/estop/revoke"
)

// The events of the Open Cybersecurity Schema Framework, as far as they are used. What is
// required was read from the schema's repository (ocsf/ocsf-schema, version 1.5.0): base_event,
// finding, detection_finding and remediation_activity, and the objects below.
const ocsfVersion = "1.5.0"

type ocsfEvent struct {
	ActivityID   int              `json:"activity_id"`
	ActivityName string           `json:"activity_name"`
	CategoryUID  int              `json:"category_uid"`
	CategoryName string           `json:"category_name"`
	ClassUID     int              `json:"class_uid"`
	ClassName    string           `json:"class_name"`
	TypeUID      int              `json:"type_uid"` // class_uid * 100 + activity_id
	Time         int64            `json:"time"`     // milliseconds
	SeverityID   int              `json:"severity_id"`
	Severity     string           `json:"severity"`
	StatusID     int              `json:"status_id"`
	Status       string           `json:"status"`
	Message      string           `json:"message"`
	Metadata     ocsfMetadata     `json:"metadata"`
	FindingInfo  *ocsfFindingInfo `json:"finding_info,omitempty"` // 2004
	IsAlert      bool             `json:"is_alert,omitempty"`
	Evidences    []ocsfEvidence   `json:"evidences,omitempty"`
	Resources    []ocsfName       `json:"resources,omitempty"`
	CommandUID   string           `json:"command_uid,omitempty"` // 7001
	Remediation  *ocsfRemediation `json:"remediation,omitempty"`
	Unmapped     any              `json:"unmapped"` // estop's own record
}

type ocsfMetadata struct {
	Version   string      `json:"version"`
	UID       string      `json:"uid"`
	TenantUID string      `json:"tenant_uid"`
	Product   ocsfProduct `json:"product"`
	Labels    []string    `json:"labels,omitempty"`
}

type ocsfProduct struct {
	Name    string `json:"name"`
	Vendor  string `json:"vendor_name"`
	Version string `json:"version"`
}

type ocsfFindingInfo struct {
	UID         string       `json:"uid"`
	Title       string       `json:"title"`
	Desc        string       `json:"desc"`
	CreatedTime int64        `json:"created_time"`
	Analytic    ocsfAnalytic `json:"analytic"`
}

type ocsfAnalytic struct {
	UID     string `json:"uid"`
	TypeID  int    `json:"type_id"` // 1 Rule, 2 Behavioral
	Type    string `json:"type"`
	Version string `json:"version,omitempty"`
}

type ocsfEvidence struct {
	Actor ocsfActor `json:"actor"`
	API   *ocsfAPI  `json:"api,omitempty"`
}

type ocsfActor struct {
	AppName string    `json:"app_name"` // the agent
	User    *ocsfUser `json:"user,omitempty"`
	Session *ocsfUID  `json:"session,omitempty"`
}

type ocsfUser struct {
	UID    string `json:"uid"`
	TypeID int    `json:"type_id"` // 3 System
}

type ocsfUID struct {
	UID string `json:"uid"`
}

type ocsfName struct {
	Name string `json:"name"`
}

type ocsfAPI struct {
	Operation string `json:"operation"`
}

type ocsfRemediation struct {
	Desc string `json:"desc"`
}

var ocsfSeverities = map[string]int{"low": 2, "medium": 3, "high": 4, "critical": 5}

var ocsfSeverityNames = []string{"Unknown", "Informational", "Low", "Medium", "High", "Critical"}

// ocsf says an event in that schema.
func ocsf(e *Event, version string) (*ocsfEvent, error) {
	o := &ocsfEvent{
		Time:     e.Time.UnixMilli(),
		Metadata: ocsfMetadata{Version: ocsfVersion, UID: e.ID, TenantUID: e.Tenant, Product: ocsfProduct{"estop", "estop", version}},
		Unmapped: e.data(),
	}
	switch {
	case e.Detection != nil:
		o.finding(e)
	case e.Revocation != nil:
		o.remediation(e.Revocation)
		o.status(1, "Success")
	case e.Decision != nil:
		// What was ordered and not done, or is done by another event.
		o.remediation(&e.Decision.Order)
		o.Message = string(e.Decision.Verdict) + ": " + o.Message + ": " + e.Decision.Why
		o.status(99, string(e.Decision.Verdict))
	default:
		return nil, fmt.Errorf("a %s has no class", e.Kind)
	}
	o.TypeUID = o.ClassUID*100 + o.ActivityID
	o.Severity = ocsfSeverityNames[o.SeverityID]
	return o, nil
}

func (o *ocsfEvent) status(id int, name string) { o.StatusID, o.Status = id, name }

func (o *ocsfEvent) finding(e *Event) {
	d := e.Detection
	o.CategoryUID, o.CategoryName, o.ClassUID, o.ClassName = 2, "Findings", 2004, "Detection Finding"
	o.ActivityID, o.ActivityName = 1, "Create"
	o.SeverityID = ocsfSeverities[d.Severity]
	o.status(1, "New")
	o.Message = fmt.Sprintf("%s: agent %s of tenant %s: %s", d.Detector, d.Agent, d.Tenant, d.Reason)
	o.IsAlert = d.Mode != "observe" && !d.Canary
	o.Metadata.Labels = d.Tags
	analytic := ocsfAnalytic{d.Detector, 1, "Rule", d.Version}
	if d.Reason == "evidence" {
		analytic.TypeID, analytic.Type = 2, "Behavioral"
	}
	o.FindingInfo = &ocsfFindingInfo{d.ID, d.Detector, d.Reason, o.Time, analytic}
	evidence := ocsfEvidence{Actor: ocsfActor{AppName: d.Agent}}
	if d.Identity != "" {
		evidence.Actor.User = &ocsfUser{d.Identity, 3}
	}
	if d.Session != "" {
		evidence.Actor.Session = &ocsfUID{d.Session}
	}
	if d.Action != "" {
		evidence.API = &ocsfAPI{d.Action}
	}
	o.Evidences = []ocsfEvidence{evidence}
	if d.Resource != "" {
		o.Resources = []ocsfName{{d.Resource}}
	}
}

// activities follow the tactics of D3FEND: what narrows isolates, what stops evicts.
var ocsfActivities = map[revoke.Action]struct {
	id       int
	name     string
	severity int
}{
	revoke.Throttle: {1, "Isolate", 3},
	revoke.Restrict: {1, "Isolate", 3},
	revoke.Revoke:   {2, "Evict", 4},
	revoke.Release:  {3, "Restore", 1},
}

func (o *ocsfEvent) remediation(r *revoke.Revocation) {
	o.CategoryUID, o.CategoryName, o.ClassUID, o.ClassName = 7, "Remediation", 7001, "Remediation Activity"
	o.ActivityID, o.ActivityName = 99, string(r.Action)
	if a, ok := ocsfActivities[r.Action]; ok {
		o.ActivityID, o.ActivityName, o.SeverityID = a.id, a.name, a.severity
	}
	o.CommandUID = r.ID
	o.Message = whom(r) + ": " + r.Reason
	o.Remediation = &ocsfRemediation{Desc: target(r)}
}
