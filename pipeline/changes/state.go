package changes

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/diff"

	"github.com/estop-project/estop/detector"
)

// The bounds of what is kept of a change.
const (
	maxText  = 64 << 10 // bytes of a detector, of its lists together, and of the difference
	maxKeys  = 100
	maxValue = 256 // bytes of a key, and of its value before and now
)

// state is a detector as it is in force, or as the last record of it says that it was.
type state struct {
	id, file      string
	canary, there bool
	version, mode string
	doc           detector.Document
	cut           bool
	number        int64 // of the last record; 0: there is none
}

// inForce is what a set has in force, by key. What is as before is not copied.
func inForce(set *detector.Set, before map[string]state) map[string]state {
	all := make(map[string]state, len(set.Plan.Detectors))
	for i, d := range set.Plan.Detectors {
		s := state{id: d.ID, file: set.Sources[i].File, canary: d.Canary, there: true, version: d.Version, mode: d.Mode.String()}
		if d.Canary {
			s.mode = detector.Observe.String()
		}
		if old, ok := before[d.Key()]; ok && old.same(s) {
			s = old
		} else {
			s.doc, s.cut = set.Document(i, maxText)
		}
		all[d.Key()] = s
	}
	return all
}

// recorded is what a record says.
func recorded(r *detector.ChangeRecord) state {
	return state{
		id: r.Detector, file: r.File, canary: r.Canary, there: r.Kind != "removed", version: r.VersionNow, mode: r.ModeNow,
		doc: r.Document, cut: r.Cut, number: r.Number,
	}
}

// same says whether nothing is to be recorded. The version is a hash of the text and the lists.
func (s state) same(other state) bool {
	return s.there == other.there && (!s.there || s.version == other.version && s.file == other.file)
}

// change is what became of a detector. Its author is not known yet.
func change(was, is state) detector.ChangeRecord {
	r := detector.ChangeRecord{
		Number: was.number + 1, Kind: "changed", Detector: is.id, Canary: is.canary, File: is.file, Keys: []detector.KeyChange{},
		VersionBefore: was.version, VersionNow: is.version, ModeBefore: was.mode, ModeNow: is.mode, Document: is.doc, Cut: is.cut || was.cut,
	}
	switch {
	case !was.there:
		r.Kind = "added"
		r.ID = idOf(&r)
		return r
	case !is.there:
		r.Kind, r.Detector, r.Canary, r.File = "removed", was.id, was.canary, was.file
	default:
		r.Keys = keysOf(was, is)
		if len(r.Keys) > maxKeys {
			r.Keys, r.Cut = r.Keys[:maxKeys], true
		}
	}
	r.ID = idOf(&r)
	r.Diff = difference(was, is)
	if len(r.Diff) > maxText {
		r.Diff, r.Cut = r.Diff[:1+strings.LastIndexByte(r.Diff[:maxText], '\n')], true
	}
	return r
}

// idOf is a hash of what the change is, and not of who saw it and when.
func idOf(r *detector.ChangeRecord) string {
	h := sha256.New()
	fmt.Fprintf(h, "%q %d %s %q %q %q", r.Key(), r.Number, r.Kind, r.File, r.VersionBefore, r.VersionNow)
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// keysOf returns which keys changed, the file if it is another, and the lists that hold other values.
func keysOf(was, is state) []detector.KeyChange {
	keys := detector.KeysChanged(was.doc.Text, is.doc.Text)
	if was.file != is.file {
		keys = append(keys, detector.KeyChange{Key: "file", Kind: "changed", Before: was.file, Now: is.file})
	}
	for _, name := range listsOf(was, is) {
		switch old, now := list(was, name), list(is, name); {
		case old.Hash == "":
			keys = append(keys, detector.KeyChange{Key: name, Kind: "added"})
		case now.Hash == "":
			keys = append(keys, detector.KeyChange{Key: name, Kind: "removed"})
		case old.Hash != now.Hash:
			keys = append(keys, detector.KeyChange{Key: name, Kind: "changed"})
		}
	}
	for i := range keys {
		for _, text := range []*string{&keys[i].Key, &keys[i].Before, &keys[i].Now} {
			if len(*text) > maxValue {
				*text = strings.ToValidUTF8((*text)[:maxValue], "") + "…"
			}
		}
	}
	return keys
}

// difference is that of the texts and the lists, in the unified form.
func difference(was, is state) string {
	out := diff.Diff(cmp.Or(was.file, is.file), ended(was.doc.Text), cmp.Or(is.file, was.file), ended(is.doc.Text))
	for _, name := range listsOf(was, is) {
		old, now := list(was, name), list(is, name)
		if old.Hash != now.Hash {
			out = append(out, diff.Diff(cmp.Or(old.File, now.File), ended(old.Text), cmp.Or(now.File, old.File), ended(now.Text))...)
		}
	}
	return string(out)
}

// ended is a text that ends as files do.
func ended(text string) []byte {
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	return []byte(text)
}

// listsOf returns the names of the lists of either.
func listsOf(was, is state) []string {
	var names []string
	for _, l := range slices.Concat(was.doc.Lists, is.doc.Lists) {
		if !slices.Contains(names, l.Name) {
			names = append(names, l.Name)
		}
	}
	slices.Sort(names)
	return names
}

// list returns the list of that name; its hash is empty where there is none.
func list(s state, name string) detector.List {
	for _, l := range s.doc.Lists {
		if l.Name == name {
			return l
		}
	}
	return detector.List{}
}

// author finds out who made a change: who wrote the detector's file or, where only a list changed, that one.
func (a *authors) author(ctx context.Context, was, is state) detector.Author {
	if !is.there {
		return a.of(ctx, was.file, func([]byte) bool { return true })
	}
	if was.there && was.file == is.file && was.doc.Text == is.doc.Text {
		for _, l := range is.doc.Lists {
			if l.Hash != list(was, l.Name).Hash {
				return a.of(ctx, l.File, func(data []byte) bool { return detector.Hash(data) == l.Hash })
			}
		}
	}
	return a.of(ctx, is.file, func(data []byte) bool { return strings.Contains(lineBreaks.Replace(string(data)), is.doc.Text) })
}

// lineBreaks puts one kind of line break for all that YAML knows, as the text of a detector has.
var lineBreaks = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\u0085", "\n", "\u2028", "\n", "\u2029", "\n")

// seen is what was in force from a time on.
type seen struct {
	at  time.Time
	all map[string]state
}
