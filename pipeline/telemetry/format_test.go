package telemetry

import "testing"

func TestContentTypesNameTheirFormat(t *testing.T) {
	f := func(contentType string, want Format, wantOK bool) {
		t.Helper()
		if got, ok := FormatOf(contentType); got != want || ok != wantOK {
			t.Errorf("%q: got %s %v, want %s %v", contentType, got, ok, want, wantOK)
		}
	}
	f("application/json", JSON, true)
	f("Application/JSON; charset=utf-8", JSON, true)
	f("application/vnd.estop.call+json", JSON, true)
	f("application/x-protobuf", Protobuf, true)
	f("application/protobuf", Protobuf, true)
	f("application/vnd.estop.call+protobuf;v=1", Protobuf, true)
	f("application/vnd.aws.cloudtrail+json", CloudTrail, true)
	f("text/plain", Auto, false)
	f("", Auto, false)
	for _, format := range []Format{JSON, Protobuf, CloudTrail} {
		f(format.ContentType(), format, true)
	}
}

func TestBytesWithoutAContentTypeTellTheirFormat(t *testing.T) {
	var d Decoder
	f := func(raw string, want Format) {
		t.Helper()
		for how, b := range map[string][]byte{"plain": []byte(raw), "gzip": gzipOf(t, []byte(raw))} {
			if d.Start(Auto, b); d.Format() != want {
				t.Errorf("%s, %s: told as %s, want %s", raw, how, d.Format(), want)
			}
		}
	}
	f(lineA, JSON)
	f(" \n"+benchJSON, JSON)
	f(`{"x":{"userIdentity":1}}`, JSON)
	f(`{"eventVersion":"1.08","userIdentity":{}}`, CloudTrail)
	f(`{"Records":[]}`, CloudTrail)
	f(`{"user\u0049dentity":{}}`, CloudTrail)
	f(`{"action":"userIdentity","context":{"eventSource":"x"}}`, JSON)
	f(`{"awsRegion":"x","eventSource":1`, CloudTrail)
	f(`{`, JSON)
	f(string(AppendProto(nil, benchCall(t))), Auto)
}

func TestKeysOfDifferentAgentsDiffer(t *testing.T) {
	f := func(tenant, agent, want string) {
		t.Helper()
		if got := string(Key(&Call{Tenant: []byte(tenant), Agent: []byte(agent)})); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	f("t", "a", "t/a")
	f("t", "a/b", "t/a/b")
	f("t/a", "b", "t%2Fa/b")
	f("t%2Fa", "b", "t%252Fa/b")
	f("é", "a", "é/a")
}
