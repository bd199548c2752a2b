package node

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/detector/catalog"
	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/pipeline/changes"
)

// reloadEvery is how often the folder of detectors is looked at: an edit is live within a second. A folder
// that takes long to read is looked at more seldom, so that this takes a tenth of a core at most.
const (
	reloadEvery = 200 * time.Millisecond
	reloadShare = 10
)

// DetectorFiles are the files that the configuration names: the built-in ones in catalog,
// the analysts' own in own.
func (c Config) DetectorFiles() fs.FS {
	f := folders{}
	if c.Detectors.Catalog {
		f["catalog"] = catalog.FS
	}
	if c.Detectors.Dir != "" {
		f["own"] = os.DirFS(c.Detectors.Dir)
	}
	return f
}

// LoadDetectors loads the detectors of a folder or of one file, all of which must be right.
// An empty path means the built-in ones.
func LoadDetectors(path string) (*detector.Set, error) {
	files, err := DetectorPath(path)
	if err != nil {
		return nil, err
	}
	set, errs := detector.Load(files)
	if err := errs.Err(); err != nil {
		return nil, err
	}
	if len(set.Plan.Detectors) == 0 {
		return nil, fmt.Errorf("no detector in %q: a detector is a file that ends in .yaml or .yml", path)
	}
	return set, nil
}

// DetectorPath returns the detector files of a folder, or one file. An empty path means the built-in ones.
func DetectorPath(path string) (fs.FS, error) {
	if path == "" {
		return catalog.FS, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read detectors: %w", err)
	}
	if info.IsDir() {
		return os.DirFS(path), nil
	}
	return oneFile{os.DirFS(filepath.Dir(path)), filepath.Base(path)}, nil
}

// oneFile is a folder of which only one file is to be seen.
type oneFile struct {
	fs.FS
	name string
}

// ReadDir lists the one file.
func (f oneFile) ReadDir(string) ([]fs.DirEntry, error) {
	info, err := fs.Stat(f.FS, f.name)
	if err != nil {
		return nil, err
	}
	return []fs.DirEntry{fs.FileInfoToDirEntry(info)}, nil
}

// loadDetectors loads what is right and logs what is wrong. It fails where nothing is right.
func (n *running) loadDetectors() (*detector.Plan, error) {
	set, errs, _ := n.detectors.Reload(n.detectors.files)
	for _, e := range errs {
		n.log.Error("detector file refused", "err", e)
	}
	if len(set.Plan.Detectors) == 0 {
		return nil, fmt.Errorf("no detector can be loaded: %w", errs.Err())
	}
	n.inForce(set, errs)
	return set.Plan, nil
}

// watchDetectors goes over to changed files; a wrong one leaves its last right version in force.
func (n *running) watchDetectors(ctx context.Context, d *pipeline.Detect) {
	ticks := make(chan time.Time)
	go lookAgain(ctx, ticks)
	n.detectors.Watch(ctx, n.detectors.files, ticks, func(set *detector.Set, errs detector.Errors) {
		for _, e := range errs {
			n.log.Error("detector file refused; its last right version stays", "err", e)
		}
		d.Refuse(refusedFiles(errs))
		if len(set.Plan.Detectors) == 0 {
			n.log.Error("no detector is left; the ones that ran go on", "dir", n.Detectors.Dir)
			n.detectors.live.refuse(errs)
			return
		}
		d.Reload(set.Plan)
		n.inForce(set, errs)
		n.log.Info("detectors reloaded", "detectors", len(set.Plan.Detectors))
	})
}

// inForce tells whoever asks, and the record of changes, what is in force from now on.
func (n *running) inForce(set *detector.Set, errs detector.Errors) {
	now := time.Now()
	n.detectors.live.set(set, errs, now)
	n.detectors.changes.Note(set, now)
}

// recordChanges records the changes of detectors until ctx ends.
func (n *running) recordChanges(ctx context.Context) (wait func()) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		n.detectors.changes.Run(ctx)
	}()
	return func() { <-ended }
}

// lookAgain ticks every reloadEvery, or where a look takes long after reloadShare times as long.
func lookAgain(ctx context.Context, ticks chan<- time.Time) {
	for {
		asked := time.Now()
		select {
		case ticks <- asked: // as soon as the last look has ended
		case <-ctx.Done():
			return
		}
		select {
		case <-time.After(max(reloadEvery, reloadShare*time.Since(asked))):
		case <-ctx.Done():
			return
		}
	}
}

// refusedFiles counts the files that errors are about.
func refusedFiles(errs detector.Errors) int {
	files := map[string]bool{}
	for _, e := range errs {
		files[e.File] = true
	}
	return len(files)
}

// detectors are the files of detectors and what of them is in force.
type detectors struct {
	detector.Reloader
	files   fs.FS
	live    liveDetectors
	changes *changes.Recorder
}
