package detector

import (
	"cmp"
	"iter"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// TestCall is one call of a test.
type TestCall struct {
	Offset time.Duration // from the start of the test

	Tenant, Agent, Identity, Session string
	Chain                            []string
	Action, Resource, Outcome        string
	Latency                          time.Duration
	BytesIn, BytesOut                int64
	Context                          []TestPair
}

// moment is when one call of one group comes.
type moment struct {
	offset       time.Duration
	group, index int32
}

// Expand gives the calls of the test in the order of their times; calls of one time come in
// the order of the file. It gives the same calls every time.
func (t Test) Expand() iter.Seq[TestCall] {
	return func(yield func(TestCall) bool) {
		for _, m := range t.moments() {
			random := rand.New(rand.NewPCG(t.Seed, uint64(m.group)<<32|uint64(m.index)))
			if !yield(t.Calls[m.group].call(m, random)) {
				return
			}
		}
	}
}

func (t Test) moments() []moment {
	var moments []moment
	for g, c := range t.Calls {
		random := rand.New(rand.NewPCG(t.Seed, ^uint64(g)))
		for i := range c.Repeat * c.Burst {
			at := c.At + c.Every*time.Duration(i/c.Burst)
			if c.Jitter > 0 {
				at += time.Duration(random.Int64N(int64(c.Jitter)))
			}
			moments = append(moments, moment{at, int32(g), int32(i)})
		}
	}
	slices.SortStableFunc(moments, func(a, b moment) int { return cmp.Compare(a.offset, b.offset) })
	return moments
}

// call makes one call of the group.
func (c TestCalls) call(m moment, random *rand.Rand) TestCall {
	fill := func(text string) string { return fillTemplate(text, int(m.index), random) }
	call := TestCall{
		Offset: m.offset, Tenant: fill(c.Tenant), Agent: fill(c.Agent), Identity: fill(c.Identity), Session: fill(c.Session),
		Action: fill(c.Action), Resource: fill(c.Resource), Outcome: c.Outcome,
		Latency: c.Latency, BytesIn: c.BytesIn, BytesOut: c.BytesOut,
	}
	for _, member := range c.Chain {
		call.Chain = append(call.Chain, fill(member))
	}
	for _, p := range c.Context {
		call.Context = append(call.Context, TestPair{p.Key, fill(p.Value)})
	}
	return call
}

var placeholder = regexp.MustCompile(`\{[^{}]*\}`)

// template reads a text whose placeholders are known.
func (r *reader) template(n *yaml.Node, what string) string {
	text, ok := r.text(n, what)
	if !ok {
		return ""
	}
	for _, p := range placeholder.FindAllString(text, -1) {
		if _, _, ok := parsePlaceholder(p); !ok {
			r.fail(n, "known: {i}, {i%10}, {r%10}", "%s: unknown placeholder %s", what, shorten(p))
		}
	}
	return text
}

// parsePlaceholder reads {i}, {i%N} or {r%N}; modulus is 0 for the first.
func parsePlaceholder(text string) (name string, modulus int, ok bool) {
	name, rest, found := strings.Cut(strings.Trim(text, "{}"), "%")
	if !found {
		return name, 0, name == "i"
	}
	modulus, err := strconv.Atoi(rest)
	return name, modulus, err == nil && modulus > 0 && (name == "i" || name == "r")
}

func fillTemplate(text string, i int, random *rand.Rand) string {
	if !strings.Contains(text, "{") {
		return text
	}
	return placeholder.ReplaceAllStringFunc(text, func(p string) string {
		name, modulus, _ := parsePlaceholder(p)
		switch {
		case name == "r":
			return strconv.Itoa(random.IntN(modulus))
		case modulus > 0:
			return strconv.Itoa(i % modulus)
		}
		return strconv.Itoa(i)
	})
}
