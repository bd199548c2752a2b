// Package statefile keeps a copy of what a shard wrote to the state topic in a local file: records one behind the other,
// of each key the last one counts. A restart reads the file instead of the topic, and then only what the topic has
// beyond the file's last mark; a shard that has more entities than memory reads back single ones.
//
// The topic is the truth. A file that is torn, garbled, or of another topic is worth as much as its whole records before
// that, or nothing; nobody waits for the disk, and nothing is lost with the file.
package statefile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const (
	magic      = "estop-state-1" // key of the first record; its value says whose state it is
	headSize   = 12              // sum, length of the key, length of the value
	maxRecord  = 16 << 20        // bytes; the state topic takes less
	readAhead  = 4 << 10         // most records are smaller
	writeChunk = 1 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrGarbled says that there is no whole record at a place.
var ErrGarbled = errors.New("garbled state file")

// ErrInUse says that another process has the file.
var ErrInUse = errors.New("another process has the state file")

// Record is one record of the state topic.
type Record struct {
	Key, Value []byte
}

// File is a state file that is open for this process alone. One goroutine at a time may write it, beside one that reads.
type File struct {
	// Slack is how many bytes of records that others have followed are left alone. Default 64 MiB.
	Slack int64

	path  string
	owner string
	f     *os.File
	lock  *os.File
	size  int64
	base  int64 // the size when it held each key once
}

// Open opens the file at path, made if there is none, and gives its whole records to each in the order in which they
// were written, with their places. What each gets is valid until it returns. A file of another owner is emptied.
func Open(path, owner string, each func(r Record, place int64) error) (*File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the folder of the state file: %w", err)
	}
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot lock the state file: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		return nil, fmt.Errorf("%s: %w", path, ErrInUse)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		lock.Close()
		return nil, fmt.Errorf("cannot open the state file: %w", err)
	}
	s := &File{Slack: slack, path: path, owner: owner, f: f, lock: lock}
	if err := s.scan(each); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// scan reads the whole records and cuts off what follows them.
func (s *File) scan(each func(Record, int64) error) error {
	in := reader{f: s.f}
	first, _, ok := in.next()
	if !ok || string(first.Key) != magic || string(first.Value) != s.owner {
		return s.Reset()
	}
	for {
		r, place, ok := in.next()
		if !ok {
			break
		}
		if err := each(r, place); err != nil {
			return err
		}
	}
	if in.err != nil {
		return fmt.Errorf("cannot read the state file %s: %w", s.path, in.err)
	}
	s.size, s.base = in.end, in.end
	return s.f.Truncate(s.size)
}

// Reset empties the file.
func (s *File) Reset() error {
	if err := s.f.Truncate(0); err != nil {
		return fmt.Errorf("cannot empty the state file %s: %w", s.path, err)
	}
	s.size = 0
	_, err := s.Append(Record{[]byte(magic), []byte(s.owner)})
	s.base = s.size
	return err
}

// Append writes records behind the others and returns their places. Where it fails the file is as it was before.
func (s *File) Append(records ...Record) (places []int64, err error) {
	places = make([]int64, 0, len(records))
	out := writer{f: s.f, at: s.size}
	for _, r := range records {
		places = append(places, out.at+int64(len(out.b)))
		if err = out.add(r); err != nil {
			break
		}
	}
	if err == nil {
		err = out.flush()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cannot write the state file %s: %w", s.path, err), s.f.Truncate(s.size))
	}
	s.size = out.at
	return places, nil
}

// Read returns the record at a place. It may run beside Append.
func (s *File) Read(place int64) (Record, error) {
	b := make([]byte, readAhead)
	n, err := s.f.ReadAt(b, place)
	if err != nil && err != io.EOF {
		return Record{}, fmt.Errorf("cannot read the state file %s: %w", s.path, err)
	}
	r, size, ok := parse(b[:n])
	if !ok && size > n && size <= maxRecord && n == readAhead {
		b = make([]byte, size)
		if _, err := s.f.ReadAt(b, place); err != nil {
			return Record{}, fmt.Errorf("cannot read the state file %s: %w", s.path, err)
		}
		r, _, ok = parse(b)
	}
	if !ok {
		return Record{}, fmt.Errorf("%s at %d: %w", s.path, place, ErrGarbled)
	}
	return r, nil
}

