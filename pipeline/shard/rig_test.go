package shard_test

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/detector/catalog"
	"github.com/estop-project/estop/pipeline/shard"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// plan compiles one detector.
func plan(t testing.TB, texts ...string) *detector.Plan {
	t.Helper()
	set, errs := detector.Load(files(texts...))
	if err := errs.Err(); err != nil {
		t.Fatal(err)
	}
	return set.Plan
}

func files(texts ...string) fstest.MapFS {
	files := fstest.MapFS{}
	for i, text := range texts {
		files[fmt.Sprintf("%d.yaml", i)] = &fstest.MapFile{Data: []byte(text)}
	}
	return files
}

func catalogue(t testing.TB) *detector.Plan {
	t.Helper()
	set, errs := detector.Load(catalog.FS)
	if err := errs.Err(); err != nil {
		t.Fatal(err)
	}
	return set.Plan
}

// every is a plan with each kind of feature, on short warm-ups, so that a random sequence
// of calls reaches all of a shard's branches.
func every(t testing.TB) *detector.Plan {
	t.Helper()
	return plan(t, everyText()...)
}

// everyText are the detectors of every.
func everyText() []string {
	const agents = `
mode: enforce
group_by: agent
baseline:
  - feature: count(calls, 10s)
  - feature: new(resource)
slot: 10s
budget: 1 per 10 agent-days
warmup: {calls: 5, slots: 2}
when: rate(calls, 1s) > 8 or distinct(resource, 1m) > 6 or sum(bytes_out, 1m) > 5000
quiet: 5s
response: [{action: throttle, scope: agent, for: 1m}, {action: throttle, scope: agent, for: 5m}, {action: revoke, scope: agent, for: 15m}]
escalate: {within: 20s}
`
	const identities = `
mode: observe
group_by: identity
match: {identity|exists: true}
baseline: [{feature: surprise(agent)}, {feature: new(context.region)}]
slot: 10s
budget: 1 per 10 identity-days
warmup: {calls: 5, slots: 2}
when: count(denied, 30s) > 4
quiet: 5s
tenants: {t1: {mode: alert, budget: 1 per 20 identity-days}}
`
	const further = `
mode: observe
group_by: agent
baseline:
  - {feature: "count(calls, 10s)", season: hour-of-week}
  - feature: count(minutes, 10s)
  - {feature: "sum(bytes_out, 10s)", memory: 1h}
  - feature: max(latency, 10s)
  - feature: repeats(call)
  - feature: stale(call)
  - feature: new(call)
  - feature: new(chain)
budget: 1 per 10 agent-days
warmup: {calls: 5, slots: 2, peers: 3}
relearn: context.region
when: max(bytes_out, 30s) > 990 or repeats(call) > 6 or depth(chain) > 4 or recurs(chain) > 1 or quantile(0.4, bytes_out, 30s) > 800 or share(denied, 1m) > 0.9
quiet: 5s
`
	const parents = `
mode: observe
group_by: parent
baseline: [{feature: new(identity)}, {feature: surprise(agent)}]
slot: 10s
budget: 1 per 10 parent-days
warmup: {calls: 5, slots: 2}
quiet: 5s
schedule: {hours: "09:00-09:05"}
`
	const within = `
mode: observe
group_by: agent
within: session
baseline: [{feature: sequence(call)}, {feature: sequence(action)}, {feature: new(resource)}]
budget: 1 per 100 sessions
warmup: {calls: 5, slots: 0, peers: 3}
quiet: 5s
`
	const tenants = `
mode: observe
group_by: tenant
baseline: [{feature: burst(resource)}]
slot: 1m
budget: 1 per 10 tenant-days
warmup: {calls: 5, slots: 2}
quiet: 5s
`
	const correlated = `
mode: enforce
correlation: {of: [agents, further], within: 1m, condition: {count: ">= 2"}}
quiet: 5s
response: {action: revoke, scope: agent, for: 15m}
`
	const together = `
mode: alert
group_by: tenant
correlation: {of: [agents, identities, pairs], within: 1m, condition: {distinct: {field: agent, count: ">= 3"}}}
quiet: 5s
`
	const pairs = `
mode: observe
group_by: [agent, resource]
baseline: [{feature: "count(calls, 10s)"}, {feature: new(action)}]
budget: 1 per 10 agent-resource-days
warmup: {calls: 5, slots: 2, peers: 3}
when: rate(calls, 1s) > 2
quiet: 5s
`
	return []string{"id: correlated\ntitle: Correlated" + correlated, "id: agents\ntitle: Agents" + agents, "id: identities\ntitle: Identities" + identities,
		"id: further\ntitle: Further features" + further, "id: parents\ntitle: Parents" + parents, "id: tenants\ntitle: Tenants" + tenants, "id: within\ntitle: Within sessions" + within,
		"id: pairs\ntitle: Pairs" + pairs, "id: together\ntitle: Together" + together}
}

