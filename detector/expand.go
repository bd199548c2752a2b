package detector

import (
	"cmp"
	"container/heap"
	"iter"
	"math/rand/v2"
	"regexp"
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

// Expand gives the calls of the test in the order of their times; calls of one time come in
// the order of the file. It gives the same calls every time, and holds only those in memory
// that jitter may still reorder.
func (t Test) Expand() iter.Seq[TestCall] {
	return func(yield func(TestCall) bool) {
		var queue moments
		for g := range t.Calls {
			queue = append(queue, t.tick(g, 0))
		}
		heap.Init(&queue)
		for len(queue) > 0 {
			m := heap.Pop(&queue).(moment)
			c := t.Calls[m.group]
			if !m.isTick {
				if !yield(c.call(m, t.random(m.group, m.index))) {
					return
				}
				continue
			}
			for i := range c.Burst {
				heap.Push(&queue, t.moment(m.group, m.index*c.Burst+i))
			}
			if m.index+1 < c.Repeat {
				heap.Push(&queue, t.tick(m.group, m.index+1))
			}
		}
	}
}

// moment is when one call of a group comes, or one tick, with which its calls enter the queue.
type moment struct {
	offset time.Duration
	isTick bool
	group  int
	index  int // of the call or the tick in the group
}

func (t Test) tick(group, index int) moment {
	c := t.Calls[group]
	return moment{c.At + c.Every*time.Duration(index), true, group, index}
}

func (t Test) moment(group, index int) moment {
	c := t.Calls[group]
	m := moment{t.tick(group, index/c.Burst).offset, false, group, index}
	m.offset += c.late(t.random(group, index))
	return m
}

// random is the source of one call's random numbers.
func (t Test) random(group, index int) *rand.Rand {
	return rand.New(rand.NewPCG(t.Seed, uint64(group)<<32|uint64(index)))
}

// late draws by how much a call comes after its tick. It is the first of the call's random numbers.
func (c TestCalls) late(random *rand.Rand) time.Duration {
	if c.Jitter <= 0 {
		return 0
	}
	return time.Duration(random.Int64N(int64(c.Jitter)))
}

// moments is a heap: the earliest first, and ticks before the calls of their time.
type moments []moment

func (ms moments) Len() int      { return len(ms) }
func (ms moments) Swap(i, j int) { ms[i], ms[j] = ms[j], ms[i] }
func (ms moments) Less(i, j int) bool {
	a, b := ms[i], ms[j]
	if a.offset == b.offset && a.isTick != b.isTick {
		return a.isTick
	}
	return cmp.Or(cmp.Compare(a.offset, b.offset), cmp.Compare(a.group, b.group), cmp.Compare(a.index, b.index)) < 0
}
func (ms *moments) Push(m any) { *ms = append(*ms, m.(moment)) }
func (ms *moments) Pop() any {
	last := len(*ms) - 1
	m := (*ms)[last]
	*ms = (*ms)[:last]
	return m
}

// call makes one call of the group.
func (c TestCalls) call(m moment, random *rand.Rand) TestCall {
	c.late(random)
	fill := func(text string) string { return fillTemplate(text, m.index, random) }
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
