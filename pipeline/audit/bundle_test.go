package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/mod/sumdb/note"

	"github.com/estop-project/estop/pipeline"
)

// Payloads gives what the records of the book hold.
func (b *book) Payloads(_ context.Context, topic string, _ Subject, places []Place) (map[Place][]byte, error) {
	found := map[Place][]byte{}
	wanted := map[Place]bool{}
	for _, p := range places {
		wanted[p] = true
	}
	var in intake
	for _, r := range b.records {
		at := Place{topicID(r.Topic), r.Partition, r.Offset, 0}
		if r.Topic != topic || !wanted[at] {
			continue
		}
		in.each(r, func(p part) {
			at.Part = p.no
			found[at] = append([]byte{}, p.payload...)
		})
	}
	return found, nil
}

func (r *rigged) fed(b *book) *Log {
	r.t.Helper()
	w := r.writer()
	defer w.Close()
	if err := feed(w, b, func() {}); err != nil {
		r.t.Fatal(err)
	}
	return r.log()
}

func encode(t testing.TB, b *Bundle) []byte {
	t.Helper()
	data, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func check(t testing.TB, data []byte, o VerifyOptions) Verified {
	t.Helper()
	v, err := verifyBytes(data, o)
	if err != nil {
		t.Fatalf("%v\n%+v", err, v.Steps)
	}
	return v
}

func verifyBytes(data []byte, o VerifyOptions) (Verified, error) {
	b, err := ParseBundle(data)
	if err != nil {
		return Verified{}, err
	}
	return Verify(b, o)
}

var both = []string{pipeline.TopicCalls, pipeline.TopicDetections, pipeline.TopicRevocations}

func TestABundleOfTrailsShowsEveryLeafOfTheAgent(t *testing.T) {
	r, b := newRigged(t, 40), newBook(3, 2000, 10, 5)
	l := r.fed(b)
	calls := map[string]int{}
	for _, rec := range b.records {
		var v struct{ Agent string }
		if err := json.Unmarshal(rec.Value, &v); err != nil {
			t.Fatal(err)
		}
		calls[rec.Topic+v.Agent]++
	}
	for i := range 6 {
		agent := fmt.Sprintf("agent-%d", i)
		p, err := l.Trails(t.Context(), Request{Subject: Subject{"t1", "agent", agent}, Topics: both}, b)
		if err != nil {
			t.Fatal(err)
		}
		v := check(t, encode(t, p.Bundle), VerifyOptions{Log: r.key})
		for _, trail := range v.Topics {
			if want := calls[trail.Topic+agent]; int(trail.Total) != want || want > 0 && trail.First != 1 {
				t.Errorf("%s of %s: %+v, wanted %d leaves", trail.Topic, agent, trail, want)
			}
		}
		if v.Shown != calls[pipeline.TopicCalls+agent]+calls[pipeline.TopicDetections+agent] || v.Withheld != 0 || len(p.Hidden) != 0 {
			t.Errorf("%s: %d shown, %d withheld", agent, v.Shown, v.Withheld)
		}
	}
}

func TestABundleOfAnAgentThatDidNothingProvesIt(t *testing.T) {
	r := newRigged(t, 40)
	l := r.fed(newBook(2, 300, 10, 6))
	p, err := l.Trails(t.Context(), Request{Subject: Subject{"t1", "agent", "nobody"}, Topics: both})
	if err != nil {
		t.Fatal(err)
	}
	v := check(t, encode(t, p.Bundle), VerifyOptions{Log: r.key})
	if len(v.Topics) != 3 || v.Topics[0].Total != 0 {
		t.Errorf("%+v", v.Topics)
	}
}

func TestABundleOfARangeShowsTheLeavesOfTheRangeAndProvesThatNoneIsMissing(t *testing.T) {
	r, b := newRigged(t, 40), newBook(1, 1500, 5, 7)
	l := r.fed(b)
	from, to := start.Add(400*time.Second), start.Add(900*time.Second)
	s := Subject{"t1", "agent", "agent-2"}
	p, err := l.Trails(t.Context(), Request{Subject: s, Topics: []string{pipeline.TopicCalls}, From: from, To: to}, b)
	if err != nil {
		t.Fatal(err)
	}
	want := 0
	for _, rec := range b.records {
		if at := rec.Timestamp; rec.Topic == pipeline.TopicCalls && !at.Before(from) && !at.After(to) {
			var v struct{ Agent string }
			if json.Unmarshal(rec.Value, &v); v.Agent == s.Name {
				want++
			}
		}
	}
	data := encode(t, p.Bundle)
	if v := check(t, data, VerifyOptions{Log: r.key, From: from, To: to}); v.Shown != want || v.Withheld != 0 || v.Topics[0].First == 1 {
		t.Errorf("%d leaves shown of %d: %+v", v.Shown, want, v)
	}
	if _, err := verifyBytes(data, VerifyOptions{Log: r.key, From: from.Add(-time.Minute), To: to}); !errors.Is(err, ErrBundle) {
		t.Errorf("it proves more than it can: %v", err)
	}
}

func TestABundleOfOneCallIsBelow4KB(t *testing.T) {
	r, b := newRigged(t, DefaultMaxLeaves), newBook(1, 40_000, 100, 8)
	l := r.fed(b)
	p, err := l.One(t.Context(), pipeline.TopicCalls, Place{topicID(pipeline.TopicCalls), 0, 20_000, 0}, b)
	if err != nil {
		t.Fatal(err)
	}
	data := encode(t, p.Bundle)
	v := check(t, data, VerifyOptions{Log: r.key})
	if v.Shown != 1 || len(data) > 4000 {
		t.Errorf("%d bytes, %+v", len(data), v)
	}
	t.Logf("%d bytes", len(data))
}

func TestABundleHoldsWhatSourcesAltered(t *testing.T) {
	r, b := newRigged(t, 40), newBook(1, 200, 3, 9)
	l := r.fed(b)
	other := &book{append([]*kgo.Record(nil), b.records...)}
	changed := *callRecord("agent-1", 0, 0)
	for i, rec := range other.records {
		var v struct{ Agent string }
		if json.Unmarshal(rec.Value, &v); rec.Topic == pipeline.TopicCalls && v.Agent == "agent-1" {
			changed = *rec
			changed.Value = append(changed.Value[:0:0], changed.Value...)
			changed.Value[10] ^= 1 // in its id
			other.records[i] = &changed
			break
		}
	}
	p, err := l.Trails(t.Context(), Request{Subject: Subject{"t1", "agent", "agent-1"}, Topics: []string{pipeline.TopicCalls}}, other)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Hidden) != 1 || p.Hidden[0].Kind != Altered || p.Hidden[0].Place.Offset != changed.Offset {
		t.Errorf("hidden: %v, wanted offset %d", p.Hidden, changed.Offset)
	}
	check(t, encode(t, p.Bundle), VerifyOptions{Log: r.key})
}

