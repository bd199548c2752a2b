// Package labelled opens the labelled data that tests measure on. It is no part of the source
// tree: the variable ESTOP_DATA names its folder, which otherwise is shared/data beside the
// tree. Where a file is absent, the test that asks for it is skipped.
package labelled

import (
	"bufio"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"testing"

	"github.com/estop-project/estop/pipeline/embedded/sourcetree"
)

const longestLine = 16 << 20

// Folder returns the folder of the labelled data, which may be absent.
func Folder(tb testing.TB) string {
	tb.Helper()
	if named := os.Getenv("ESTOP_DATA"); named != "" {
		return named
	}
	root, err := sourcetree.Root()
	if err != nil {
		tb.Fatal(err)
	}
	return filepath.Join(root, "..", "shared", "data")
}

// Open unpacks a gzipped file by its path in the folder. The test closes it when it ends.
func Open(tb testing.TB, name string) io.Reader {
	tb.Helper()
	f, err := os.Open(filepath.Join(Folder(tb), name))
	if errors.Is(err, fs.ErrNotExist) {
		tb.Skipf("%v; set ESTOP_DATA to the folder of labelled data", err)
	}
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { f.Close() })
	z, err := gzip.NewReader(f)
	if err != nil {
		tb.Fatalf("cannot unpack %s: %v", name, err)
	}
	return z
}

// Lines yields the lines of a gzipped file. Each is valid until the next.
func Lines(tb testing.TB, name string) iter.Seq[[]byte] {
	tb.Helper()
	lines := bufio.NewScanner(Open(tb, name))
	lines.Buffer(nil, longestLine)
	return func(yield func([]byte) bool) {
		tb.Helper()
		for lines.Scan() {
			if !yield(lines.Bytes()) {
				return
			}
		}
		if err := lines.Err(); err != nil {
			tb.Fatalf("cannot read %s: %v", name, err)
		}
	}
}