// t0 begins the calls of a test.
var t0 = time.Date(2026, time.March, 2, 9, 0, 0, 0, time.UTC)

// sent is a call and where it stands in the log.
type sent struct {
	telemetry.Call
	src shard.Source
}

// call returns call n of an agent, appended at its own time.
func call(n int, agent string, at time.Duration) sent {
	t := t0.Add(at).UnixNano()
	return sent{
		telemetry.Call{
			ID: fmt.Appendf(nil, "call-%d", n), Time: t, Tenant: []byte("t1"), Agent: []byte(agent),
			Identity: []byte("role"), Action: []byte("read"), Resource: []byte("doc-1"), BytesOut: 100,
		},
		shard.Source{Topic: "calls", Offset: int64(n), Appended: t},
	}
}

// log numbers calls that a test has put together.
func number(calls ...[]sent) []sent {
	all := slices.Concat(calls...)
	for i := range all {
		all[i].ID = fmt.Appendf(nil, "call-%d", i)
		all[i].src.Offset = int64(i)
	}
	return all
}

// burst is n calls of an agent, every so often.
func burst(n int, agent string, from, every time.Duration) []sent {
	var calls []sent
	for i := range n {
		calls = append(calls, call(i, agent, from+time.Duration(i)*every))
	}
	return calls
}

// pair is a shard for calls and one for the exchange, as the detect role has them, and the log between them.
type pair struct {
	log             []exchanged       // all that was sent, in the order in which it came
	read            int               // how much of it the exchange has judged,
	seen            map[stream]source // and the last of each stream that it took
	plan            *detector.Plan
	calls, exchange *shard.Shard
	found           []detector.Detection
	samples         []detector.Sample
	states          map[string][]byte // what was saved, by entity
	last            int64             // offset of the last call
	// Where entities are put away at every save, what was saved, by place.
	away  bool
	shelf []shard.EntityState
}

// newPairAway is a pair that puts away what it can whenever it saves, and reads it back.
func newPairAway(plan *detector.Plan, o shard.Options) *pair {
	p := newPair(plan, o)
	p.away = true
	p.begin(o)
	return p
}

// begin goes over to new shards.
func (p *pair) begin(o shard.Options) {
	if p.away {
		o.Fetch = func(place int64) (shard.EntityState, error) { return p.shelf[place], nil }
	}
	p.calls, p.exchange = shard.New(p.plan, o), shard.New(p.plan, o)
}

func newPair(plan *detector.Plan, o shard.Options) *pair {
	return &pair{plan: plan, calls: shard.New(plan, o), exchange: shard.New(plan, o), states: map[string][]byte{}, seen: map[stream]source{}}
}

// exchanged is a record of the exchange: a call on its way to a group or, where it has signs, those.
type exchanged struct {
	stream
	call  *sent
	signs []shard.Sign
	from  source
}

// stream is what comes to a group in the order of its places.
type stream struct {
	by    detector.Entity
	signs bool
	judge string // the shard that found the signs
}

// source is a place in a stream.
type source struct {
	offset int64
	index  int
}

func (p *pair) take(c *sent) {
	p.last = c.src.Offset
	groups := p.calls.Call(&c.Call, c.src)
	from := source{c.src.Offset, c.src.Index}
	for by := range groups.All() {
		p.log = append(p.log, exchanged{stream{by: by}, c, nil, from})
	}
	p.drain(p.calls, c, "calls", from)
	p.judge()
}

