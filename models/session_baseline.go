package models

import "math"

// SessionBaseline gives the surprise of each call of an agent's sessions: how improbable
// the action was after the ones before it, and what it was done to, given the action.
//
//	surprise = -log P(action | the action before) - log P(value | action before, Way)
//	base of P(value) = min over its tokens of P(token), base of P(action) = 1
//
// with the bases of LogProbBackoff: an action counts with all that are unknown, and a value
// with all that are unknown and made of tokens as rare.
//
// Both are Markov chains: of the actions, of order 1; of the values, whose contexts are the
// action before and the Way, the Way, and none. The tokens (words, numbers) of values are
// draws of a Novelty, and one that is new to it too counts as one of two that could have
// come. A value that the session used before costs nothing: it has been paid for.
//
// The score of a session is its largest surprise (Session). It only grows, so that the rank
// of an open session among the scores of closed ones (Conformal) is a p-value that only
// falls: evidence for EDetector.Set.
//
// A call is predicted before it is learned. Where an agent has not learned much, its peers'
// baseline continues the back-off.
//
// Units: nats. Cost: Surprise, Learn and Session.Take together about 600 ns. Bytes: 280 and
// those of the two chains and of the tokens.
type SessionBaseline struct {
	actions Markov
	values  Markov
	tokens  Novelty
}

// NewSessionBaseline returns one without calls that keeps cap transitions between actions,
// 4·cap between actions and values, and 2·cap tokens. It panics where cap is outside 4 … 2^14.
func NewSessionBaseline(cap int) SessionBaseline {
	return SessionBaseline{
		actions: NewMarkov(1, cap),
		values:  NewMarkov(2, 4*cap),
		tokens:  NewNovelty(markovDiscount, markovConcentration, 2*cap),
	}
}

// Surprise returns the negative log probability of a call of the session s, before either
// takes it in. peers may be nil.
func (b *SessionBaseline) Surprise(s *Session, c *SessionCall, peers *SessionBaseline) float64 {
	return -b.logAction(s, c, peers) - b.logValue(s, c, peers)
}

func (b *SessionBaseline) logAction(s *Session, c *SessionCall, peers *SessionBaseline) float64 {
	base := 0.0
	if peers != nil {
		base = peers.actions.LogProb(s.History(), c.Action, 0)
	}
	return b.actions.LogProb(s.History(), c.Action, base)
}

func (b *SessionBaseline) logValue(s *Session, c *SessionCall, peers *SessionBaseline) float64 {
	if s.Used(c.Value) {
		return 0
	}
	history := valueHistory(s, c)
	base := b.logTokens(s, c, peers)
	if peers != nil {
		base = peers.values.LogProb(history[:], c.Value, base)
	}
	return b.values.LogProb(history[:], c.Value, base)
}

// logTokens returns the log probability of the rarest token.
func (b *SessionBaseline) logTokens(s *Session, c *SessionCall, peers *SessionBaseline) (rarest float64) {
	for _, token := range c.Tokens {
		if s.Used(token) {
			continue
		}
		var logP float64
		if peers != nil {
			logP = LogProbBackoff(token, logNewToken, &b.tokens, &peers.tokens)
		} else {
			logP = LogProbBackoff(token, logNewToken, &b.tokens)
		}
		rarest = min(rarest, logP)
	}
	return rarest
}

// logNewToken is the log probability of a token given that it is new to all.
const logNewToken = -math.Ln2

// Learn takes in a call of s that Surprise has judged, before s takes it in.
func (b *SessionBaseline) Learn(s *Session, c *SessionCall, peers *SessionBaseline) {
	if b.actions.Learn(s.History(), c.Action) && peers != nil {
		peers.actions.Learn(s.History(), c.Action)
	}
	if s.Used(c.Value) {
		return
	}
	history := valueHistory(s, c)
	if b.values.Learn(history[:], c.Value) && peers != nil {
		peers.values.Learn(history[:], c.Value)
	}
	for _, token := range c.Tokens {
		if peers != nil {
			LearnBackoff(token, &b.tokens, &peers.tokens)
		} else {
			LearnBackoff(token, &b.tokens)
		}
	}
}

// valueHistory is what a value is drawn given: the action before and the way of this one.
func valueHistory(s *Session, c *SessionCall) [2]uint64 {
	return [2]uint64{s.past[longestHistory-1], c.Way}
}
