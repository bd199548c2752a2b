package shard_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/shard"
)

// seen is a detector that fires at each call of its entity with its action, and not again for a second.
func seen(id, by, action string) string {
	return fmt.Sprintf("id: %s\ntitle: Seen\ntags: [weak.sign]\nmatch: {action: %s}\ngroup_by: %s\nwhen: count(calls, 1s) >= 1\nquiet: 1s\n---\n", id, action, by)
}

// across is a correlation of detectors that group by an agent, its identity and what it does on a resource.
func across(by, correlation string) string {
	return seen("a-sign", "agent", "a") + seen("b-sign", "identity", "b") + seen("c-sign", "[agent, resource]", "c") +
		"id: strong\ntitle: Together\nmode: enforce\nquiet: 1m\nresponse: {action: revoke, scope: agent, for: 1h}\ngroup_by: " + by + "\ncorrelation: " + correlation
}

// work is one call each ten seconds: a letter for the agent and one for the action. Agents have identities of
// their own, all have one chain.
func work(calls ...string) []sent {
	var all []sent
	for i, w := range calls {
		if w == "" {
			continue
		}
		c := call(0, w[:1], time.Duration(i)*10*time.Second)
		c.Action, c.Identity = []byte(w[1:]), []byte("role-"+w[:1])
		c.Chain = [][]byte{[]byte("root"), c.Agent}
		all = append(all, c)
	}
	return number(all)
}