// judge lets the exchange judge what it has not read.
func (p *pair) judge() {
	for ; p.read < len(p.log); p.read++ {
		r := &p.log[p.read]
		if last, ok := p.seen[r.stream]; ok && (r.from.offset < last.offset || r.from.offset == last.offset && r.from.index <= last.index) {
			continue
		}
		p.seen[r.stream] = r.from
		if r.stream.signs {
			p.exchange.Correlate(r.by, &r.call.Call, r.signs, r.call.src, int64(p.read))
		} else {
			p.exchange.Grouped(r.by, &r.call.Call, r.call.src, int64(p.read))
		}
		p.drain(p.exchange, r.call, "exchange", source{int64(p.read), 0})
	}
}

// drain takes the output of a shard that has judged a call.
func (p *pair) drain(s *shard.Shard, c *sent, name string, from source) {
	for _, d := range s.Detections {
		p.found = append(p.found, d.Detection)
	}
	for _, out := range s.Signs {
		p.log = append(p.log, exchanged{stream{out.By, true, name}, c, out.Signs, from})
	}
	p.samples = append(p.samples, s.Samples...)
	s.Detections, s.Signs, s.Samples = s.Detections[:0], s.Signs[:0], s.Samples[:0]
}

// marker is what stands beside the states: how far the exchange had read.
type marker struct {
	last int64 // offset of the last call that is saved
	read int
	seen map[stream]source
}

func (p *pair) marker() marker { return marker{p.last, p.read, maps.Clone(p.seen)} }

// crash begins anew with states and a marker that were saved; the log stays.
func (p *pair) crash(t fataler, o shard.Options, states map[string][]byte, m marker) *pair {
	t.Helper()
	again := newPair(p.plan, o)
	again.states, again.log, again.read, again.seen, again.last, again.away = states, p.log, m.read, m.seen, m.last, p.away
	again.begin(o)
	again.restart(t, o)
	again.judge()
	return again
}

// save encodes what changed.
func (p *pair) save() {
	for name, s := range map[string]*shard.Shard{"calls": p.calls, "exchange": p.exchange} {
		states := s.Dirty()
		for _, st := range states {
			p.states[name+"/"+st.Key] = st.Value
		}
		if p.away {
			places := make([]int64, len(states))
			for i, st := range states {
				places[i] = p.shelve(st)
			}
			s.Stored(states, places)
			s.Evict(0)
		}
	}
}

func (p *pair) shelve(st shard.EntityState) int64 {
	p.shelf = append(p.shelf, st)
	return int64(len(p.shelf)) - 1
}

// restore gives a state to a shard, which reads it back at the entity's next call if entities are put away.
func (p *pair) restore(s *shard.Shard, st shard.EntityState) error {
	if p.away {
		if ok, err := s.RestoreAway([]byte(st.Key), st.Value, p.shelve(st)); ok || err != nil {
			return err
		}
	}
	return s.Restore(st)
}

// saved saves and returns what is saved.
func (p *pair) saved() map[string][]byte {
	p.save()
	return p.states
}

// fataler is a test or a property.
type fataler interface {
	Helper()
	Fatal(...any)
}

// restart goes over to new shards that know only what was saved.
func (p *pair) restart(t fataler, o shard.Options) {
	t.Helper()
	p.save()
	p.begin(o)
	for name, value := range p.states {
		kind, key, _ := strings.Cut(name, "/")
		s := p.calls
		if kind == "exchange" {
			s = p.exchange
		}
		if err := p.restore(s, shard.EntityState{Key: key, Value: value}); err != nil {
			t.Fatal(err)
		}
	}
	p.calls.RestoredBelow(p.last)
	p.exchange.RestoredBelow(int64(p.read))
}

// equalStates compares states as bags of bytes: the models write what they keep in hash
// tables in the order in which it came, and that may differ.
func equalStates(a, b map[string][]byte) bool {
	bag := func(v []byte) []byte { v = bytes.Clone(v); slices.Sort(v); return v }
	return maps.EqualFunc(a, b, func(x, y []byte) bool { return bytes.Equal(bag(x), bag(y)) })
}
