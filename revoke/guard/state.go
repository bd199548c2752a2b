package guard

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/estop-project/estop/revoke"
)

const (
	// saveAfter is how long a change waits for others before all is written.
	saveAfter = 200 * time.Millisecond
	// A write that took long is not followed by the next one before so many times as long.
	saveShare = 10
	// touchEvery is how often the file is told until when what it says is all there is.
	touchEvery   = time.Second
	maxSavePause = 5 * time.Second
)

// state is what a guard keeps on disk.
type state struct {
	file   string
	wake   chan struct{}
	saved  atomic.Uint64
	errors atomic.Uint64

	known   time.Time   // until when what the file says is all there is
	broken  atomic.Bool // what was there at the start is not to be copied
	doubted atomic.Bool // something in it was not what it said

	mu      sync.Mutex
	pending map[string]kept     // by NATS subject: what came since it was written
	wrong   map[string]struct{} // tokens in the file that are not to be copied
}

func (s *state) init(file string) {
	s.file, s.wake, s.pending = file, make(chan struct{}, 1), make(map[string]kept)
	s.wrong = make(map[string]struct{})
}

// add notes a message to be written.
func (s *state) add(r revoke.Revocation, token []byte) {
	if s.file == "" {
		return
	}
	k := kept{until: r.Until.UnixNano(), element: revoke.ElementOf(r), subject: revoke.Subject(r), token: token}
	s.mu.Lock()
	s.pending[k.subject] = k
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *state) take() map[string]kept {
	s.mu.Lock()
	defer s.mu.Unlock()
	pending := s.pending
	s.pending = make(map[string]kept)
	return pending
}

// giveBack returns what could not be written.
func (s *state) giveBack(pending map[string]kept) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for subject, k := range pending {
		if _, newer := s.pending[subject]; !newer {
			s.pending[subject] = k
		}
	}
}

// load takes what is on disk. Signatures are verified again, if later, so nobody can plant anything.
// A file that is broken is no file: the guard fails closed until it has heard from the stream, but
// what in it is genuine counts.
func (g *Guard) load() {
	f, err := os.Open(g.o.File)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var known time.Time
	if err == nil {
		defer f.Close()
		known, err = g.loadFrom(f)
	}
	if err != nil {
		g.state.errors.Add(1)
		g.state.broken.Store(true)
		g.shut()
		g.log.Error("cannot use what is on disk: closed until the stream is read; remove the file if this goes on",
			"guard", g.o.Name, "file", g.o.File, "error", err)
		return
	}
	g.state.known = known
	age := max(0, g.clock().Sub(known))
	if g.clock().Before(known.Add(-revoke.MaxSkew)) {
		age = math.MaxInt64 / 2 // somebody has set a clock: how old it is cannot be said
	}
	g.pulse.set(g.since() - age)
	if g.o.MaxStale > 0 {
		// From here on it is a matter of age.
		g.blocked.And(^notSynced)
		g.checkStale()
	}
	g.log.Info("loaded from disk", "guard", g.o.Name, "file", g.o.File, "active", g.set.size.Load(),
		"to_verify", g.unverified.left.Load(), "age", age)
}

// loadFrom verifies the first messages and those that cannot wait on all processors, and lets the others wait.
func (g *Guard) loadFrom(f *os.File) (time.Time, error) {
	now := g.clock()
	messages := make(chan kept, 256)
	var workers sync.WaitGroup
	var wrong atomic.Uint64
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for k := range messages {
				if !g.restore(k, now) {
					wrong.Add(1)
				}
			}
		})
	}
	n := 0
	known, err := readFile(f, func(k kept) {
		if n++; k.until <= now.UnixNano() {
			return
		}
		m := revoke.StreamMessage{Subject: k.subject, Token: k.token}
		if n <= manyMessages || !g.postpone(m, &k) {
			messages <- k
		}
	})
	close(messages)
	workers.Wait()
	if err == nil && wrong.Load() > 0 {
		err = errCorrupt
	}
	return known, err
}

