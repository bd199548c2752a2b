package check

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var noon = time.Date(2026, time.November, 2, 12, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time { return noon.Add(time.Duration(seconds * float64(time.Second))) }

func place(partition int32, offset int64) Place { return Place{Partition: partition, Offset: offset} }

// good is a history without a violation: two agents, of which bad breaks a detector at its second call, and one guard
// that is at a loss for a while. The detection and its revocation are there twice, as after a crash.
func good() *History {
	broken := Detection{ID: "d1", Detector: "loop", Target: "t/agent/bad", Call: "bad#1", At: place(1, 4), Reason: "count > 1"}
	found := broken
	found.Revocation = "d1"
	return &History{
		Appends: []Append{
			{ID: "good#0", Agent: "t/good", Number: 0, Acked: true, At: place(0, 7)},
			{ID: "good#1", Agent: "t/good", Number: 1},
			{ID: "good#2", Agent: "t/good", Number: 2, Acked: true, At: place(0, 9)},
			{ID: "bad#0", Agent: "t/bad", Number: 0, Acked: true, At: place(1, 3)},
			{ID: "bad#1", Agent: "t/bad", Number: 1, Acked: true, At: place(1, 4)},
		},
		Topics: []Topic{
			{
				Name:    CallsTopic,
				Records: []Row{{place(0, 7), "good#0"}, {place(0, 9), "good#2"}, {place(1, 3), "bad#0"}, {place(1, 4), "bad#1"}},
				Rows:    []Row{{place(1, 4), "bad#1"}, {place(0, 7), "good#0"}, {place(0, 9), "good#2"}, {place(1, 3), "bad#0"}},
			},
			{
				Name:    "estop.detections",
				Records: []Row{{place(0, 0), "d1"}, {place(0, 1), "d1"}},
				Rows:    []Row{{place(0, 0), "d1"}, {place(0, 1), "d1"}},
			},
		},
		Reference:   []Detection{broken},
		Detections:  []Detection{found, found},
		Revocations: []Revocation{{"d1", "t/agent/bad"}, {"d1", "t/agent/bad"}},
		Stored:      []Stored{{ID: "d1", Target: "t/agent/bad", Seen: at(10), Until: at(3600)}},
		Guards: []Guard{{Name: "gate", Bound: 5 * time.Second, Spans: []Span{
			{Target: "t/agent/bad", Answer: Allowed, First: at(0), Last: at(12)},
			{Target: "t/agent/bad", Answer: Closed, First: at(12.1), Last: at(14)},
			{Target: "t/agent/bad", Answer: Denied, Revocation: "d1", First: at(14.1), Last: at(60)},
			{Target: "t/agent/good", Answer: Allowed, First: at(0), Last: at(12)},
			{Target: "t/agent/good", Answer: Closed, First: at(12.1), Last: at(14)},
			{Target: "t/agent/good", Answer: Allowed, First: at(14.1), Last: at(60)},
		}}},
	}
}

func TestEachKindOfViolationIsFoundAndNothingElse(t *testing.T) {
	tests := []struct {
		name   string
		damage func(h *History)
		want   []Kind
	}{
		{"all is well", func(*History) {}, nil},
		{"a group is behind", func(h *History) { h.Behind = []string{"group estop-detect is at 3 of 5"} }, []Kind{NotRecovered}},

		{"a confirmed call is gone, row and all", func(h *History) {
			h.Topics[0].Records = slices.Delete(h.Topics[0].Records, 0, 1)
			h.Topics[0].Rows = slices.Delete(h.Topics[0].Rows, 1, 2)
		}, []Kind{AppendLost}},
		{"a confirmed call stands elsewhere", func(h *History) { h.Appends[0].At.Offset = 6 }, []Kind{AppendLost}},
		{"a retry doubled a call", func(h *History) {
			h.Topics[0].Records = append(h.Topics[0].Records, Row{place(1, 5), "bad#1"})
			h.Topics[0].Rows = append(h.Topics[0].Rows, Row{place(1, 5), "bad#1"})
		}, []Kind{AppendDoubled}},
		{"a retry overtook", func(h *History) {
			h.Appends[3].At, h.Appends[4].At = h.Appends[4].At, h.Appends[3].At
			h.Topics[0].Records[2].ID, h.Topics[0].Records[3].ID = "bad#1", "bad#0"
			h.Topics[0].Rows[0].ID, h.Topics[0].Rows[3].ID = "bad#0", "bad#1"
		}, []Kind{OrderBroken}},
		{"an agent's calls are in two partitions", func(h *History) {
			h.Appends[4].At = place(2, 8)
			h.Topics[0].Records[3].Place, h.Topics[0].Rows[0].Place = place(2, 8), place(2, 8)
		}, []Kind{OrderBroken}},

		{"a call has no row", func(h *History) { h.Topics[0].Rows = h.Topics[0].Rows[1:] }, []Kind{NotArchived}},
		{"a detection has no row", func(h *History) { h.Topics[1].Rows = h.Topics[1].Rows[1:] }, []Kind{NotArchived}},
		{"a batch was inserted twice", func(h *History) { h.Topics[0].Rows = append(h.Topics[0].Rows, h.Topics[0].Rows...) },
			[]Kind{ArchivedTwice, ArchivedTwice, ArchivedTwice, ArchivedTwice}},
		{"a row is of another call", func(h *History) { h.Topics[0].Rows[0].ID = "bad#0" }, []Kind{ArchivedWrong}},
		{"a row is of nothing", func(h *History) { h.Topics[0].Rows = append(h.Topics[0].Rows, Row{place(1, 5), "x"}) }, []Kind{ArchivedWrong}},

		{"the offset was committed before the outputs", func(h *History) {
			// What a crash then leaves: the kill got out over NATS, and its records are gone.
			h.Detections, h.Revocations, h.Topics[1] = nil, nil, Topic{Name: "estop.detections"}
		}, []Kind{NotDetected, NotRevoked}},
		{"a breach was not seen at all", func(h *History) {
			h.Detections, h.Revocations, h.Stored, h.Topics[1] = nil, nil, nil, Topic{Name: "estop.detections"}
			h.Guards[0].Spans = h.Guards[0].Spans[:2]
		}, []Kind{NotDetected, NotRevoked, NotStored}},
		{"calls were judged twice", func(h *History) {
			twice := h.Detections[0]
			twice.ID, twice.Revocation = "d2", ""
			h.Detections = append(h.Detections, twice)
		}, []Kind{NoBreach}},
		{"a detection says another call", func(h *History) { h.Detections[0].Call = "bad#0" }, []Kind{Altered}},
		{"a detection has other evidence", func(h *History) { h.Detections[1].Evidence = 3 }, []Kind{Altered}},

		{"a detection is there without its revocation", func(h *History) { h.Revocations = nil }, []Kind{NotRevoked, NotRevoked, NotRevoked}},
		{"a breach has two revocations", func(h *History) { h.Revocations = append(h.Revocations, Revocation{"d2", "t/agent/bad"}) }, []Kind{WrongID}},
		{"another agent is revoked", func(h *History) { h.Revocations[1].Target = "t/agent/good" }, []Kind{WrongTarget}},
		{"the stream holds another id", func(h *History) { h.Stored[0].ID = "d2" }, []Kind{WrongID}},
		{"the stream forgot", func(h *History) { h.Stored = nil }, []Kind{NotStored}},

		{"a guard goes on allowing", func(h *History) { h.Guards[0].Spans[0].Last = at(15.5) }, []Kind{AllowedLate}},
		{"a guard never hears of it", func(h *History) {
			h.Guards[0].Spans[0].Last = at(60)
			h.Guards[0].Spans = slices.Delete(h.Guards[0].Spans, 1, 3)
		}, []Kind{AllowedLate, NotEnforced}},
		{"a guard forgets within the bound", func(h *History) {
			h.Guards[0].Spans = slices.Insert(h.Guards[0].Spans, 0,
				Span{Target: "t/agent/bad", Answer: Denied, Revocation: "d1", First: at(10), Last: at(10.5)})
			h.Guards[0].Spans[1].First = at(11)
		}, []Kind{LetGo}},
		{"a guard allows once more long after", func(h *History) {
			h.Guards[0].Spans = append(h.Guards[0].Spans,
				Span{Target: "t/agent/bad", Answer: Allowed, First: at(61), Last: at(61)},
				Span{Target: "t/agent/bad", Answer: Denied, Revocation: "d1", First: at(62), Last: at(70)})
		}, []Kind{AllowedLate, LetGo}},
		{"a guard does not come back", func(h *History) {
			h.Guards[0].Spans = append(h.Guards[0].Spans, Span{Target: "t/agent/bad", Answer: Closed, First: at(61), Last: at(61)})
		}, []Kind{NotEnforced}},
		{"a revocation that has ended stops nobody", func(h *History) {
			h.Stored[0].Until = at(60.5)
			h.Guards[0].Spans = append(h.Guards[0].Spans, Span{Target: "t/agent/bad", Answer: Allowed, First: at(61), Last: at(70)})
		}, nil},
		{"an honest agent is stopped", func(h *History) {
			h.Guards[0].Spans = append(h.Guards[0].Spans, Span{Target: "t/agent/good", Answer: Denied, Revocation: "d1", First: at(61), Last: at(62)})
		}, []Kind{HonestStopped}},

		{"nobody did anything", func(h *History) { *h = History{} },
			[]Kind{NothingChecked, NothingChecked, NothingChecked, NothingChecked}},
		{"a guard was not asked", func(h *History) { h.Guards[0].Spans = nil }, []Kind{NothingChecked}},
	}
	found := map[Kind]bool{}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := good()
			test.damage(h)
			var got []Kind
			for _, v := range Check(*h) {
				t.Log(v)
				got = append(got, v.Kind)
				found[v.Kind] = true
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("kinds of violations, wanted (-), got (+):\n%s", diff)
			}
		})
	}
	for _, k := range Kinds() {
		if !found[k] {
			t.Errorf("no history of this test shows %q", k)
		}
	}
}
