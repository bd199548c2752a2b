package pipeline

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/shard"
	"github.com/estop-project/estop/pipeline/telemetry"
)

func packedCall(n int) (*telemetry.Call, shard.Source) {
	return &telemetry.Call{
		ID: fmt.Append(nil, "call-", n), Time: int64(n), Tenant: []byte("t"), Agent: fmt.Append(nil, "agent-", n),
		Identity: []byte("role"), Resource: bytes.Repeat([]byte("x"), n%4000),
	}, shard.Source{Topic: TopicCalls, Partition: 3, Offset: int64(n), Index: n % 7, Appended: int64(n) * 1000}
}

func TestRecordsOfABlockStayWhatTheyWere(t *testing.T) {
	var p packer
	const n = 20_000 // hundreds of blocks, with calls beyond the room that is left
	records := make([]*kgo.Record, n)
	for i := range records {
		c, src := packedCall(i)
		records[i] = p.record(detector.ByIdentity, c, src)
	}
	var d telemetry.Decoder
	var got telemetry.Call
	for i, r := range records {
		want, src := packedCall(i)
		d.Start(telemetry.Protobuf, r.Value)
		if err := d.Next(&got); err != nil {
			t.Fatal(err)
		}
		if string(got.ID) != string(want.ID) || string(got.Agent) != string(want.Agent) || len(got.Resource) != len(want.Resource) {
			t.Fatalf("record %d is the call %s of %s", i, got.ID, got.Agent)
		}
		if string(r.Key) != "\x01t\x00role" {
			t.Fatalf("record %d has the key %q", i, r.Key)
		}
		from, err := parseOrigin(r)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(src, from.source()); diff != "" || from.by != detector.ByIdentity {
			t.Fatalf("record %d comes from elsewhere:\n%s", i, diff)
		}
		if f := FormatOf(r); f != telemetry.Protobuf {
			t.Fatalf("record %d is in format %v", i, f)
		}
	}
}

func TestARecordCostsAFractionOfAnAllocation(t *testing.T) {
	var p packer
	c, src := packedCall(300)
	if got := testing.AllocsPerRun(10_000, func() { p.record(detector.ByIdentity, c, src) }); got != 0 {
		t.Errorf("%v allocations for each record", got) // AllocsPerRun rounds down
	}
}
