package policy

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/estop-project/estop/revoke/gate"
)

// ReloadEvery is how often the files are looked at where nothing else is said.
const ReloadEvery = 500 * time.Millisecond

// Live is a set of policies that goes over to what its files become. A mistake in one leaves all as they were. It is safe
// for concurrent use.
type Live struct {
	name string
	risk func(tenant, agent string) Risk
	log  *slog.Logger

	set     atomic.Pointer[Set]
	seen    [sha256.Size]byte // of the files, when they were last looked at; Watch's
	reloads atomic.Uint64
	refused atomic.Uint64
	wrong   atomic.Bool

	permitted, denied atomic.Uint64
}

// LoadLive loads the policies of a folder or a file, which must be right. risk says how high the risk of an agent is; nil: it
// is unknown.
func LoadLive(name string, risk func(tenant, agent string) Risk, log *slog.Logger) (*Live, error) {
	if risk == nil {
		risk = func(string, string) Risk { return Unknown }
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	l := &Live{name: name, risk: risk, log: log}
	var err error
	if l.seen, err = fingerprint(name); err != nil {
		return nil, fmt.Errorf("cannot read policies: %w", err)
	}
	set, err := Load(name)
	if err != nil {
		return nil, err
	}
	l.set.Store(set)
	return l, nil
}

// Set returns the policies in force.
func (l *Live) Set() *Set { return l.set.Load() }

// Authorize decides a request by the policies in force. It is a gate.Authorizer.
func (l *Live) Authorize(q *gate.Request) gate.Permission {
	p := l.set.Load().Authorize(q, l.risk(q.Call.Tenant, q.Call.Agent))
	if p.Allowed {
		l.permitted.Add(1)
	} else {
		l.denied.Add(1)
	}
	return p
}

// Watch goes over to changed files until ctx ends, looking at them every so often.
func (l *Live) Watch(ctx context.Context, every time.Duration) {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			l.look()
		}
	}
}

func (l *Live) look() {
	now, err := fingerprint(l.name)
	if err == nil && now == l.seen {
		return
	}
	var set *Set
	if err == nil {
		set, err = Load(l.name)
	}
	if err != nil {
		if now != l.seen || !l.wrong.Load() { // say it once
			l.refused.Add(1)
			l.log.Error("policies refused; those in force go on", "err", err)
		}
		l.seen = now
		l.wrong.Store(true)
		return
	}
	l.seen = now
	l.wrong.Store(false)
	l.set.Store(set)
	l.reloads.Add(1)
	l.log.Info("policies reloaded", "policies", set.Len())
}

// Stats are the counts of a Live.
type Stats struct {
	Policies          int
	Permitted, Denied uint64
	Reloads, Refused  uint64
	Wrong             bool // the files are wrong now: an older version is in force
}

// Stats returns a snapshot.
func (l *Live) Stats() Stats {
	return Stats{
		Policies: l.Set().Len(), Permitted: l.permitted.Load(), Denied: l.denied.Load(),
		Reloads: l.reloads.Load(), Refused: l.refused.Load(), Wrong: l.wrong.Load(),
	}
}

// fingerprint is a hash of the names and the contents of the files.
func fingerprint(name string) (sum [sha256.Size]byte, err error) {
	info, err := os.Stat(name)
	if err != nil {
		return sum, err
	}
	dir, root := name, "."
	if !info.IsDir() {
		dir, root = filepath.Dir(name), filepath.Base(name)
	}
	files := os.DirFS(dir)
	names, err := Files(files, root)
	if err != nil {
		return sum, err
	}
	h := sha256.New()
	for _, n := range names {
		fmt.Fprintf(h, "%d %s\n", len(n), n)
		if err := contents(h, files, n); err != nil {
			return sum, err
		}
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}

func contents(to io.Writer, files fs.FS, name string) error {
	f, err := files.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	n, err := io.Copy(to, io.LimitReader(f, maxFile+1))
	fmt.Fprintf(to, "\n%d\n", n)
	return err
}
