package detector

import (
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// The keys of a test; those of what it expects stand in expect.go. schema.json lists the same.
var (
	testKeys      = []string{"name", "start", "seed", "calls", "expect"}
	testCallsKeys = []string{
		"at", "repeat", "every", "burst", "jitter", "tenant", "agent", "identity", "session", "chain", "action",
		"resource", "outcome", "latency", "bytes_in", "bytes_out", "context",
	}
)

// The bounds of a test.
const (
	maxTestCalls = 1_000_000
	maxTestSpan  = 90 * day
	maxTestBytes = 1 << 40
)

// defaultStart is when a test begins that does not say: a Thursday, 00:00.
var defaultStart = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Test is one test of a detector: calls in, detections out.
type Test struct {
	Name   string
	Line   int       // in its file
	Start  time.Time // the time of offset 0
	Seed   uint64    // of jitter and random choices
	Calls  []TestCalls
	Expect Expect
}

// TestCalls is a group of like calls. Its texts may hold {i}, the number of the call in the group from
// 0, {i%N}, that number modulo N, and {r%N}, a random number from 0 to N-1 that the seed fixes.
type TestCalls struct {
	At     time.Duration // of the first tick, from the start of the test
	Repeat int           // ticks
	Every  time.Duration // from tick to tick
	Burst  int           // calls at each tick
	// Jitter is by how much a call may come later than its tick.
	Jitter time.Duration

	Tenant, Agent, Identity, Session string
	Chain                            []string
	Action, Resource, Outcome        string
	Latency                          time.Duration
	BytesIn, BytesOut                int64
	Context                          []TestPair
}

// TestPair is one entry of a call's context.
type TestPair struct{ Key, Value string }

// tests reads the tests of a detector.
func (r *reader) tests(n *yaml.Node) []Test {
	var tests []Test
	seen := map[string]int{}
	for _, item := range r.items(n, "tests") {
		t := r.test(item)
		if line, ok := seen[t.Name]; ok && t.Name != "" {
			r.fail(item, "", "the test %q is there already, on line %d", shorten(t.Name), line)
		}
		seen[t.Name] = t.Line
		tests = append(tests, t)
	}
	return tests
}

func (r *reader) test(n *yaml.Node) Test {
	const what = "a test"
	t := Test{Line: n.Line, Start: defaultStart, Seed: 1}
	o, ok := r.object(n, what, testKeys)
	if !ok {
		return t
	}
	if v := r.need(o, what, "name"); v != nil {
		t.Name, _ = r.text(v, "name")
	}
	if v := o.values["start"]; v != nil {
		t.Start = r.start(v)
	}
	if v := o.values["seed"]; v != nil {
		seed, _ := r.integer(v, "seed", 0, 1<<62)
		t.Seed = uint64(seed)
	}
	if v := r.need(o, what, "calls"); v != nil {
		total, after := 0, time.Duration(0)
		for _, item := range r.items(v, "calls") {
			calls := r.testCalls(item, after)
			t.Calls = append(t.Calls, calls)
			after = calls.At + calls.Every*time.Duration(calls.Repeat-1)
			total += calls.Repeat * calls.Burst
		}
		if total > maxTestCalls {
			r.fail(v, "", "the test has %d calls, more than %d", total, maxTestCalls)
		}
	}
	if v := r.need(o, what, "expect"); v != nil {
		t.Expect = r.expect(v)
	}
	return t
}

func (r *reader) start(n *yaml.Node) time.Time {
	text, ok := r.text(n, "start")
	if !ok {
		return defaultStart
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, text); err == nil && t.Year() >= 1970 && t.Year() < 2200 {
			return t.UTC()
		}
	}
	r.fail(n, "write 2026-01-01 or 2026-01-01T09:00:00Z", "start cannot be %q", shorten(text))
	return defaultStart
}

