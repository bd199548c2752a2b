package audit

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/pipeline/telemetry"
)

func TestARecordBecomesTheLeavesThatThePageSays(t *testing.T) {
	for name, c := range map[string]struct {
		topic, value string
		want         []string
	}{
		"a call": {
			pipeline.TopicCalls, `{"ts":"2026-11-24T10:00:00.5+01:00","agent":"a","tenant":"t","id":"1","action":"x","context":{"b":"3","a":"2"}}`,
			[]string{`t/agent/a 0 {"id":"1","ts":"2026-11-24T09:00:00.5Z","tenant":"t","agent":"a","action":"x","outcome":"ok","context":{"a":"2","b":"3"}}`},
		},
		"no call":         {pipeline.TopicCalls, `{broken`, []string{`// 0 {broken`}},
		"nothing":         {pipeline.TopicCalls, ``, []string{`// 0 `}},
		"a detection":     {pipeline.TopicDetections, `{"tenant":"t","agent":"a","x":1}`, []string{`t/agent/a 0 {"tenant":"t","agent":"a","x":1}`}},
		"a revocation":    {pipeline.TopicRevocations, `{"tenant":"t","scope":"session","subject":"s"}`, []string{`t/session/s 0 {"tenant":"t","scope":"session","subject":"s"}`}},
		"a decision":      {pipeline.TopicDecisions, `{"order":{"tenant":"t","scope":"agent","subject":"a"}}`, []string{`t/agent/a 0 {"order":{"tenant":"t","scope":"agent","subject":"a"}}`}},
		"an ack":          {pipeline.TopicAcks, `{"tenant":"t","revocation":"r"}`, []string{`t/revocation/r 0 {"tenant":"t","revocation":"r"}`}},
		"a change":        {pipeline.TopicChanges, `{}`, []string{`/detectors/ 0 {}`}},
		"no JSON":         {pipeline.TopicAcks, `x`, []string{`// 0 x`}},
		"a name too long": {pipeline.TopicAcks, fmt.Sprintf(`{"revocation":"%02000d"}`, 1), []string{fmt.Sprintf(`// 0 {"revocation":"%02000d"}`, 1)}},
	} {
		t.Run(name, func(t *testing.T) {
			var in intake
			var got []string
			in.each(&kgo.Record{Topic: c.topic, Value: []byte(c.value)}, func(p part) {
				got = append(got, fmt.Sprintf("%s/%s/%s %d %s", p.tenant, p.scope, p.name, p.no, p.payload))
			})
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAFileOfSeveralCallsBecomesALeafForEachThatCanBeRead(t *testing.T) {
	record := func(name string) string {
		return fmt.Sprintf(`{"eventVersion":"1.08","eventTime":"2026-11-24T09:00:00Z","eventSource":"s3.amazonaws.com","eventName":%q,"recipientAccountId":"1",
			"userIdentity":{"type":"IAMUser","arn":"arn:aws:iam::1:user/u","accountId":"1","userName":"u"},"eventID":%q}`, name, name)
	}
	var in intake
	var got []uint32
	value := `{"Records":[` + record("one") + `,{"eventTime":"never"},` + record("two") + `]}`
	in.each(&kgo.Record{Topic: pipeline.TopicCalls, Value: []byte(value), Headers: []kgo.RecordHeader{{Key: telemetry.HeaderContentType, Value: []byte(telemetry.ContentTypeCloudTrail)}}}, func(p part) {
		got = append(got, p.no)
	})
	if diff := cmp.Diff([]uint32{0, 2}, got); diff != "" {
		t.Error(diff)
	}
}
