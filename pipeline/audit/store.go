package audit

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// store writes the files of a log so that a crash leaves each of them whole, old or new.
type store struct {
	dir   string
	dirty map[string]bool // folders whose entries may not be on the disk yet
	// fault lets tests crash at every step of a write.
	fault func(step, path string) error
}

func openStore(dir string) *store { return &store{dir: dir, dirty: map[string]bool{}} }

func (s *store) step(name, path string) error {
	if s.fault == nil {
		return nil
	}
	return s.fault(name, path)
}

// write puts a file in place. It is durable only after sync.
func (s *store) write(path string, data []byte) error {
	if err := s.put(path, data); err != nil {
		return fmt.Errorf("cannot write %q of the audit log: %w", path, err)
	}
	return nil
}

func (s *store) put(path string, data []byte) error {
	full := filepath.Join(s.dir, filepath.FromSlash(path))
	if err := s.makeDir(filepath.Dir(full)); err != nil {
		return err
	}
	if err := s.step("create", path); err != nil {
		return err
	}
	f, err := os.OpenFile(full+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	if err := s.step("write", path); err != nil {
		f.Write(data[:len(data)/2]) // as a crash in the middle would
		f.Close()
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := s.step("rename", path); err != nil {
		return err
	}
	if err := os.Rename(full+".new", full); err != nil {
		return err
	}
	s.dirty[filepath.Dir(full)] = true
	return s.step("done", path)
}

func (s *store) makeDir(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	for above := dir; strings.HasPrefix(above, s.dir); above = filepath.Dir(above) {
		if _, err := os.Stat(above); err == nil {
			s.dirty[above] = true
			break
		}
		s.dirty[above] = true
	}
	return os.MkdirAll(dir, 0o755)
}

// sync makes durable what was written.
func (s *store) sync() error {
	for dir := range s.dirty {
		f, err := os.Open(dir)
		if err != nil {
			return fmt.Errorf("cannot make the audit log durable: %w", err)
		}
		err = f.Sync()
		if err := errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("cannot make the audit log durable: %w", err)
		}
		delete(s.dirty, dir)
	}
	return nil
}

// remove deletes a folder that nobody needs any more.
func (s *store) remove(path string) error {
	if err := s.step("remove", path); err != nil {
		return err
	}
	return os.RemoveAll(filepath.Join(s.dir, filepath.FromSlash(path)))
}

// Files reads the files of a log: a folder, or an address that serves one.
type Files interface {
	// Read returns a file. Where there is none the error wraps fs.ErrNotExist.
	Read(path string) ([]byte, error)
}

// OpenFiles returns the files of a log in a folder, or below an http or https address.
func OpenFiles(where string) Files {
	if strings.HasPrefix(where, "http://") || strings.HasPrefix(where, "https://") {
		return remoteFiles{strings.TrimSuffix(where, "/") + "/", &http.Client{Timeout: time.Minute}}
	}
	return folder(where)
}

// maxFile bounds a file of a log, in bytes.
const maxFile = 1 << 28

// folder is a folder on this machine.
type folder string

func (d folder) Read(path string) ([]byte, error) {
	f, err := os.Open(filepath.Join(string(d), filepath.FromSlash(path)))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readBounded(f, path)
}

// remoteFiles are files that a web server serves.
type remoteFiles struct {
	base   string
	client *http.Client
}

func (r remoteFiles) Read(path string) ([]byte, error) {
	response, err := r.client.Get(r.base + path)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusOK:
		return readBounded(response.Body, path)
	case http.StatusNotFound:
		return nil, fmt.Errorf("%s%s: %w", r.base, path, fs.ErrNotExist)
	}
	return nil, fmt.Errorf("%s%s: %s", r.base, path, response.Status)
}

func readBounded(r io.Reader, path string) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("%s is larger than %d bytes", path, maxFile)
	}
	return b, err
}
