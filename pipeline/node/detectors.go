package node

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/detector/catalog"
	"github.com/estop-project/estop/pipeline"
)

// reloadEvery is how often the folder of detectors is looked at.
const reloadEvery = time.Second

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

// loadDetectors loads what is right and logs what is wrong. It fails where nothing is right.
func (n *running) loadDetectors() (*detector.Plan, error) {
	set, errs := n.detectors.reload()
	for _, e := range errs {
		n.log.Error("detector file refused", "err", e)
	}
	if len(set.Plan.Detectors) == 0 {
		return nil, fmt.Errorf("no detector can be loaded: %w", errs.Err())
	}
	return set.Plan, nil
}

// watchDetectors goes over to changed files; a wrong one leaves its last right version in force.
func (n *running) watchDetectors(ctx context.Context, d *pipeline.Detect) {
	tick := time.NewTicker(reloadEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		set, errs, changed := n.detectors.Reload(n.detectors.files)
		if !changed {
			continue
		}
		for _, e := range errs {
			n.log.Error("detector file refused; its last right version stays", "err", e)
		}
		d.Reload(set.Plan)
		n.log.Info("detectors reloaded", "detectors", len(set.Plan.Detectors))
	}
}

// detectors are the files of detectors and what of them is in force.
type detectors struct {
	detector.Reloader
	files fs.FS
}

func (d *detectors) reload() (*detector.Set, detector.Errors) {
	set, errs, _ := d.Reload(d.files)
	return set, errs
}

// folders joins file systems, each under a name of its own.
type folders map[string]fs.FS

// Open opens a file of one of the folders, or their list.
func (f folders) Open(name string) (fs.File, error) {
	first, rest, _ := strings.Cut(name, "/")
	in, ok := f[first]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	if rest == "" {
		rest = "."
	}
	return in.Open(rest)
}

// Stat describes one of the folders' files, or the list of folders.
func (f folders) Stat(name string) (fs.FileInfo, error) {
	if name == "." {
		return rootInfo{}, nil
	}
	file, err := f.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return file.Stat()
}

// ReadDir lists the folders, or what is in one of them.
func (f folders) ReadDir(name string) ([]fs.DirEntry, error) {
	if name != "." {
		first, rest, _ := strings.Cut(name, "/")
		if rest == "" {
			rest = "."
		}
		in, ok := f[first]
		if !ok {
			return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrNotExist}
		}
		return fs.ReadDir(in, rest)
	}
	var list []fs.DirEntry
	for _, folder := range slices.Sorted(maps.Keys(f)) {
		info, err := fs.Stat(f[folder], ".")
		if err != nil {
			return nil, fmt.Errorf("folder %s: %w", folder, err)
		}
		list = append(list, folderEntry{folder, info})
	}
	return list, nil
}

// folderEntry lists a file system under its name in folders.
type folderEntry struct {
	name string
	info fs.FileInfo
}

func (e folderEntry) Name() string               { return e.name }
func (e folderEntry) IsDir() bool                { return true }
func (e folderEntry) Type() fs.FileMode          { return fs.ModeDir }
func (e folderEntry) Info() (fs.FileInfo, error) { return e.info, nil }

// rootInfo describes the list of folders.
type rootInfo struct{}

func (rootInfo) Name() string       { return "." }
func (rootInfo) Size() int64        { return 0 }
func (rootInfo) Mode() fs.FileMode  { return fs.ModeDir | 0o555 }
func (rootInfo) ModTime() time.Time { return time.Time{} }
func (rootInfo) IsDir() bool        { return true }
func (rootInfo) Sys() any           { return nil }