func TestDetectionsOfDifferentEntitiesMeetThroughTheExchange(t *testing.T) {
	three := `{of: [a-sign], within: 1m, condition: {distinct: {field: agent, count: ">= 3"}}}`
	for name, c := range map[string]struct {
		by, correlation string
		calls           []sent
		want            []string // entity, agent of the last call, seconds
	}{
		"three agents of a tenant":     {"tenant", three, work("xa", "ya", "za"), []string{"t1 z 20"}},
		"one agent three times":        {"tenant", three, work("xa", "xa", "xa", "ya"), nil},
		"too far apart":                {"tenant", three, work("xa", "", "", "", "ya", "", "za"), nil},
		"begins anew, after its quiet": {"tenant", three, work("xa", "ya", "za", "xa", "ya", "za", "", "", "", "xa", "ya", "za"), []string{"t1 z 20", "t1 z 110"}},
		"a tag of any grouping":        {"tenant", `{of: weak.sign, within: 1m, condition: {count: ">= 3"}}`, work("xa", "yb", "zc"), []string{"t1 z 20"}},
		"an agent after its identity":  {"chain_root", `{of: [b-sign, a-sign], within: 1m, condition: ordered}`, work("xb", "ya"), []string{"root y 10"}},
		"in another order":             {"chain_root", `{of: [b-sign, a-sign], within: 1m, condition: ordered}`, work("ya", "xb"), nil},
		"of one call":                  {"chain_root", `{of: [a-sign, c-sign], within: 1m, condition: temporal}`, work("xc", "ya"), []string{"root y 10"}},
		"back to the agent":            {"agent", `{of: [a-sign, b-sign], within: 1m, condition: temporal}`, work("xa", "yb", "xb"), []string{"x x 20"}},
		"to a pair":                    {"[agent, identity]", `{of: [b-sign, a-sign], within: 1m, condition: ordered}`, work("xb", "xa"), []string{"x, role-x x 10"}},
		"to a session that none has":   {"session", `{of: [a-sign, b-sign], within: 1m, condition: temporal}`, work("xa", "yb"), nil},
	} {
		p := newPair(plan(t, across(c.by, c.correlation)), small)
		for i := range c.calls {
			p.take(&c.calls[i])
			p.restart(t, small)
		}
		var got []string
		for _, d := range together(p) {
			got = append(got, fmt.Sprintf("%s %s %d", d.Entity, d.Agent, int(d.Time.Sub(t0)/time.Second)))
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// Each of the tenants has its own.
func TestDetectionsOfTwoTenantsNeverMeet(t *testing.T) {
	p := newPair(plan(t, across("tenant", `{of: weak.sign, within: 1m, condition: {count: ">= 2"}}`)), small)
	calls := work("xa", "ya")
	calls[1].Tenant = []byte("t2")
	for i := range calls {
		p.take(&calls[i])
	}
	if n := len(together(p)); n != 0 {
		t.Errorf("%d detections", n)
	}
}

// An exception is asked about the call of the sign, by the correlation and not by what it is made of.
func TestACallThatIsExceptedIsNoSign(t *testing.T) {
	text := across("tenant", `{of: weak.sign, within: 1m, condition: {count: ">= 2"}}`) + "\nexceptions: [{match: {agent: y}, reason: drill, owner: ops}]\n"
	p := newPair(plan(t, text), small)
	calls := work("xa", "ya", "za")
	for i := range calls {
		p.take(&calls[i])
	}
	if found := together(p); len(found) != 1 || found[0].Agent != "z" || len(found[0].Signs) != 2 {
		t.Errorf("found %+v", found)
	}
}

// Whoever dates calls back stands where the calls were appended, beside what others do at that time.
func TestAnAgentThatDatesCallsBackIsCountedWithOthers(t *testing.T) {
	p := newPair(plan(t, across("tenant", `{of: weak.sign, within: 1m, condition: {count: ">= 2"}}`)), small)
	calls := work("xa", "ya")
	calls[1].Time -= int64(24 * time.Hour)
	for i := range calls {
		p.take(&calls[i])
	}
	if n := len(together(p)); n != 1 {
		t.Errorf("%d detections, want 1", n)
	}
}

// What a tenant has instead, and what runs beside the live one, hears of the same signs.
func TestOverridesAndCanariesOfCorrelationsHearOfTheSameSigns(t *testing.T) {
	text := across("tenant", `{of: weak.sign, within: 1m, condition: {count: ">= 2"}}`)
	_, strong, _ := strings.Cut(text, "id: strong")
	strong = "id: strong" + strong
	p := newPair(filed(t, "1.yaml", text+"\ntenants: {t1: {mode: alert}}\n", "canary/1.yaml", replace(strong, `">= 2"`, `">= 3"`)), small)
	calls := work("xa", "ya", "za")
	for i := range calls {
		p.take(&calls[i])
		p.restart(t, small)
	}
	var got []string
	for _, d := range together(p) {
		got = append(got, fmt.Sprintf("%s %s %d", d.Key(), d.Mode, len(d.Signs)))
	}
	if diff := cmp.Diff([]string{"strong alert 2", "canary/strong observe 3"}, got); diff != "" {
		t.Error(diff)
	}
}

// What a correlation kept while all its detectors grouped as it does is of another way, and of other entities.
func TestACorrelationThatGoesOverToTheExchangeBeginsAnew(t *testing.T) {
	const own, wide = `{of: [a-sign], within: 1m, condition: {count: ">= 2"}}`, `{of: [a-sign, b-sign], within: 1m, condition: {count: ">= 2"}}`
	calls := work("xa", "xa", "xb")
	for name, c := range map[string]struct {
		before, after string
		want          int
	}{
		"stays":      {own, own, 1},
		"goes":       {own, wide, 1}, // by the second and the third
		"goes back":  {wide, own, 0},
		"stays wide": {wide, wide, 1},
	} {
		p := newPair(plan(t, across("agent", c.before)), small)
		p.take(&calls[0])
		after := plan(t, across("agent", c.after))
		p.calls.Reload(after)
		p.exchange.Reload(after)
		p.plan = after
		for i := range calls[1:] {
			p.take(&calls[1+i])
			p.restart(t, small)
		}
		if n := len(together(p)); n != c.want {
			t.Errorf("%s: %d detections, want %d", name, n, c.want)
		}
	}
}

// arrivals are signs that come to a shard in the order of a permutation.
func arrivals(p *detector.Plan, calls []sent, order []int) []detector.Detection {
	s := shard.New(p, small)
	for n, i := range order {
		c := &calls[i]
		s.Correlate(detector.ByTenant, &c.Call, []shard.Sign{
			{Detector: "a-sign", ID: fmt.Sprint("detection-", i), FirstBad: string(c.ID), At: c.Time},
		}, c.src, int64(n))
	}
	var found []detector.Detection
	for _, d := range s.Detections {
		found = append(found, d.Detection)
	}
	return found
}

func TestSignsMakeTheSameInWhicheverOrderTheyCome(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 12).Draw(t, "signs")
		var calls []sent
		var order []int
		for i := range n {
			c := call(i, fmt.Sprint("agent-", i), time.Duration(rapid.IntRange(0, 9).Draw(t, "second"))*time.Second)
			c.src.Partition = int32(rapid.IntRange(0, 2).Draw(t, "partition"))
			if rapid.Bool().Draw(t, "dated back") {
				c.Time -= int64(rapid.IntRange(0, 8).Draw(t, "by")) * int64(time.Second)
			}
			calls, order = append(calls, c), append(order, i)
		}
		p := planOf(t, across("tenant", fmt.Sprintf(`{of: [a-sign], within: 1m, condition: {count: ">= %d"}}`, n)))
		want := arrivals(p, calls, order)
		got := arrivals(p, calls, rapid.Permutation(order).Draw(t, "order"))
		if len(want) != 1 || len(got) != 1 {
			t.Fatalf("%d and %d detections, want one of all", len(want), len(got))
		}
		if diff := cmp.Diff(want[0].Signs, got[0].Signs); diff != "" {
			t.Fatalf("the signs differ:\n%s", diff)
		}
		if want[0].FirstBad != got[0].FirstBad {
			t.Fatalf("first bad are %s and %s", want[0].FirstBad, got[0].FirstBad)
		}
	})
}

