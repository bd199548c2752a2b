package telemetry

import (
	"context"
	"testing"

	"github.com/bufbuild/protocompile"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
	"pgregory.net/rapid"
)

// callDescriptor compiles estop.proto, so that the wire walk is held to the schema by a
// compiler that knows nothing of it.
func callDescriptor(t testing.TB) protoreflect.MessageDescriptor {
	t.Helper()
	c := protocompile.Compiler{Resolver: &protocompile.SourceResolver{}}
	files, err := c.Compile(context.Background(), "estop.proto")
	if err != nil {
		t.Fatal(err)
	}
	return files[0].Messages().ByName("Call")
}

// dynamicCall makes the message of a call through reflection, by the names of the fields.
func dynamicCall(d protoreflect.MessageDescriptor, c *Call) *dynamicpb.Message {
	m := dynamicpb.NewMessage(d)
	field := func(name string) protoreflect.FieldDescriptor {
		return d.Fields().ByName(protoreflect.Name(name))
	}
	for name, v := range map[string][]byte{
		"id": c.ID, "tenant": c.Tenant, "agent": c.Agent, "identity": c.Identity,
		"session": c.Session, "action": c.Action, "resource": c.Resource,
		"traceparent": c.Traceparent, "sig": c.Sig,
	} {
		m.Set(field(name), protoreflect.ValueOfString(string(v)))
	}
	for name, v := range map[string]int64{
		"time_unix_nano": c.Time, "latency_ns": int64(c.Latency),
		"bytes_in": c.BytesIn, "bytes_out": c.BytesOut,
	} {
		m.Set(field(name), protoreflect.ValueOfInt64(v))
	}
	m.Set(field("outcome"), protoreflect.ValueOfEnum(protoreflect.EnumNumber(c.Outcome)))
	chain := m.Mutable(field("chain")).List()
	for _, a := range c.Chain {
		chain.Append(protoreflect.ValueOfString(string(a)))
	}
	pairs := m.Mutable(field("context")).Map()
	for _, p := range c.Context {
		pairs.Set(protoreflect.ValueOfString(string(p.Key)).MapKey(), protoreflect.ValueOfString(string(p.Value)))
	}
	return m
}

func TestAnyProtobufLibraryAndOursAgree(t *testing.T) {
	desc := callDescriptor(t)
	var d Decoder
	rapid.Check(t, func(t *rapid.T) {
		want := anyCall(t)
		raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(dynamicCall(desc, want))
		if err != nil {
			t.Fatal(err)
		}
		got := decodeOne(t, &d, Protobuf, raw)
		if diff := cmp.Diff(want, got, sameCall); diff != "" {
			t.Fatalf("what the library wrote decodes differently (-want +got):\n%s", diff)
		}
		back := dynamicpb.NewMessage(desc)
		if err := proto.Unmarshal(AppendProto(nil, want), back); err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(back, dynamicCall(desc, want)) {
			t.Fatalf("the library reads what we wrote as %v", back)
		}
	})
}
