package models

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestSessionRemembersItsLatestValues(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var s Session
	var values, actions []uint64 // different values, oldest first
	for range 1000 {
		c := SessionCall{Action: rng.Uint64(), Value: mix(rng.Uint64N(120)), Tokens: []uint64{mix(rng.Uint64N(60) + 1e6)}}
		for _, v := range []uint64{c.Value, c.Tokens[0], mix(1e9)} {
			want := slices.Contains(values[max(0, len(values)-sessionValues):], v)
			if s.Used(v) != want {
				t.Fatalf("used is %v, want %v", s.Used(v), want)
			}
		}
		s.Take(&c, 0)
		for _, v := range []uint64{c.Value, c.Tokens[0]} {
			if !slices.Contains(values[max(0, len(values)-sessionValues):], v) {
				values = append(values, v)
			}
		}
		actions = append(actions, c.Action)
		if want := actions[max(0, len(actions)-longestHistory):]; !slices.Equal(s.History(), want) {
			t.Fatalf("history %v, want %v", s.History(), want)
		}
	}
	if s.calls != 1000 {
		t.Errorf("%d calls, want 1000", s.calls)
	}
}

func TestSessionScoreIsTheLargestSurprise(t *testing.T) {
	var s Session
	for _, x := range []struct{ surprise, want float64 }{
		{1, 1}, {0.5, 1}, {math.NaN(), 1}, {-3, 1}, {7, 7}, {2, 7}, {math.Inf(1), math.MaxFloat64},
	} {
		if got := s.Take(&SessionCall{}, x.surprise); got != x.want || s.score != got {
			t.Errorf("after surprise %v the score is %v, want %v", x.surprise, got, x.want)
		}
	}
}

// clerk is an agent that reads one of ten files and mails its content to one of three
// people, now and then searching for words of a small vocabulary.
func clerk(rng *rand.Rand) (calls []SessionCall) {
	const search, read, mail = 1, 2, 3
	call := func(action, value uint64, tokens ...uint64) {
		calls = append(calls, SessionCall{Action: mix(action), Way: mix(action + 100), Value: mix(value), Tokens: tokens})
	}
	if rng.IntN(2) == 0 {
		a, b := rng.Uint64N(30), rng.Uint64N(30)
		call(search, 1e6+a*30+b, mix(2e6+a), mix(2e6+b))
	}
	file, to := rng.Uint64N(10), rng.Uint64N(3)
	call(read, 3e6+file, mix(3e6+file))
	call(mail, 4e6+to, mix(4e6+to))
	return calls
}

// play scores a session and, where told, learns it.
func play(b *SessionBaseline, calls []SessionCall, peers *SessionBaseline, learn bool) float64 {
	var s Session
	for i := range calls {
		surprise := b.Surprise(&s, &calls[i], peers)
		if learn {
			b.Learn(&s, &calls[i], peers)
		}
		s.Take(&calls[i], surprise)
	}
	return s.score
}

func trainedSessions(rng *rand.Rand, peers *SessionBaseline) *SessionBaseline {
	b := NewSessionBaseline(64)
	for range 400 {
		play(&b, clerk(rng), peers, true)
	}
	return &b
}

func TestSessionOfAMisledAgentIsStranger(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	b := trainedSessions(rng, nil)
	var honest []float64
	for range 500 {
		honest = append(honest, play(b, clerk(rng), nil, false))
	}
	slices.Sort(honest)
	stranger := clerk(rng) // mail to somebody never written to
	last := &stranger[len(stranger)-1]
	last.Value, last.Tokens = mix(5e6), []uint64{mix(5e6)}
	rare := []SessionCall{clerk(rng)[0], stranger[len(stranger)-1], stranger[len(stranger)-1]} // no file was read
	for name, calls := range map[string][]SessionCall{"new recipient": stranger, "out of order": rare} {
		got := play(b, calls, nil, false)
		if limit := honest[len(honest)*99/100]; got <= limit {
			t.Errorf("%s: score %v, of 100 honest sessions 99 have at most %v", name, got, limit)
		}
	}
}

// Searches bring new words together all the time; that is no reason to stop anyone.
func TestNewValueOfKnownTokensSurprisesLess(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	b := trainedSessions(rng, nil)
	search := clerk(rng)[0]
	for search.Action != mix(1) {
		search = clerk(rng)[0]
	}
	search.Value = mix(9e6)
	known := play(b, []SessionCall{search}, nil, false)
	search.Tokens = []uint64{search.Tokens[0], mix(9e6 + 1)}
	unknown := play(b, []SessionCall{search}, nil, false)
	if unknown < known+0.5 {
		t.Errorf("with a new token the surprise is %v, with known ones %v", unknown, known)
	}
}

