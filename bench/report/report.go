// Package report is the format of bench/results: the figures that the project claims, each
// with its goal and the command that measures it, as JSON for machines and as a page for
// people.
package report

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"
)

// Report is what one run measured, and where.
type Report struct {
	Title    string            `json:"title"`
	Measured time.Time         `json:"measured"`
	Machine  Machine           `json:"machine"`
	Versions map[string]string `json:"versions"`         // of Go and of the engines that took part
	Seed     uint64            `json:"seed"`             // of all that was drawn
	Commit   string            `json:"commit"`           // with -dirty where the tree had changes
	Manual   string            `json:"manual,omitempty"` // the page that says what the figures mean; docs/benchmarks.md by default
	Notes    []string          `json:"notes,omitempty"`
	Figures  []Figure          `json:"figures"`
	Tables   []Table           `json:"tables,omitempty"`
	Plots    []Plot            `json:"plots,omitempty"`
}

// Figure is one thing that was measured. One that falls short of its goal stays, with OK
// false.
type Figure struct {
	Set     string  `json:"set,omitempty"` // what was measured on, where a report has several
	Name    string  `json:"name"`
	Value   float64 `json:"value"`
	Unit    string  `json:"unit"`
	Goal    Goal    `json:"goal"`
	OK      bool    `json:"ok"`
	Command string  `json:"command"` // measures it again
	// Detail says that a table shows the figure too: people see it beside the others only if it
	// misses its goal.
	Detail bool `json:"detail,omitempty"`
}

// New begins a report on this machine and this state of the source tree, the folder that
// is the module's root. An empty root means that there is none: then what was built in says
// what the program was made from.
func New(root, title string, seed uint64, now time.Time) *Report {
	return &Report{
		Title: title, Measured: now.UTC().Truncate(time.Second), Machine: thisMachine(),
		Versions: versions(root), Seed: seed, Commit: commit(root),
	}
}

// Add adds a figure and holds it against its goal. One that is not a finite number was not
// measured, and only a note says so.
func (r *Report) Add(f Figure) {
	if !finite(f.Value) {
		r.Note("%s: there was nothing to measure it on (%v).", f.Name, f.Value)
		return
	}
	f.OK = f.Goal.Met(f.Value)
	r.Figures = append(r.Figures, f)
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// Missed returns how many figures fall short of their goals.
func (r *Report) Missed() int {
	n := 0
	for _, f := range r.Figures {
		if !f.OK {
			n++
		}
	}
	return n
}

// Note adds a sentence about the run, such as what was left out and why.
func (r *Report) Note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// Write writes NAME.json and NAME.md into the folder, which is made if it is missing.
func (r *Report) Write(dir, name string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("cannot make the folder of results: %w", err)
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("cannot encode report %q: %w", name, err)
	}
	for ext, content := range map[string][]byte{".json": append(text, '\n'), ".md": r.page()} {
		if err := os.WriteFile(filepath.Join(dir, name+ext), content, 0o644); err != nil {
			return fmt.Errorf("cannot write report %q: %w", name, err)
		}
	}
	return nil
}

// Read reads a report that Write wrote.
func Read(path string) (*Report, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the report: %w", err)
	}
	var r Report
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, fmt.Errorf("cannot read report %q: %w", path, err)
	}
	return &r, nil
}
