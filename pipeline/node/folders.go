package node

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"
)

// folders joins file systems, each under a name of its own.
type folders map[string]fs.FS

// Open opens a file of one of the folders, or their list.
func (f folders) Open(name string) (fs.File, error) {
	if name == "." {
		list, err := f.list()
		if err != nil {
			return nil, err
		}
		return &openList{rest: list}, nil
	}
	in, rest, err := f.find("open", name)
	if err != nil {
		return nil, err
	}
	file, err := in.Open(rest)
	if err != nil || rest != "." {
		return file, err
	}
	return namedFolder{file.(fs.ReadDirFile), name}, nil
}

// find returns the file system that a name leads to, and the name in it.
func (f folders) find(op, name string) (fs.FS, string, error) {
	first, rest, _ := strings.Cut(name, "/")
	in, ok := f[first]
	switch {
	case !fs.ValidPath(name):
		return nil, "", &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	case !ok:
		return nil, "", &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	case rest == "":
		rest = "."
	}
	return in, rest, nil
}

func (f folders) list() ([]fs.DirEntry, error) {
	var list []fs.DirEntry
	for _, name := range slices.Sorted(maps.Keys(f)) {
		info, err := fs.Stat(f[name], ".")
		if err != nil {
			return nil, fmt.Errorf("folder %s: %w", name, err)
		}
		list = append(list, fs.FileInfoToDirEntry(namedInfo{info, name}))
	}
	return list, nil
}

// namedInfo describes the root of a file system under its name in folders.
type namedInfo struct {
	fs.FileInfo
	name string
}

func (i namedInfo) Name() string { return i.name }

// namedFolder is the open root of a file system under its name in folders.
type namedFolder struct {
	fs.ReadDirFile
	name string
}

func (f namedFolder) Stat() (fs.FileInfo, error) {
	info, err := f.ReadDirFile.Stat()
	return namedInfo{info, f.name}, err
}

// openList is the open list of folders.
type openList struct{ rest []fs.DirEntry }

func (*openList) Stat() (fs.FileInfo, error) { return rootInfo{}, nil }
func (*openList) Close() error               { return nil }
func (*openList) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: ".", Err: fs.ErrInvalid}
}

// ReadDir returns the next n folders, or all that are left if n is not positive.
func (l *openList) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 || n > len(l.rest) {
		if n > 0 && len(l.rest) == 0 {
			return nil, io.EOF
		}
		n = len(l.rest)
	}
	next := l.rest[:n:n]
	l.rest = l.rest[n:]
	return next, nil
}

// rootInfo describes the list of folders.
type rootInfo struct{}

func (rootInfo) Name() string       { return "." }
func (rootInfo) Size() int64        { return 0 }
func (rootInfo) Mode() fs.FileMode  { return fs.ModeDir | 0o555 }
func (rootInfo) ModTime() time.Time { return time.Time{} }
func (rootInfo) IsDir() bool        { return true }
func (rootInfo) Sys() any           { return nil }