// testCalls reads one group of calls. after is when the last tick of the group before it came.
func (r *reader) testCalls(n *yaml.Node, after time.Duration) TestCalls {
	c := TestCalls{Repeat: 1, Burst: 1, Tenant: "test", Outcome: "ok"}
	const what = "a group of calls"
	o, ok := r.object(n, what, testCallsKeys)
	if !ok {
		return c
	}
	r.times(o, &c, after)
	for key, to := range map[string]*string{
		"tenant": &c.Tenant, "agent": &c.Agent, "identity": &c.Identity, "session": &c.Session,
		"action": &c.Action, "resource": &c.Resource,
	} {
		if v := o.values[key]; v != nil {
			*to = r.template(v, key)
		}
	}
	r.need(o, what, "agent")
	r.need(o, what, "action")
	r.choose(o, "outcome", outcomeWords, func(i int) { c.Outcome = outcomeWords[i] })
	for key, to := range map[string]*int64{"bytes_in": &c.BytesIn, "bytes_out": &c.BytesOut} {
		if v := o.values[key]; v != nil {
			*to = r.bytes(v, key)
		}
	}
	if v := o.values["chain"]; v != nil {
		for _, item := range r.items(v, "chain") {
			c.Chain = append(c.Chain, r.template(item, "a member of the chain"))
		}
	}
	if v := o.values["context"]; v != nil {
		c.Context = r.context(v)
	}
	return c
}

// times reads when the calls of a group come.
func (r *reader) times(o object, c *TestCalls, after time.Duration) {
	if v := o.values["at"]; v != nil {
		c.At = r.at(v, after)
	}
	for key, to := range map[string]*time.Duration{"every": &c.Every, "jitter": &c.Jitter, "latency": &c.Latency} {
		if v := o.values[key]; v != nil {
			*to, _ = r.duration(v, key, 0, maxTestSpan)
		}
	}
	for key, to := range map[string]*int{"repeat": &c.Repeat, "burst": &c.Burst} {
		if v := o.values[key]; v != nil {
			i, ok := r.integer(v, key, 1, maxTestCalls)
			if !ok {
				i = 1
			}
			*to = int(i)
		}
	}
	switch {
	case c.Repeat > 1 && o.values["every"] == nil:
		r.fail(o.keys["repeat"], "add every: 1s", "repeat needs every")
	case c.Every > 0 && c.At+c.Jitter > maxTestSpan-min(c.Every*time.Duration(c.Repeat-1), maxTestSpan),
		c.Every > 0 && time.Duration(c.Repeat-1) > maxTestSpan/c.Every:
		r.fail(o.node, "", "the calls reach over %s", formatDuration(maxTestSpan))
		c.Repeat = 1
	}
}

// at reads when a group begins: 5s from the start of the test, or +5s from the last tick of the group before.
func (r *reader) at(n *yaml.Node, after time.Duration) time.Duration {
	later, relative := strings.CutPrefix(n.Value, "+")
	if !relative || n.Kind != yaml.ScalarNode {
		at, _ := r.duration(n, "at", 0, maxTestSpan)
		return at
	}
	without := *n
	without.Value = later
	d, ok := r.duration(&without, "at", 0, maxTestSpan)
	if ok && after+d > maxTestSpan {
		r.fail(n, "let it begin sooner", "the calls reach over %s", formatDuration(maxTestSpan))
		return 0
	}
	return after + d
}

// bytes reads a number of bytes, with or without unit.
func (r *reader) bytes(n *yaml.Node, key string) int64 {
	text, ok := r.text(n, key)
	if !ok {
		return 0
	}
	size, err := parseSize(text)
	if i, numErr := strconv.ParseInt(text, 10, 64); numErr == nil {
		size, err = float64(i), nil
	}
	if err != nil || size < 0 || size > maxTestBytes {
		r.fail(n, "write 512 or 5MiB", "%s cannot be %q", key, shorten(text))
		return 0
	}
	return int64(size)
}

func (r *reader) context(n *yaml.Node) []TestPair {
	if n.Kind != yaml.MappingNode {
		r.fail(n, "", "context must be a mapping, not %s", kindWord(n))
		return nil
	}
	var pairs []TestPair
	for i := 0; i+1 < len(n.Content); i += 2 {
		pairs = append(pairs, TestPair{n.Content[i].Value, r.template(n.Content[i+1], "a context entry")})
	}
	return pairs
}