func planOf(t *rapid.T, text string) *detector.Plan {
	set, errs := detector.Load(files(text))
	if err := errs.Err(); err != nil {
		t.Fatal(err)
	}
	return set.Plan
}

// A partition that is behind brings signs that lie before those that are there.
func TestALateSignStandsWhereItBelongs(t *testing.T) {
	p := plan(t, across("tenant", `{of: [a-sign], within: 30s, condition: {count: ">= 3"}}`))
	calls := work("xa", "ya", "za", "wa", "va")
	for _, c := range []struct {
		order []int
		want  int
	}{
		{[]int{2, 1, 0}, 1}, // at 20, 10 and 0 s
		{[]int{4, 0, 1}, 0},
		{[]int{4, 0, 1, 2}, 1}, // though 40 s was there first
		{[]int{4, 0, 2, 3}, 1},
	} {
		if found := arrivals(p, calls, c.order); len(found) != c.want {
			t.Errorf("%v: %d detections, want %d", c.order, len(found), c.want)
		}
	}
}

// However far one partition is ahead of another, what lies together is found, and what does not is not.
func TestOnlySignsOfOneTimeMeetInWhicheverOrderTheyCome(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 6).Draw(t, "signs")
		var calls []sent
		var order []int
		place := rapid.IntRange(0, 3).Draw(t, "where enough are")
		for cluster := range 4 {
			size := n - 1
			if cluster == place {
				size = n
			}
			for range size {
				c := call(len(calls), fmt.Sprint("agent-", len(calls)), time.Duration(cluster)*time.Hour+time.Duration(rapid.IntRange(0, 29).Draw(t, "second"))*time.Second)
				c.src.Partition = int32(rapid.IntRange(0, 2).Draw(t, "partition"))
				calls, order = append(calls, c), append(order, len(order))
			}
		}
		condition := rapid.SampledFrom([]string{`{count: ">= %d"}`, `{distinct: {field: agent, count: ">= %d"}}`}).Draw(t, "condition")
		p := planOf(t, across("tenant", fmt.Sprintf(`{of: [a-sign], within: 1m, condition: `+condition+`}`, n)))
		found := arrivals(p, calls, rapid.Permutation(order).Draw(t, "order"))
		if len(found) != 1 || len(found[0].Signs) != n {
			t.Fatalf("%d detections, want one of %d signs", len(found), n)
		}
		for _, s := range found[0].Signs {
			if hour := int(s.Time.Sub(t0) / time.Hour); hour != place {
				t.Fatalf("a sign of hour %d, want those of %d", hour, place)
			}
		}
	})
}

// What is kept is bounded, and one that is noisy does not crowd out the others.
func TestANoisyAgentDoesNotCrowdOutTheOthers(t *testing.T) {
	p := plan(t, across("tenant", `{of: [a-sign], within: 1h, condition: {distinct: {field: agent, count: ">= 3"}}}`))
	calls := []sent{call(0, "x", 0)}
	for i := range 1000 {
		calls = append(calls, call(1+i, "noisy", time.Duration(i)*time.Second))
	}
	calls = number(append(calls, call(0, "y", 30*time.Minute)))
	var order []int
	for i := range calls {
		order = append(order, i)
	}
	if found := arrivals(p, calls, order); len(found) != 1 || len(found[0].Signs) != 3 {
		t.Errorf("%d detections, want one of three agents", len(found))
	}
	many := plan(t, across("tenant", `{of: [a-sign], within: 7d, condition: {count: ">= 100"}}`)+"\nschedule: {hours: \"00:00-00:01\"}\n")
	s := shard.New(many, small)
	for i := range calls {
		c := &calls[len(calls)-1-i] // the oldest comes last
		s.Correlate(detector.ByTenant, &c.Call, []shard.Sign{{Detector: "a-sign", ID: "1", At: c.Time}}, c.src, int64(i))
	}
	for _, st := range s.Dirty() {
		if len(st.Value) > 16<<10 {
			t.Errorf("a state of %d bytes", len(st.Value))
		}
	}
}

