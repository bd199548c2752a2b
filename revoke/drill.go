package revoke

import (
	"context"
	"crypto/rand"
	"strings"
	"time"
)

const (
	// DrillPrefix is how the sessions that drills stop begin.
	DrillPrefix = "estop-drill-"
	// DrillDetector is who orders the stops of a drill that no person signs. No detector of an analyst can be called so.
	DrillDetector = "estop/drill"
	// drillFor is after how long a drill ends by itself.
	drillFor = time.Minute
)

// IsDrill reports whether r is of a drill: it stops a session that no call has. Who ordered it counts, not the name of the
// session alone, which an agent could give to its own.
func IsDrill(r Revocation) bool {
	return r.Scope == Session && strings.HasPrefix(r.Subject, DrillPrefix) && (r.Initiator == Admin || r.Detector == DrillDetector)
}

// Drill fires a revocation that stops nobody: it names a session that no call has. It returns the acknowledgements of the
// guards that serve the tenant, as Kill does, and ends by itself after a minute.
func (c *Client) Drill(ctx context.Context, tenant string) ([]Ack, error) {
	rec, err := c.DrillRecord(tenant, "")
	if err != nil {
		return nil, err
	}
	return c.Send(ctx, rec)
}

// DrillRecord makes and signs what Drill sends. kind is put into the name of the session. A key that is a detector's alone
// signs it as one.
func (c *Client) DrillRecord(tenant, kind string) (Record, error) {
	r := Revocation{
		Tenant: tenant, Scope: Session, Subject: DrillPrefix + kind + rand.Text(), Action: Revoke,
		Until: c.o.Clock().Add(drillFor), Reason: "drill: this stops nobody",
	}
	if c.o.Signer.Role == DetectorRole {
		r.Initiator, r.Detector = Policy, DrillDetector
	}
	return c.Record(r)
}
