package cloudtrail

import (
	"fmt"
	"math/rand/v2"
	"time"
)

const (
	accountID = "111122223333" // of AWS's own examples
	otherID   = "444455556666"
	region    = "eu-central-1"
)

// Account is one account with its principals, as time goes by.
type account struct {
	*rand.Rand
	now        time.Time
	principals []principal
	weight     float64 // of all principals
}

func newAccount(r *rand.Rand) *account {
	a := &account{Rand: r, now: time.Date(2026, time.January, 5, 0, 0, 0, 0, time.UTC)}
	a.principals = a.people()
	for _, p := range a.principals {
		a.weight += p.weight
	}
	return a
}

// Next returns the next record; times of some go back by a few seconds, as deliveries do.
func (a *account) next() *record {
	a.now = a.now.Add(time.Duration(a.ExpFloat64() * float64(2*time.Second)))
	p := a.pick()
	r := &record{
		EventVersion: []string{"1.08", "1.09", "1.10", "1.11"}[a.IntN(4)], EventTime: a.eventTime().Format(time.RFC3339),
		AWSRegion: region, EventID: a.uuid(), EventType: "AwsApiCall", EventCategory: "Management",
		ManagementEvent: true, RecipientAccountID: accountID,
	}
	p.act(a, p, r)
	a.call(p, r)
	if a.chance(0.01) {
		r.Future = map[string]any{"reason": nil, "items": []any{1, "two", map[string]any{"three": true}}}
	}
	return r
}

func (a *account) pick() *principal {
	u := a.Float64() * a.weight
	for i := range a.principals {
		if u -= a.principals[i].weight; u < 0 {
			return &a.principals[i]
		}
	}
	return &a.principals[0]
}

func (a *account) eventTime() time.Time {
	if a.chance(0.2) {
		return a.now.Add(-time.Duration(a.IntN(15)) * time.Second)
	}
	return a.now
}

func (a *account) chance(p float64) bool { return a.Float64() < p }

func (a *account) uuid() string {
	return fmt.Sprintf("%08x-%04x-4%03x-a%03x-%012x", a.Uint32(), a.IntN(1<<16), a.IntN(1<<12), a.IntN(1<<12), a.Uint64()>>16)
}

// Call fills in what the principal did, and how it ended.
func (a *account) call(p *principal, r *record) {
	if r.EventName != "" {
		return // a service's event: its principal has said it all
	}
	op := operations[p.does[a.IntN(len(p.does))]]
	r.EventSource, r.EventName, r.ReadOnly = op.service+".amazonaws.com", op.name, op.readOnly
	r.ManagementEvent = !op.data
	if op.data {
		r.EventCategory = "Data"
	}
	r.RequestID = a.uuid()
	op.fill(a, r)
	if a.chance(0.02) && r.RequestParameters != nil {
		r.RequestParameters = map[string]any{"omitted": true, "originalSize": 102_400 + a.IntN(1<<20), "reason": "requestParameters too large"}
	}
	if r.UserIdentity.InvokedBy == "" {
		r.TLSDetails = &tlsDetails{"TLSv1.3", "TLS_AES_128_GCM_SHA256", op.service + "." + region + ".amazonaws.com"}
		if a.chance(0.1) {
			r.VPCEndpointID = fmt.Sprintf("vpce-%017x", a.Uint64()>>4)
		}
	}
	a.fail(op, r)
}

// Fail makes 13 % of the calls fail, a third of them by throttling.
func (a *account) fail(op operation, r *record) {
	if !a.chance(0.13) {
		return
	}
	who := r.UserIdentity.ARN
	switch u := a.Float64(); {
	case u < 0.33:
		r.ErrorCode, r.ErrorMessage = "ThrottlingException", "Rate exceeded"
	case u < 0.55:
		r.ErrorCode = "AccessDenied"
		r.ErrorMessage = fmt.Sprintf("User: %s is not authorized to perform: %s:%s because no identity-based policy allows the %[2]s:%[3]s action", who, op.service, op.name)
	case u < 0.75:
		r.ErrorCode, r.ErrorMessage = "Client.UnauthorizedOperation", "You are not authorized to perform this operation."
	case u < 0.9:
		r.ErrorCode, r.ErrorMessage = "ResourceNotFoundException", "Requested resource not found"
	default:
		r.ErrorCode = "ValidationException" // and no message
	}
	r.ResponseElements = nil
	if a.chance(0.3) {
		r.RequestParameters = nil
	}
}
