package shard

import (
	"fmt"
	"math"
	"testing"
	"testing/fstest"
	"time"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/detector/catalog"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// A record of the state topic takes 1.5 MB, with the base of the peers, which is some 300 KB.
const mostState = 1 << 20

// An agent that draws new kinds with every call, faster than checkpoints come by themselves.
func TestWhatIsToldBetweenCheckpointsFitsIntoARecord(t *testing.T) {
	set, errs := detector.Load(fstest.MapFS{"new.yaml": {Data: []byte(`id: new
title: New kinds
group_by: agent
baseline: [{feature: new(resource)}, {feature: new(action)}, {feature: new(identity)}, {feature: new(context.x)}]
slot: 10s
budget: 1 per 1000 agent-days
`)}})
	if err := errs.Err(); err != nil {
		t.Fatal(err)
	}
	for name, index := range map[string]func(i int) (offset int64, index int){
		"a record for each call": func(i int) (int64, int) { return int64(i), 0 },
		"all in one record":      func(i int) (int64, int) { return 0, i },
	} {
		s := New(set.Plan, Options{})
		largest, early := 0, 0
		save := func() {
			for _, st := range s.Dirty() {
				largest = max(largest, len(st.Value))
			}
		}
		for i := range 20_000 {
			at := int64(time.Hour) + int64(i)*int64(time.Millisecond)
			kind := fmt.Append(nil, "kind-", i)
			offset, index := index(i)
			s.Call(&telemetry.Call{
				ID: []byte("x"), Tenant: []byte("t"), Agent: []byte("a"), Identity: kind, Action: kind, Resource: kind, Time: at,
				Context: []telemetry.Pair{{Key: []byte("x"), Value: kind}},
			}, Source{Offset: offset, Index: index, Appended: at})
			if s.Full() && index == 0 {
				save()
				early++
			}
		}
		save()
		if largest > mostState {
			t.Errorf("%s: a state of %d bytes, want at most %d", name, largest, mostState)
		}
		if name == "a record for each call" && early == 0 {
			t.Error("no checkpoint was asked for: the agent is too tame")
		}
	}
}

// Whatever a restored state says was told, what the peers make of it can be written and read again.
func TestWhatPeersLearnOfWildNumbersCanBeReadAgain(t *testing.T) {
	set, errs := detector.Load(catalog.FS)
	if err := errs.Err(); err != nil {
		t.Fatal(err)
	}
	s := New(set.Plan, Options{})
	p := s.peersAt(string(byte(groups)+byte(detector.ByAgent)) + "t")
	wild := []float64{math.MaxFloat64, -math.MaxFloat64, math.Inf(1), math.NaN(), 0, 1e200, -1e-300}
	for _, r := range s.rules[detector.ByAgent] {
		for what := range byte(toldCutTail + 2) {
			for _, x := range wild {
				p.take(telling{shape: r.shape, what: what, value: math.Float64bits(x)}, s.rules[detector.ByAgent])
			}
		}
	}
	p.appendState(nil, position{}) // its base is what was learned until now
	if _, err := s.peersAt(p.key).load(p.appendState(nil, position{}), s.rules[detector.ByAgent]); err != nil {
		t.Error(err)
	}
}
