package detector_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/estop-project/estop/detector"
)

// oneTest reads one test of a detector; text stands in a list item, indented by four.
func oneTest(t *testing.T, text string) detector.Test {
	t.Helper()
	return load(t, head+"tests:\n  - name: x\n"+text).Sources[0].Tests[0]
}

func TestGroupsOfCallsInterleaveByTime(t *testing.T) {
	test := oneTest(t, `
    calls:
      - {at: 0s, repeat: 3, every: 2s, agent: a, action: read, resource: "doc-{i}"}
      - {at: 1s, repeat: 2, every: 1s, burst: 2, agent: "b-{i%3}", action: write, outcome: denied}
    expect: {detections: 0}
`)
	var got []string
	for c := range test.Expand() {
		got = append(got, fmt.Sprintf("%v %s %s %s %s %s", c.Offset, c.Tenant, c.Agent, c.Action, c.Resource, c.Outcome))
	}
	want := []string{
		"0s test a read doc-0 ok",
		"1s test b-0 write  denied",
		"1s test b-1 write  denied",
		"2s test a read doc-1 ok",
		"2s test b-2 write  denied",
		"2s test b-0 write  denied",
		"4s test a read doc-2 ok",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestEveryFieldOfACallCanBeGiven(t *testing.T) {
	test := oneTest(t, `
    start: 2026-03-01T12:00:00Z
    seed: 7
    calls:
      at: 90s
      tenant: acme
      agent: a
      identity: role/x
      session: "s-{i}"
      chain: ["root-{i}", a]
      action: read
      resource: r
      outcome: error
      latency: 20ms
      bytes_in: 512
      bytes_out: 5MiB
      context: {user_agent: curl/8, ip: 10.0.0.1}
    expect: {detections: at_least 2, entities: {a: 1, b: none}, first_at: 5m..6m, first_bad: 4m, entity: a, agent: c, mode: alert, response: restrict, known: false}
`)
	no := false
	want := detector.Expect{
		Number: detector.Number{Bound: detector.AtLeast, Count: 2}, FirstAt: &detector.Span{From: 5 * time.Minute, To: 6 * time.Minute},
		FirstBad: &detector.Span{From: 4 * time.Minute, To: 4 * time.Minute}, Entities: []detector.EntityNumber{{Entity: "a", Number: detector.Number{Count: 1}}, {Entity: "b"}},
		Entity: "a", Agent: "c", Mode: "alert", Response: detector.Restrict, Known: &no,
	}
	if diff := cmp.Diff(want, test.Expect, cmpopts.IgnoreUnexported(detector.Expect{})); diff != "" {
		t.Error(diff)
	}
	if want := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC); !test.Start.Equal(want) || test.Seed != 7 {
		t.Errorf("start %v, seed %d", test.Start, test.Seed)
	}
	wantCalls := []detector.TestCall{{
		Offset: 90 * time.Second, Tenant: "acme", Agent: "a", Identity: "role/x", Session: "s-0", Chain: []string{"root-0", "a"},
		Action: "read", Resource: "r", Outcome: "error", Latency: 20 * time.Millisecond, BytesIn: 512, BytesOut: 5 << 20,
		Context: []detector.TestPair{{Key: "user_agent", Value: "curl/8"}, {Key: "ip", Value: "10.0.0.1"}},
	}}
	if diff := cmp.Diff(wantCalls, slices.Collect(test.Expand())); diff != "" {
		t.Error(diff)
	}
}

func TestAGroupBeginsAtATimeOrAfterTheGroupBeforeIt(t *testing.T) {
	test := oneTest(t, `
    calls:
      - {at: +1s, agent: a, action: read}
      - {at: +5s, repeat: 3, every: 10s, agent: b, action: read}
      - {at: +5s, agent: c, action: read}
      - {at: 2s, agent: d, action: read}
      - {at: +0s, agent: e, action: read}
    expect: {detections: none}
`)
	var got []string
	for c := range test.Expand() {
		got = append(got, c.Agent+" "+c.Offset.String())
	}
	want := []string{"a 1s", "d 2s", "e 2s", "b 6s", "b 16s", "b 26s", "c 31s"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestJitterIsBoundedAndTheSeedFixesIt(t *testing.T) {
	text := func(seed int) string {
		return fmt.Sprintf(`
    seed: %d
    calls: {repeat: 500, every: 10s, jitter: 4s, agent: a, action: read, resource: "doc-{r%%9}"}
    expect: {detections: 0}
`, seed)
	}
	first := slices.Collect(oneTest(t, text(1)).Expand())
	if diff := cmp.Diff(first, slices.Collect(oneTest(t, text(1)).Expand())); diff != "" {
		t.Error("one seed gave two tests:", diff)
	}
	if cmp.Equal(first, slices.Collect(oneTest(t, text(2)).Expand())) {
		t.Error("two seeds gave one test")
	}
	resources, late := map[string]bool{}, 0
	for i, c := range first {
		by := c.Offset - time.Duration(i)*10*time.Second
		if by < 0 || by >= 4*time.Second {
			t.Fatalf("call %d comes %v after its tick", i, by)
		}
		if by > 2*time.Second {
			late++
		}
		resources[c.Resource] = true
	}
	if len(resources) != 9 {
		t.Errorf("{r%%9} gave %d values", len(resources))
	}
	if late < 200 || late > 300 {
		t.Errorf("%d of 500 calls in the later half of the jitter", late)
	}
}

func TestExpandStopsWhenItsReaderDoes(t *testing.T) {
	test := oneTest(t, "    calls: {repeat: 100, every: 1s, agent: a, action: b}\n    expect: {detections: 0}\n")
	n := 0
	for range test.Expand() {
		if n++; n == 3 {
			break
		}
	}
	if n != 3 {
		t.Errorf("%d calls", n)
	}
}

func TestExpectationsHold(t *testing.T) {
	for text, want := range map[string][3]bool{ // for 0, 1 and 2 detections
		"1": {false, true, false}, "exactly 1": {false, true, false}, "at_least 1": {false, true, true},
		"at_most 1": {true, true, false}, "exactly 0": {true, false, false}, "none": {true, false, false},
	} {
		e := oneTest(t, "    calls: {agent: a, action: b}\n    expect: {detections: "+text+"}\n").Expect
		for n := range want {
			if got := e.Holds(n); got != want[n] {
				t.Errorf("%s, %d detections: %v", text, n, got)
			}
		}
	}
}

func TestWrongTestsAreRefused(t *testing.T) {
	const right = "    calls: {agent: a, action: b}\n    expect: {detections: 1}\n"
	for name, c := range map[string]struct{ text, want string }{
		"no expect":   {"    calls: {agent: a, action: b}\n", `5:5: a test needs the key "expect" (add expect: …)`},
		"no agent":    {"    calls: {action: b}\n    expect: {detections: 1}\n", `6:12: a group of calls needs the key "agent" (add agent: …)`},
		"no every":    {"    calls: {agent: a, action: b, repeat: 2}\n    expect: {detections: 1}\n", `6:34: repeat needs every (add every: 1s)`},
		"too long":    {"    calls: {agent: a, action: b, repeat: 1000, every: 1d}\n    expect: {detections: 1}\n", `6:12: the calls reach over 90d`},
		"placeholder": {"    calls: {agent: 'a-{n}', action: b}\n    expect: {detections: 1}\n", `6:20: agent: unknown placeholder {n} (known: {i}, {i%10}, {r%10})`},
		"modulus":     {"    calls: {agent: 'a-{i%0}', action: b}\n    expect: {detections: 1}\n", `6:20: agent: unknown placeholder {i%0} (known: {i}, {i%10}, {r%10})`},
		"bytes":       {"    calls: {agent: a, action: b, bytes_in: lots}\n    expect: {detections: 1}\n", `6:44: bytes_in cannot be "lots" (write 512 or 5MiB)`},
		"bound":       {"    calls: {agent: a, action: b}\n    expect: {detections: at_lest 1}\n", `7:26: unknown bound "at_lest" (did you mean "at_least"?)`},
		"count":       {"    calls: {agent: a, action: b}\n    expect: {detections: many}\n", `7:26: detections cannot be "many" (write exactly 1, at_least 1, at_most 1 or none)`},
		"always true": {"    calls: {agent: a, action: b}\n    expect: {detections: at_least 0}\n", `7:26: at_least 0 is always true (write at_least 1)`},
		"first of none": {"    calls: {agent: a, action: b}\n    expect: {detections: 0, first_at: 1s}\n",
			`7:29: first_at speaks of a detection, but none need come (write detections: at_least 1, or leave it out)`},
		"first":      {"    calls: {agent: a, action: b}\n    expect: {detections: 1, first_at: 6m..5m}\n", `7:39: first_at cannot be "6m..5m" (write 5m, or 5m..6m)`},
		"start":      {"    start: soon\n" + right, `6:12: start cannot be "soon" (write 2026-01-01 or 2026-01-01T09:00:00Z)`},
		"name twice": {right + "  - name: x\n" + right, `8:5: the test "x" is there already, on line 5`},
		"no calls":   {"    calls: []\n    expect: {detections: 1}\n", `6:12: calls is an empty list (write a value, or leave it out)`},
	} {
		t.Run(name, func(t *testing.T) {
			_, errs := detector.Load(files("f.yaml", head+"tests:\n  - name: x\n"+c.text))
			if diff := cmp.Diff("f.yaml:"+c.want, errs.Error()); diff != "" {
				t.Error(diff)
			}
		})
	}
}
