package guard

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/estop-project/estop/revoke"
)

// The file of a guard is text: a line of fixed length that says what it is and at which time what
// it says was known to be all there is, one line for each message, and one with their number and
// the SHA-256 of their lines. While nothing changes, only the first line is written anew. A message is the time at which it ends, its element, its NATS subject and its
// token, as it came. The first two are there so that a copy of the file need not read tokens.
const (
	fileHead  = "estop-guard-state"
	fileForm  = "1"
	fileEnd   = "end"
	maxLine   = revoke.MaxToken + 1024
	maxInFile = 1 << 22 // messages
)

var (
	errCorrupt = errors.New("it is corrupt or cut off")
	errForm    = errors.New("it is no file of a guard, or of a newer version")
)

// kept is one message in the file.
type kept struct {
	until   int64 // ns
	element [sha256.Size]byte
	subject string
	token   []byte
}

// fileWriter writes the lines of a file.
type fileWriter struct {
	w   *bufio.Writer
	sum hash.Hash
	n   int
}

func newFileWriter(w io.Writer, known time.Time) *fileWriter {
	f := &fileWriter{w: bufio.NewWriterSize(w, 1<<16), sum: sha256.New()}
	_, _ = f.w.Write(head(known))
	return f
}

// head is the first line. It has a checksum of its own.
func head(known time.Time) []byte {
	ns := int64(0)
	if !known.IsZero() {
		ns = known.UnixNano()
	}
	at := fmt.Sprintf("%020d", ns)
	return fmt.Appendf(nil, "%s %s %s %08x\n", fileHead, fileForm, at, crc32.ChecksumIEEE([]byte(at)))
}

func (f *fileWriter) add(k kept) {
	f.n++
	b := f.w.AvailableBuffer()
	b = strconv.AppendInt(b, k.until, 10)
	b = append(b, ' ')
	b = hex.AppendEncode(b, k.element[:])
	b = append(b, ' ')
	b = append(b, k.subject...)
	b = append(b, ' ')
	b = append(b, k.token...)
	b = append(b, '\n')
	f.sum.Write(b)
	// The writer keeps its first error, and close returns it.
	_, _ = f.w.Write(b)
}

func (f *fileWriter) close() error {
	fmt.Fprintf(f.w, "%s %d %x\n", fileEnd, f.n, f.sum.Sum(nil))
	return f.w.Flush()
}

// readFile calls f for each message and returns when what the file says was known. A file that is
// cut off or changed gives an error, after the messages before.
func readFile(r io.Reader, f func(kept)) (known time.Time, err error) {
	b, sum := bufio.NewReaderSize(r, maxLine), sha256.New()
	line, err := fileLine(b)
	if err != nil {
		return known, err
	}
	if known, err = parseHead(line); err != nil {
		return known, err
	}
	for n := 0; n <= maxInFile; n++ {
		if line, err = fileLine(b); err != nil {
			return known, err
		}
		if bytes.HasPrefix(line, []byte(fileEnd+" ")) {
			if string(line) != fmt.Sprintf("%s %d %x\n", fileEnd, n, sum.Sum(nil)) {
				return known, errCorrupt
			}
			if _, err := b.ReadByte(); err != io.EOF {
				return known, errCorrupt
			}
			return known, nil
		}
		sum.Write(line)
		k, ok := parseKept(string(line))
		if !ok {
			return known, errCorrupt
		}
		f(k)
	}
	return known, fmt.Errorf("it has more than %d messages", maxInFile)
}

func fileLine(b *bufio.Reader) ([]byte, error) {
	line, err := b.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) || errors.Is(err, io.EOF) {
		return nil, errCorrupt
	}
	return line, err
}

func parseHead(line []byte) (time.Time, error) {
	words := strings.Split(string(line), " ")
	if len(words) != 4 || words[0] != fileHead || words[1] != fileForm {
		return time.Time{}, errForm
	}
	ns, err := strconv.ParseInt(words[2], 10, 64)
	known := time.Unix(0, ns)
	if err != nil || !bytes.Equal(line, head(known)) {
		return time.Time{}, errCorrupt
	}
	return known, nil
}

func parseKept(line string) (kept, bool) {
	words := strings.Split(strings.TrimSuffix(line, "\n"), " ")
	if len(words) != 4 {
		return kept{}, false
	}
	k := kept{subject: words[2], token: []byte(words[3])}
	element, err := hex.DecodeString(words[1])
	if err != nil || copy(k.element[:], element) != len(k.element) || len(element) != len(k.element) {
		return kept{}, false
	}
	k.until, err = strconv.ParseInt(words[0], 10, 64)
	return k, err == nil
}