// What comes again, as after a crash, and what lies ahead of its append counts for nothing more.
func TestARepeatedRecordOfSignsChangesNothing(t *testing.T) {
	s := shard.New(plan(t, across("tenant", `{of: [a-sign], within: 5m, condition: {count: ">= 2"}}`)), small)
	c := call(0, "x", 0)
	for range 3 {
		s.Correlate(detector.ByTenant, &c.Call, []shard.Sign{{Detector: "a-sign", ID: "1", At: c.Time}}, c.src, 7)
	}
	if len(s.Detections) != 0 {
		t.Error("a sign counted again")
	}
	for _, unknown := range []string{"no-such", "strong", ""} {
		s.Correlate(detector.ByTenant, &c.Call, []shard.Sign{{Detector: unknown, ID: "2"}}, c.src, 8)
	}
	if len(s.Detections) != 0 {
		t.Error("what is no member counted")
	}
	s.Correlate(detector.ByTenant, &c.Call, []shard.Sign{{Detector: "a-sign", ID: "3", At: c.Time + int64(time.Hour)}}, c.src, 9)
	if len(s.Detections) != 1 {
		t.Fatalf("%d detections, want 1", len(s.Detections))
	}
	if at := s.Detections[0].Signs[1].Time; !at.Equal(t0.Add(time.Minute)) {
		t.Errorf("a sign stands at %v, want a minute after its append, %v", at, t0)
	}
}

func TestSignsAreReadBackAsTheyWereWritten(t *testing.T) {
	for _, signs := range [][]shard.Sign{
		{{}}, {{"a-sign", "0123", "call-1", 17}, {"b-sign", "4567", "", -1 << 62}},
	} {
		got, err := shard.ParseSigns(shard.AppendSigns(nil, signs))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(signs, got, cmpopts.EquateEmpty()); diff != "" {
			t.Error(diff)
		}
	}
}

func FuzzParseSigns(f *testing.F) {
	f.Add(shard.AppendSigns(nil, []shard.Sign{{"a-sign", "0123", "call-1", 17}, {"b-sign", "4567", "", -9}}))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, b []byte) {
		signs, err := shard.ParseSigns(b)
		if err != nil {
			return
		}
		again, err := shard.ParseSigns(shard.AppendSigns(nil, signs))
		if diff := cmp.Diff(signs, again); diff != "" || err != nil {
			t.Errorf("%v: %s", err, diff)
		}
	})
}

func TestAnExceptionOfACorrelationExcusesNoCallThatIsNoSignOfIt(t *testing.T) {
	s := shard.New(plan(t, seen("a-sign", "agent", "a")+seen("b-sign", "agent", "b")+
		"id: strong\ntitle: Together\nmode: enforce\nquiet: 1m\nresponse: {action: revoke, scope: agent, for: 1h}\ngroup_by: agent\n"+
		"exceptions: [{match: {agent: x}, reason: r, owner: o}]\ncorrelation: {of: [a-sign], within: 1m, condition: {count: \">= 3\"}}"), shard.Options{})
	for _, c := range work("xb", "xb", "xb") {
		s.Call(&c.Call, c.src)
	}
	if len(s.Excuses) > 0 || len(s.Detections) != 3 {
		t.Errorf("%d detections, excused %+v", len(s.Detections), s.Excuses)
	}
}

// An agent chooses the ids of its calls. What signs keep of them must fit into the record of its state.
func TestSignsOfCallsWithLongIDsFitIntoARecord(t *testing.T) {
	text := seen("a-sign", "agent", "a")
	for i := range 6 {
		text += fmt.Sprintf("id: mine-%d\ntitle: Together\nmode: observe\nquiet: 1m\ngroup_by: agent\n"+
			"correlation: {of: [a-sign], within: 7d, condition: {count: \">= 100\"}}\n---\n", i)
	}
	s := shard.New(plan(t, text), shard.Options{})
	var calls []sent
	for i := range 99 {
		c := call(0, "x", time.Duration(i)*10*time.Second)
		c.Action = []byte("a")
		calls = append(calls, c)
	}
	for i, c := range number(calls) {
		c.Call.ID = []byte(strings.Repeat("z", 4000) + fmt.Sprint(i))
		s.Call(&c.Call, c.src)
	}
	if len(s.Detections) != 99 {
		t.Fatalf("%d signs", len(s.Detections))
	}
	for _, st := range s.Dirty() {
		if len(st.Value) > 1<<18 {
			t.Errorf("a state of %d bytes", len(st.Value))
		}
	}
}