// TestNoByteOfABundleCanBeChanged changes seeded bytes and bits of bundles of both kinds.
func TestNoByteOfABundleCanBeChanged(t *testing.T) {
	r, b := newRigged(t, 40), newBook(2, 400, 5, 10)
	l := r.fed(b)
	one, err := l.One(t.Context(), pipeline.TopicCalls, Place{topicID(pipeline.TopicCalls), 1, 100, 0}, b)
	if err != nil {
		t.Fatal(err)
	}
	trails, err := l.Trails(t.Context(), Request{Subject: Subject{"t1", "agent", "agent-3"}, Topics: both}, b)
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(11, 0))
	for _, bundle := range []*Bundle{one.Bundle, trails.Bundle} {
		data := encode(t, bundle)
		for range 1000 {
			bad := append([]byte(nil), data...)
			switch i := random.IntN(len(bad)); random.IntN(3) {
			case 0:
				bad[i] ^= 1 << random.IntN(8)
			case 1:
				bad = append(bad[:i], bad[i+1:]...)
			case 2:
				bad = append(bad[:i], append([]byte{byte(random.IntN(256))}, bad[i:]...)...)
			}
			if _, err := verifyBytes(bad, VerifyOptions{Log: r.key}); err == nil {
				t.Fatalf("it is accepted:\n%q\nfor\n%q", bad, data)
			}
		}
	}
}

