package node

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/estop-project/estop/detector"
)

// DetectorStatus is which detectors a process runs and which files it refused.
type DetectorStatus struct {
	Running []RunningDetector `json:"running"`
	Refused []RefusedFile     `json:"refused"`
}

// RunningDetector is a detector in force.
type RunningDetector struct {
	ID      string    `json:"id"`
	Version string    `json:"version"`
	Mode    string    `json:"mode"`
	Canary  bool      `json:"canary,omitempty"` // it runs beside the live one of its id, and observes
	File    string    `json:"file"`             // in the folder own, or catalog for the built-in ones
	Since   time.Time `json:"since"`            // when this process loaded this version
}

// RefusedFile is a mistake in a file. The version of the file that was right before goes on, if there was one.
type RefusedFile struct {
	File   string `json:"file"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
	Error  string `json:"error"` // with the place in front
}

// liveDetectors keeps the status for whoever asks.
type liveDetectors struct {
	mu     sync.Mutex
	status DetectorStatus
}

func (l *liveDetectors) set(set *detector.Set, errs detector.Errors, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	type version struct {
		id, version, file string
		canary            bool
	}
	since := map[version]time.Time{}
	for _, d := range l.status.Running {
		since[version{d.ID, d.Version, d.File, d.Canary}] = d.Since
	}
	l.status.Running = []RunningDetector{}
	for i, d := range set.Plan.Detectors {
		r := RunningDetector{ID: d.ID, Version: d.Version, Mode: d.Mode.String(), Canary: d.Canary, File: set.Sources[i].File, Since: now.UTC()}
		if d.Canary {
			r.Mode = detector.Observe.String()
		}
		if t, ok := since[version{r.ID, r.Version, r.File, r.Canary}]; ok {
			r.Since = t
		}
		l.status.Running = append(l.status.Running, r)
	}
	l.refused(errs)
}

// refuse takes in what is wrong where what runs goes on.
func (l *liveDetectors) refuse(errs detector.Errors) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refused(errs)
}

func (l *liveDetectors) refused(errs detector.Errors) {
	l.status.Refused = []RefusedFile{}
	for _, e := range errs {
		l.status.Refused = append(l.status.Refused, RefusedFile{e.File, e.Line, e.Column, e.Error()})
	}
}

// serve answers with the status as JSON.
func (l *liveDetectors) serve(w http.ResponseWriter, _ *http.Request) {
	l.mu.Lock()
	b, err := json.Marshal(l.status)
	l.mu.Unlock()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(b) // who asked may be gone
}

// maxStatus bounds what is read of a status.
const maxStatus = 64 << 20

func (s *Status) readDetectors(ctx context.Context, c Config) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.HTTP.Addr+"/detectors", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", c.HTTP.Addr, resp.Status)
	}
	var d DetectorStatus
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxStatus)).Decode(&d); err != nil {
		return err
	}
	s.Detectors = &d
	return nil
}
