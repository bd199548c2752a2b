package clickhouse

import (
	"fmt"
	"io"
	"os"
)

// spoolMemory is how many bytes of one body stay in memory; what is longer goes to a file.
const spoolMemory = 4 << 20

// spool holds the rows of an INSERT where the engine can read them as a file: in memory
// while they are few, else in a nameless file of the data folder. It has a name through the
// process's own descriptor only, so nothing is left behind after a crash.
type spool struct {
	dir  string // where files go
	file *os.File
	size int64
	disk bool
}

func newSpool(dir string) (*spool, error) {
	file, err := memoryFile()
	if err != nil {
		return nil, fmt.Errorf("cannot create a spool: %w", err)
	}
	s := &spool{dir: dir, file: file}
	if file == nil {
		return s, s.toDisk()
	}
	return s, nil
}

// Write appends p, moving to disk when memory would hold more than it may.
func (s *spool) Write(p []byte) (int, error) {
	if !s.disk && s.size+int64(len(p)) > spoolMemory {
		if err := s.toDisk(); err != nil {
			return 0, err
		}
	}
	n, err := s.file.Write(p)
	s.size += int64(n)
	return n, err
}

func (s *spool) toDisk() error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("cannot create the spool folder: %w", err)
	}
	file, err := os.CreateTemp(s.dir, "rows-")
	if err != nil {
		return fmt.Errorf("cannot create a spool file: %w", err)
	}
	if err := os.Remove(file.Name()); err != nil {
		file.Close()
		return fmt.Errorf("cannot unlink the spool file: %w", err)
	}
	if s.file != nil {
		if err := copyStart(file, s.file); err != nil {
			file.Close()
			return err
		}
		s.file.Close()
	}
	s.file, s.disk = file, true
	return nil
}

func copyStart(to, from *os.File) error {
	if _, err := from.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("cannot reread the spool: %w", err)
	}
	if _, err := io.Copy(to, from); err != nil {
		return fmt.Errorf("cannot move the spool to disk: %w", err)
	}
	return nil
}

// whole returns all bytes from the start, and how many there are, whoever wrote them.
func (s *spool) whole() (io.Reader, int64, error) {
	info, err := s.file.Stat()
	if err != nil {
		return nil, 0, fmt.Errorf("cannot measure the spool: %w", err)
	}
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return nil, 0, fmt.Errorf("cannot reread the spool: %w", err)
	}
	return s.file, info.Size(), nil
}

// path is a name by which this process, and it alone, can open the bytes.
func (s *spool) path() (string, error) {
	// Where opening a descriptor's name shares its offset, the offset must be at the start.
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return "", fmt.Errorf("cannot reread the spool: %w", err)
	}
	return fmt.Sprintf("%s/%d", descriptors, s.file.Fd()), nil
}

func (s *spool) close() { s.file.Close() }
