package detector

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"
)

// Reloader remembers the version of each detector file that is in force. Its zero value has none.
// It is for one goroutine.
type Reloader struct {
	inForce map[string]text // by name of the file
	set     *Set
	errs    Errors
	seen    [sha256.Size]byte
}

// Reload reads the files again. It returns the set in force, what is wrong with the files now,
// and whether anything differs from the last time.
//
// A file that is wrong or cannot be read is replaced by its version in force, and so is one
// that takes an id which another file has in force. A file that is gone takes its detectors
// with it, but what cannot be read, be it a file or a whole folder, stays as it was.
func (r *Reloader) Reload(files fs.FS) (set *Set, errs Errors, changed bool) {
	texts, errs := readFiles(files)
	seen := digest(texts, errs)
	if r.set != nil && seen == r.seen {
		return r.set, r.errs, false
	}
	r.seen = seen
	kept, fresh := r.divide(texts, errs)
	for {
		all := slices.Concat(kept, fresh)
		candidate, wrong := assemble(all)
		if len(wrong) == 0 {
			r.accept(all)
			r.set = candidate
			break
		}
		errs = append(errs, wrong...)
		kept, fresh = r.fallBack(kept, fresh, wrong)
	}
	errs.sort()
	r.errs = errs
	return r.set, errs, true
}

// Watch reloads the files at once and again at each tick, until ctx ends or ticks is closed. It
// calls changed whenever the content of the files is another. The set is the one in force:
// where a file is wrong now, the version of it that was right before stays, and errs says what
// is wrong.
//
// It compares content, not times or events, so it sees what editors, rsync and the symbolic
// links of Kubernetes config maps do alike.
func (r *Reloader) Watch(ctx context.Context, files fs.FS, ticks <-chan time.Time, changed func(set *Set, errs Errors)) {
	for {
		if set, errs, ok := r.Reload(files); ok {
			changed(set, errs)
		}
		select {
		case <-ctx.Done():
			return
		case _, ok := <-ticks:
			if !ok {
				return
			}
		}
	}
}

// divide parts the files into those in force, which come first and so keep their ids, and
// those with new content.
func (r *Reloader) divide(texts []text, unread Errors) (kept, fresh []text) {
	for _, t := range texts {
		if old, ok := r.inForce[t.name]; ok && old.equal(t) {
			kept = append(kept, t)
		} else {
			fresh = append(fresh, t)
		}
	}
	if len(unread) == 0 {
		return kept, fresh
	}
	listed := map[string]bool{}
	for _, t := range texts {
		listed[t.name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(r.inForce)) {
		if !listed[name] && within(name, unread) {
			kept = append(kept, r.inForce[name])
		}
	}
	return kept, fresh
}

// within says whether a file, or a folder that holds it, is among those that could not be read.
func within(name string, unread Errors) bool {
	return slices.ContainsFunc(unread, func(e *Error) bool {
		return e.File == "." || e.File == name || strings.HasPrefix(name, e.File+"/")
	})
}

// fallBack replaces the fresh files that are wrong by their versions in force. What is in
// force agrees with itself, so each round leaves fewer fresh files, or fewer files.
//
// A file in force is wrong where a detector went that a correlation in it names: an edit that takes the
// detector away is refused, but with a file that is gone the correlation goes too.
func (r *Reloader) fallBack(kept, fresh []text, wrong Errors) (stillKept, stillFresh []text) {
	robbed := func(t text) bool { return wrong.in(t.name) }
	edited := func(t text) bool { _, ok := r.inForce[t.name]; return ok }
	lost := slices.ContainsFunc(kept, robbed)
	if lost && !slices.ContainsFunc(fresh, edited) {
		kept = slices.DeleteFunc(kept, robbed)
		lost = false
	}
	for _, t := range fresh {
		if old, ok := r.inForce[t.name]; ok && (lost || wrong.in(t.name)) {
			kept = append(kept, old)
		} else if !wrong.in(t.name) {
			stillFresh = append(stillFresh, t)
		}
	}
	return kept, stillFresh
}

func (r *Reloader) accept(texts []text) {
	r.inForce = make(map[string]text, len(texts))
	for _, t := range texts {
		r.inForce[t.name] = t
	}
}

func digest(texts []text, errs Errors) (sum [sha256.Size]byte) {
	h := sha256.New()
	for _, t := range texts {
		fmt.Fprintf(h, "%d %s %d ", len(t.name), t.name, len(t.data))
		h.Write(t.data)
		for _, l := range t.lists {
			fmt.Fprintf(h, " %d %s %d %s %d ", len(l.name), l.name, len(l.err), l.err, len(l.data))
			h.Write(l.data)
		}
	}
	fmt.Fprint(h, errs.Error())
	h.Sum(sum[:0])
	return sum
}