func TestWhatTheSessionUsedBeforeCostsNothing(t *testing.T) {
	b := trainedSessions(rand.New(rand.NewPCG(5, 6)), nil)
	var s Session
	c := SessionCall{Action: mix(2), Way: mix(102), Value: mix(7e6), Tokens: []uint64{mix(7e6)}}
	first := b.logValue(&s, &c, nil)
	s.Take(&c, 0)
	if again := b.logValue(&s, &c, nil); first > -2 || again != 0 {
		t.Errorf("a new value has log P %v, and %v when it comes again", first, again)
	}
}

func TestSurpriseIsMadeOfItsParts(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	b := trainedSessions(rng, nil)
	var s Session
	for _, c := range clerk(rng) {
		history := []uint64{s.past[longestHistory-1], c.Way}
		base := 0.0
		for _, token := range c.Tokens {
			base = min(base, LogProbBackoff(token, math.Log(0.5), &b.tokens))
		}
		want := -b.actions.LogProb(s.History(), c.Action, 0) - b.values.LogProb(history, c.Value, base)
		if got := b.Surprise(&s, &c, nil); math.Abs(got-want) > 1e-12 {
			t.Errorf("surprise %v, want %v", got, want)
		}
		s.Take(&c, 0)
	}
}

func TestNewAgentIsMeasuredByItsPeersSessions(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	peers := NewSessionBaseline(64)
	for range 20 {
		agent := NewSessionBaseline(64)
		for range 40 {
			play(&agent, clerk(rng), &peers, true)
		}
	}
	fresh, alone := NewSessionBaseline(64), NewSessionBaseline(64)
	c := clerk(rng)
	strange := []SessionCall{{Action: mix(50), Way: mix(51), Value: mix(52), Tokens: []uint64{mix(53)}}}
	if usual, odd := play(&fresh, c, &peers, false), play(&fresh, strange, &peers, false); usual > odd-3 {
		t.Errorf("for a new agent what its peers do scores %v, what nobody does %v", usual, odd)
	}
	if got := play(&alone, strange, nil, false); got > 1 {
		t.Errorf("without any knowledge a call has a surprise of %v nats", got)
	}
}

func TestSessionsAllocateNothing(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	peers := NewSessionBaseline(64)
	b := trainedSessions(rng, &peers)
	calls := clerk(rng)
	if got := testing.AllocsPerRun(1000, func() { sinkFloat = play(b, calls, &peers, true) }); got != 0 {
		t.Errorf("%v allocations for each session", got)
	}
}

var sessionKind = kind{
	name:  "Session",
	fresh: func() stateful { return new(Session) },
	step: func(s stateful, a, b uint64) string {
		v := s.(*Session)
		c := SessionCall{Action: b, Value: mix(min(a, b) % 90), Tokens: []uint64{mix(b % 97)}}
		return fmt.Sprint(v.Take(&c, float64(a%1000)), v.calls, v.History(), v.Used(mix(a%90)))
	},
}

var sessionBaselineKind = kind{
	name:  "SessionBaseline",
	fresh: func() stateful { return pointer(NewSessionBaseline(8)) },
	other: func() stateful { return pointer(NewSessionBaseline(9)) },
	step: func(s stateful, a, b uint64) string {
		m, session := s.(*SessionBaseline), Session{}
		session.Take(&SessionCall{Action: mix(a % 4)}, 0)
		c := SessionCall{Action: mix(b % 5), Way: mix(b % 7), Value: mix(min(a, b) % 20), Tokens: []uint64{mix(b % 19)}}
		surprise := m.Surprise(&session, &c, nil)
		m.Learn(&session, &c, nil)
		return fmt.Sprint(surprise, m.Surprise(&session, &c, nil))
	},
}

func init() { kinds = append(kinds, sessionKind, sessionBaselineKind) }

func FuzzDecodeSession(f *testing.F)         { fuzzDecode(f, sessionKind) }
func FuzzDecodeSessionBaseline(f *testing.F) { fuzzDecode(f, sessionBaselineKind) }

func BenchmarkSessionCall(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	m := trainedSessions(rng, nil)
	calls := clerk(rng)
	var s Session
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%len(calls) == 0 {
			s = Session{}
		}
		c := &calls[i%len(calls)]
		sinkFloat = m.Surprise(&s, c, nil)
		m.Learn(&s, c, nil)
		s.Take(c, sinkFloat)
	}
}
