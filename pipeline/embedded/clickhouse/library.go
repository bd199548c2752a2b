package clickhouse

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// ErrNoLibrary says that libchdb, the engine as a shared library, is not on this machine.
// Whoever gets it can go on without an archive and try again after an install.
var ErrNoLibrary = errors.New("libchdb is not installed")

// errClosed is what a query gets while the engine shuts down.
var errClosed = errors.New("the engine is closed")

// LibraryVariable is the environment variable that names libchdb.so explicitly.
const LibraryVariable = "ESTOP_LIBCHDB"

// cachedLibrary is where deploy/libchdb/fetch.sh puts the library, seen from a project or
// from the folder that holds the data.
const cachedLibrary = ".cache/libchdb/libchdb.so"

// FindLibrary returns the path of libchdb.so. It looks at the explicit path if that is not
// empty; else at the file named by ESTOP_LIBCHDB if that is set; else for
// .cache/libchdb/libchdb.so in the working folder, in the data folder dir and beside dir.
// A path that was named explicitly and does not exist is not passed over in silence.
//
// The error wraps ErrNoLibrary and says how to install the library.
func FindLibrary(explicit, dir string) (string, error) {
	if explicit == "" {
		explicit = os.Getenv(LibraryVariable)
	}
	if explicit != "" {
		return checkLibrary(explicit)
	}
	places := []string{cachedLibrary}
	if dir != "" {
		places = append(places, filepath.Join(dir, cachedLibrary), filepath.Join(filepath.Dir(filepath.Clean(dir)), cachedLibrary))
	}
	for _, place := range places {
		if path, err := checkLibrary(place); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%w: looked for %q; run deploy/libchdb/fetch.sh .cache/libchdb to install it, or set %s to a libchdb.so",
		ErrNoLibrary, places, LibraryVariable)
}

func checkLibrary(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("cannot resolve %q: %w", path, err)
	}
	info, err := os.Stat(abs)
	if err == nil && info.IsDir() {
		err = errors.New("it is a folder")
	}
	if err != nil {
		return "", fmt.Errorf("%w at %q (%w); run deploy/libchdb/fetch.sh .cache/libchdb to install it", ErrNoLibrary, path, err)
	}
	return abs, nil
}
