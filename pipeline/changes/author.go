package changes

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/estop-project/estop/detector"
)

// Folders say where the files of detectors lie, for the question who changed them.
type Folders struct {
	Dir     string // of the analysts' own, whose names begin with own/; empty: none
	BuiltIn bool   // the built-in ones are loaded, whose names begin with catalog/
	Version string // of this binary
}

// maxFile bounds what is read of a file: a list is the longest.
const maxFile = 4 << 20

// authors finds out who changed files.
type authors struct {
	Folders
	noGit bool // it took too long
}

// of returns who made a file what is in force of it, or took it away. holds says whether data is what is in force.
func (a *authors) of(ctx context.Context, file string, holds func(data []byte) bool) detector.Author {
	folder, name, _ := strings.Cut(file, "/")
	switch {
	case folder == "catalog" && a.BuiltIn:
		return detector.Author{By: "estop " + a.Version, From: detector.FromBuiltIn}
	case folder == "catalog" || a.Dir == "":
		return detector.Author{From: detector.FromConfig}
	}
	return a.ofPath(ctx, filepath.Join(a.Dir, filepath.FromSlash(name)), holds)
}

func (a *authors) ofPath(ctx context.Context, path string, holds func([]byte) bool) detector.Author {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	data, info, err := read(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		data = nil
	case err != nil || !holds(data):
		return detector.Author{} // it has changed again meanwhile
	}
	if !a.noGit {
		dir, name := existing(path, a.Dir)
		by, ok, err := lastCommit(ctx, dir, name, data)
		if ok {
			return by
		}
		a.noGit = err != nil
	}
	if data == nil {
		return detector.Author{}
	}
	if by := owner(info); by != "" {
		return detector.Author{By: by, From: detector.FromOwner}
	}
	return detector.Author{}
}

// read returns a file, and whose it is. data is not nil.
func read(path string) (data []byte, info fs.FileInfo, err error) {
	if info, err = os.Stat(path); err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, errors.New("it is not a regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	data, err = io.ReadAll(io.LimitReader(f, maxFile+1))
	return data, info, err
}

// existing parts a path into a folder that is there, at most as high as root, and the rest.
func existing(path, root string) (dir, name string) {
	dir, name = filepath.Split(path)
	dir = filepath.Clean(dir)
	for dir != filepath.Clean(root) && dir != filepath.Dir(dir) {
		if _, err := os.Stat(dir); err == nil {
			break
		}
		name = filepath.Join(filepath.Base(dir), name)
		dir = filepath.Dir(dir)
	}
	return dir, filepath.ToSlash(name)
}
