package telemetry

import (
	"errors"
	"strings"
	"testing"
)

func TestACallThatCouldNotBeStoppedIsRefused(t *testing.T) {
	long := strings.Repeat("x", MaxName+1)
	base := Call{ID: []byte("1"), Time: 1, Tenant: []byte("t"), Agent: []byte("a")}
	for name, change := range map[string]func(c *Call){
		"tenant":       func(c *Call) { c.Tenant = []byte(long[:MaxTenant+1]) },
		"agent":        func(c *Call) { c.Agent = []byte(long) },
		"identity":     func(c *Call) { c.Identity = []byte(long) },
		"session":      func(c *Call) { c.Session = []byte(long) },
		"chain member": func(c *Call) { c.Chain = [][]byte{[]byte("root"), []byte(long)} },
	} {
		call := base
		change(&call)
		for format, raw := range map[Format][]byte{JSON: AppendJSON(nil, &call), Protobuf: AppendProto(nil, &call)} {
			var d Decoder
			var c Call
			d.Start(format, raw)
			var bad *BadCall
			if err := d.Next(&c); !errors.As(err, &bad) || bad.Reason != ReasonFieldTooLong || !strings.Contains(bad.Detail, name) {
				t.Errorf("%s, %v: %v", name, format, err)
			}
		}
	}
	longest := base
	longest.Tenant, longest.Agent = []byte(long[:MaxTenant]), []byte(long[:MaxName])
	var d Decoder
	var c Call
	d.Start(JSON, AppendJSON(nil, &longest))
	if err := d.Next(&c); err != nil {
		t.Errorf("the longest names: %v", err)
	}
}

func TestACloudTrailPrincipalThatCouldNotBeStoppedIsRefusedAndTheNextGoesOn(t *testing.T) {
	record := func(user string) string {
		return `{"eventTime":"2026-01-01T00:00:00Z","eventSource":"s3.amazonaws.com","eventName":"GetObject","recipientAccountId":"1","eventID":"e",` +
			`"userIdentity":{"type":"IAMUser","userName":"` + user + `","arn":"arn:aws:iam::1:user/` + user + `","accountId":"1"}}`
	}
	var d Decoder
	var c Call
	d.Start(CloudTrail, []byte(`{"Records":[`+record(strings.Repeat("u", 2*MaxName))+`,`+record("bob")+`]}`))
	var bad *BadCall
	if err := d.Next(&c); !errors.As(err, &bad) || bad.Reason != ReasonFieldTooLong || bad.Index != 0 {
		t.Errorf("%v", err)
	}
	if err := d.Next(&c); err != nil || string(c.Agent) != "user/bob" {
		t.Errorf("%q, %v", c.Agent, err)
	}
}