// Size returns how long the file is.
func (s *File) Size() int64 { return s.size }

// Bloated reports whether more than half of the file, and more than Slack, are records that others have followed.
func (s *File) Bloated() bool { return s.size > 2*s.base+s.Slack }

const slack = 64 << 20

// Close gives the file up.
func (s *File) Close() error {
	err := s.f.Close()
	if s.lock != nil {
		err = errors.Join(err, s.lock.Close())
	}
	return err
}

func appendRecord(b []byte, r Record) []byte {
	begin := len(b)
	b = append(b, make([]byte, headSize)...)
	binary.LittleEndian.PutUint32(b[begin+4:], uint32(len(r.Key)))
	binary.LittleEndian.PutUint32(b[begin+8:], uint32(len(r.Value)))
	b = append(append(b, r.Key...), r.Value...)
	binary.LittleEndian.PutUint32(b[begin:], crc32.Checksum(b[begin+4:], castagnoli))
	return b
}

// parse reads the record that b begins with. Where b is too short, size is how long it must be.
func parse(b []byte) (r Record, size int, ok bool) {
	if len(b) < headSize {
		return r, headSize, false
	}
	key, value := uint64(binary.LittleEndian.Uint32(b[4:])), uint64(binary.LittleEndian.Uint32(b[8:]))
	if key+value > maxRecord-headSize {
		return r, maxRecord + 1, false
	}
	size = headSize + int(key+value)
	if size > len(b) {
		return r, size, false
	}
	if crc32.Checksum(b[4:size], castagnoli) != binary.LittleEndian.Uint32(b) {
		return r, size, false
	}
	return Record{b[headSize : headSize+int(key)], b[headSize+int(key) : size]}, size, true
}

// reader takes one record after the other off a file.
type reader struct {
	f    io.ReaderAt
	b    []byte // of the file, up to read
	used int    // of b
	end  int64  // of the last whole record
	read int64
	err  error // other than that the file ends
}

// next returns the next whole record and its place; it is valid until next is called again.
func (in *reader) next() (r Record, place int64, ok bool) {
	for {
		r, size, ok := parse(in.b[in.used:])
		if ok {
			place = in.end
			in.used += size
			in.end += int64(size)
			return r, place, true
		}
		if size <= len(in.b)-in.used || size > maxRecord || !in.fill(size) {
			return Record{}, 0, false
		}
	}
}

// fill reads on until there are as many bytes as a record has.
func (in *reader) fill(size int) bool {
	rest := copy(in.b, in.b[in.used:])
	in.used = 0
	if want := max(size, writeChunk); cap(in.b) < want {
		in.b = append(make([]byte, 0, want), in.b[:rest]...)
	}
	n, err := in.f.ReadAt(in.b[rest:cap(in.b)], in.read)
	in.b = in.b[:rest+n]
	in.read += int64(n)
	if err != nil && err != io.EOF {
		in.err = err
	}
	return len(in.b) >= size
}

// writer writes records in large pieces.
type writer struct {
	f  io.WriterAt
	b  []byte
	at int64 // where b belongs
}

func (out *writer) add(r Record) error {
	if len(r.Key)+len(r.Value) > maxRecord-headSize {
		return fmt.Errorf("a record of %d bytes is too long", len(r.Key)+len(r.Value))
	}
	if out.b = appendRecord(out.b, r); len(out.b) >= writeChunk {
		return out.flush()
	}
	return nil
}

func (out *writer) flush() error {
	_, err := out.f.WriteAt(out.b, out.at)
	out.at += int64(len(out.b))
	out.b = out.b[:0]
	return err
}
