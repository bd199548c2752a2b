package guard

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/estop-project/estop/revoke"
)

// Deafen ends the subscriptions and leaves the reading of the stream.
func (g *Guard) Deafen() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.unsubscribe()
}

// Take is a message over core NATS.
func (g *Guard) Take(subject, token string) { g.receive(subject, []byte(token), overCore) }

func (g *Guard) MarkRead()   { g.read(g.since()) }
func (g *Guard) CheckStale() { g.checkStale() }
func (g *Guard) Sweep()      { g.set.sweep(g.clock().UnixNano()) }
func (g *Guard) Size() int64 { return g.set.size.Load() }

// SignAnything signs what Sign refuses: the token of a newer version, with a scope or an
// action that this one does not know.
func SignAnything(s revoke.Signer, r revoke.Revocation) (string, error) {
	known := r
	known.Scope, known.Action = revoke.Agent, revoke.Throttle
	token, err := s.Sign(known)
	if err != nil {
		return "", err
	}
	parts := strings.Split(token, ".")
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return "", err
	}
	edited := string(payload)
	if r.Scope != revoke.Agent {
		edited = strings.Replace(edited, `"application":`, `"other":`, 1)
	}
	scope, err := json.Marshal(r.Scope)
	if err != nil {
		return "", err
	}
	action, err := json.Marshal(r.Action)
	if err != nil {
		return "", err
	}
	edited = strings.Replace(edited, `"scope":"agent"`, `"scope":`+string(scope), 1)
	edited = strings.Replace(edited, `"action":"throttle"`, `"action":`+string(action), 1)
	if r.Action == revoke.Revoke {
		edited = strings.Replace(edited, revoke.EventResponse, revoke.EventSessionRevoked, 1)
	}
	input := parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(edited))
	return input + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(s.Key, []byte(input))), nil
}

// LoseRevocations ends the subscription to revocations; heartbeats and the stream are left.
func (g *Guard) LoseRevocations() {
	g.mu.Lock()
	defer g.mu.Unlock()
	last := len(g.subs) - 1
	for _, sub := range g.subs[:last] {
		_ = sub.Unsubscribe()
	}
	g.subs = g.subs[last:]
}

// HearBeat is a heartbeat over core NATS.
func (g *Guard) HearBeat(token string) {
	g.hearBeat(&nats.Msg{Subject: revoke.BeatSubject, Data: []byte(token)})
}

// WriteFile writes a file of a guard with these messages, all of whose checksums are right.
func WriteFile(path string, known time.Time, records ...revoke.Record) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := newFileWriter(f, known)
	for _, r := range records {
		w.add(kept{r.Until.UnixNano(), revoke.ElementOf(r.Revocation), revoke.Subject(r.Revocation), []byte(r.SET)})
	}
	return errors.Join(w.close(), f.Close())
}

// ReadFile returns the subjects of the messages in a file of a guard.
func ReadFile(path string) ([]string, time.Time, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, time.Time{}, err
	}
	defer f.Close()
	var subjects []string
	known, err := readFile(f, func(k kept) { subjects = append(subjects, k.subject) })
	slices.Sort(subjects)
	return subjects, known, err
}

// Reader reads the stream as the guard does that it is of, one reading when it is told.
type Reader struct{ f follower }

func (g *Guard) Reader() *Reader { return &Reader{follower{g: g, next: make(map[string]uint64)}} }

func (r *Reader) Read(ctx context.Context) error { return r.f.read(ctx) }

// Rekeyed reports whether all is still to be read by other keys.
func (g *Guard) Rekeyed() bool { return g.rekeyed.Load() }
