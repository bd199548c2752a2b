package detector

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"
)

// ChangeRecord is one change of one detector, as it is written to Kafka and ClickHouse: who changed what, and when a
// process that judges calls went over to it.
type ChangeRecord struct {
	// ID is a hash of the detector, Number, and the versions and files before and now: processes that see the
	// same change give it the same one.
	ID       string    `json:"id"`
	Number   int64     `json:"number"` // of the detector's changes, from 1 on
	Time     time.Time `json:"ts"`     // when the process went over to it
	Node     string    `json:"node"`   // host of that process
	Detector string    `json:"detector"`
	Canary   bool      `json:"canary,omitempty"`
	Kind     string    `json:"kind"` // added, changed or removed
	File     string    `json:"file"` // as in RunningDetector; where it was, if it is removed

	VersionBefore string `json:"version_before,omitempty"`
	VersionNow    string `json:"version_now,omitempty"`
	ModeBefore    string `json:"mode_before,omitempty"`
	ModeNow       string `json:"mode_now,omitempty"`

	Author
	Keys []KeyChange `json:"keys"` // what changed; empty where only comments or the layout did, or the whole detector
	Document
	Diff string `json:"diff,omitempty"` // unified, of the texts before and now; empty where it was added
	// Cut says that the detector is longer than what is kept of it, so that Keys and Diff may lack something.
	Cut bool `json:"cut,omitempty"`
}

// Key names the detector in its set, as Compiled.Key does.
func (r *ChangeRecord) Key() string { return key(r.Canary, r.Detector) }

// Author is who made a file what it is, as far as that can be told. It is a claim and no proof.
type Author struct {
	By     string `json:"by,omitempty"`     // NAME <ADDRESS>, or the name of a user; empty: nobody knows
	From   string `json:"from,omitempty"`   // one of the From constants: how it is known
	Commit string `json:"commit,omitempty"` // of FromGit
}

// How an author is known.
const (
	FromGit     = "git"      // the last commit of the file, which is as it stands in HEAD
	FromOwner   = "owner"    // the user to whom the file belongs
	FromBuiltIn = "built-in" // it came with this version of estop
	FromConfig  = "config"   // the configuration names the file's folder no more
)

// Document is the text of a detector, and the lists that it names.
type Document struct {
	Text  string `json:"text,omitempty"`
	Lists []List `json:"lists,omitempty"`
}

// List is a file of values that a detector names.
type List struct {
	Name string `json:"name"` // as the detector writes it
	File string `json:"file"` // where it lies
	Hash string `json:"hash"` // of its values and comments
	Text string `json:"text,omitempty"`
}

// Document returns what stands in the files of detector i: at most so many bytes of its text, and of its lists together.
// cut says that there is more.
func (s *Set) Document(i, most int) (doc Document, cut bool) {
	d := s.drafts[i]
	doc.Text, cut = linesOf(d.text, most)
	for _, l := range d.lists {
		text, less := linesOf(string(l.data[:min(len(l.data), most+1)]), most)
		most, cut = most-len(text), cut || less
		doc.Lists = append(doc.Lists, List{Name: l.name, File: l.file, Hash: Hash(l.data), Text: text})
	}
	return doc, cut
}

// linesOf returns the whole lines at the begin of a text that have at most so many bytes.
func linesOf(text string, most int) (string, bool) {
	if len(text) <= most {
		return text, false
	}
	return text[:1+strings.LastIndexByte(text[:most], '\n')], true
}

// Hash is the hash of a list.
func Hash(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:6])
}