// restore puts one message in force and reports whether it was what it said.
func (g *Guard) restore(k kept, now time.Time) bool {
	if k.until <= now.UnixNano() {
		return true
	}
	verifier := g.verifier.Load()
	r, err := verifier.Genuine(k.token)
	if err != nil && !errors.Is(err, revoke.ErrUnknownKind) {
		g.refuse(k.subject, err)
		return false
	}
	if k.subject != revoke.Subject(r) || k.element != revoke.ElementOf(r) || k.until != r.Until.UnixNano() {
		g.refuse(k.subject, errSubject)
		return false
	}
	if verifier.Timely(k.token, r, now) == nil {
		g.apply(r, now)
	}
	return true
}

// restoreLate is restore for a message that waited.
func (g *Guard) restoreLate(k kept, came time.Time) {
	if g.restore(k, came) {
		return
	}
	g.state.leaveOut(k.token)
	if g.state.doubted.CompareAndSwap(false, true) {
		g.state.errors.Add(1)
		g.log.Error("something on disk is not what it says: closed until the stream is read", "guard", g.o.Name,
			"file", g.o.File, "nats_subject", k.subject)
	}
	g.shut()
}

func (s *state) leaveOut(token []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wrong[string(token)] = struct{}{}
}

func (s *state) leftOut(token []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.wrong[string(token)]
	return ok
}

// keep writes what changes until ctx ends, and then once more.
func (g *Guard) keep(ctx context.Context) {
	pause := saveAfter
	touch := time.NewTicker(touchEvery)
	defer touch.Stop()
	for {
		select {
		case <-ctx.Done():
			g.save()
			return
		case <-touch.C:
			g.touch()
			continue
		case <-g.state.wake:
		}
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		t.Stop()
		began := time.Now()
		g.save()
		pause = min(max(saveAfter, saveShare*time.Since(began)), maxSavePause)
	}
}

// touch writes anew until when what the file says is known to be all there is.
func (g *Guard) touch() {
	if !g.complete() {
		return
	}
	f, err := os.OpenFile(g.o.File, os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		g.save()
		return
	}
	if err == nil {
		_, err = f.WriteAt(head(g.knownAt()), 0)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		g.state.errors.Add(1)
		g.log.Error("cannot keep on disk how old it is", "guard", g.o.Name, "file", g.o.File, "error", err)
	}
}

// knownAt is the moment at which what the guard has put in force was all there is. It is for the goroutine that writes.
func (g *Guard) knownAt() time.Time {
	at := g.clock().Add(-g.pulse.age(g.since()))
	// Looked at afterwards: a reading lets its messages wait before it makes the knowledge younger.
	if g.complete() {
		g.state.known = at
	}
	return g.state.known
}

// save replaces the file at once: whoever reads it finds the old one or the new one.
func (g *Guard) save() {
	if g.state.broken.Load() && !g.complete() {
		return // what is genuine in it is all there is for another start
	}
	pending := g.state.take()
	err := g.write(pending)
	if err != nil {
		g.state.giveBack(pending)
		g.state.errors.Add(1)
		g.log.Error("cannot keep what is known on disk", "guard", g.o.Name, "file", g.o.File, "error", err)
		return
	}
	g.state.broken.Store(false)
	g.state.saved.Add(1)
}

func (g *Guard) write(pending map[string]kept) error {
	f, err := os.CreateTemp(filepath.Dir(g.o.File), filepath.Base(g.o.File)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	now := g.clock()
	w := newFileWriter(f, g.knownAt())
	g.copyFile(w, pending, now)
	for _, k := range pending {
		if k.until > now.UnixNano() {
			w.add(k)
		}
	}
	if err := errors.Join(w.close(), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), g.o.File)
}

// copyFile copies what is in the file and neither ended nor replaced. What has vanished from the
// stream is not replaced: only a message ends another one.
func (g *Guard) copyFile(w *fileWriter, pending map[string]kept, now time.Time) {
	if g.state.broken.Load() {
		return // the stream was read since, so all there is is pending
	}
	old, err := os.Open(g.o.File)
	if err != nil {
		return // there is none yet
	}
	defer old.Close()
	// A broken file gives what comes before the break.
	_, _ = readFile(old, func(k kept) {
		if _, newer := pending[k.subject]; !newer && k.until > now.UnixNano() && !g.pulse.replaced(k) && !g.state.leftOut(k.token) {
			w.add(k)
		}
	})
}

func (p *pulse) replaced(k kept) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ledger.Replaced(k.subject, k.element)
}