func TestLeavesCannotBeLeftOutOrAddedByTheOperator(t *testing.T) {
	r, b := newRigged(t, 40), newBook(1, 300, 3, 12)
	l := r.fed(b)
	fresh := func() *Bundle {
		p, err := l.Trails(t.Context(), Request{Subject: Subject{"t1", "agent", "agent-1"}, Topics: []string{pipeline.TopicCalls}}, b)
		if err != nil {
			t.Fatal(err)
		}
		return p.Bundle
	}
	for name, lie := range map[string]func(*BundleTrail){
		"the last left out": func(t *BundleTrail) { t.Leaves = t.Leaves[:len(t.Leaves)-1] },
		"the first left out": func(t *BundleTrail) {
			t.Leaves[1].Prev, t.Leaves[1].Clock = t.Leaves[0].Prev, t.Leaves[0].Clock
			t.Leaves = t.Leaves[1:]
		},
		"one left out":         func(t *BundleTrail) { t.Leaves = append(t.Leaves[:5:5], t.Leaves[6:]...) },
		"all left out":         func(t *BundleTrail) { t.Leaves = nil },
		"two in another order": func(t *BundleTrail) { t.Leaves[3], t.Leaves[4] = t.Leaves[4], t.Leaves[3] },
		"one twice":            func(t *BundleTrail) { t.Leaves = append(t.Leaves, t.Leaves[len(t.Leaves)-1]) },
		"no trail at all":      func(t *BundleTrail) { t.End, t.Leaves = nil, nil },
	} {
		bundle := fresh()
		lie(&bundle.Trails[0])
		if _, err := verifyBytes(encode(t, bundle), VerifyOptions{Log: r.key}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestAnOperatorWhoRebuildsTheLogIsCaughtByTheWitness plays it: the operator deletes a call,
// builds the whole log anew with his own key, and makes a bundle of it.
func TestAnOperatorWhoRebuildsTheLogIsCaughtByTheWitness(t *testing.T) {
	r, b := newRigged(t, 40), newBook(1, 600, 3, 13)
	r.fed(&book{b.records[:400]})
	dir := t.TempDir()
	key := filepath.Join(dir, "witness.key")
	public, err := SaveKey(key, WitnessRole, "witness.test")
	if err != nil {
		t.Fatal(err)
	}
	witnessKey, err := ParseVerifier(public)
	if err != nil {
		t.Fatal(err)
	}
	w := Witness{
		Watch: Watch{Files: folder(r.options.Dir), Log: r.key, State: filepath.Join(dir, "seen")}, Key: key,
		Out: WitnessPath(r.options.Dir, "witness.test"), Clock: func() time.Time { return start },
	}
	if _, _, err := w.Cosign(); err != nil {
		t.Fatal(err)
	}
	demand := VerifyOptions{Log: r.key, Witnesses: []note.Verifier{witnessKey}, Quorum: 1}
	bundle := func() []byte {
		l, err := OpenCosigned(r.options.Dir, r.key)
		if err != nil {
			t.Fatal(err)
		}
		p, err := l.Trails(t.Context(), Request{Subject: Subject{"t1", "agent", "agent-1"}, Topics: []string{pipeline.TopicCalls}}, b)
		if err != nil {
			t.Fatal(err)
		}
		return encode(t, p.Bundle)
	}
	if v := check(t, bundle(), demand); len(v.Witnesses) != 1 || !v.Witnesses[0].At.Equal(start) {
		t.Fatalf("%+v", v.Witnesses)
	}
	old := r.log().Checkpoint

	// The crime.
	cut := &book{append(append([]*kgo.Record(nil), b.records[:50]...), b.records[51:]...)}
	if err := os.RemoveAll(r.options.Dir); err != nil {
		t.Fatal(err)
	}
	r.fed(cut)
	if err := r.log().Extends(old); !errors.Is(err, ErrInconsistent) {
		t.Errorf("the rebuilt log extends the old one: %v", err)
	}
	if _, _, err := w.Cosign(); !errors.Is(err, ErrInconsistent) {
		t.Errorf("the witness says %v", err)
	}
	check(t, bundle(), VerifyOptions{Log: r.key}) // the signature alone does not tell
	if _, err := verifyBytes(bundle(), demand); !errors.Is(err, ErrCheckpoint) {
		t.Errorf("without the witness's cosignature: %v", err)
	}
	monitor := Watch{Files: folder(r.options.Dir), Log: r.key, State: filepath.Join(dir, "monitor"), Others: [][]byte{old.Note}}
	if _, err := monitor.Look(); !errors.Is(err, ErrInconsistent) {
		t.Errorf("a monitor that has the old checkpoint says %v", err)
	}
}
