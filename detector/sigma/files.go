package sigma

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// The bounds of what is read in one go.
const (
	maxFiles = 20_000
	maxBytes = 256 << 20
	maxFile  = 1<<20 + 1 // one byte over what a file may have, which then says so
)

// ReadFiles reads files of rules. Of a folder, all files that end in .yml or .yaml.
func ReadFiles(paths []string) ([]File, error) {
	var files []File
	size := 0
	for _, root := range paths {
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			ext := filepath.Ext(path)
			switch {
			case err != nil:
				return err
			case entry.IsDir() || path != root && ext != ".yml" && ext != ".yaml":
				return nil
			case len(files) == maxFiles:
				return fmt.Errorf("there are more than %d files", maxFiles)
			}
			f, err := readFile(path)
			if err != nil {
				return err
			}
			if size += len(f.Data); size > maxBytes {
				return fmt.Errorf("the files together have more than %d bytes", maxBytes)
			}
			files = append(files, f)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return files, nil
}

func readFile(path string) (File, error) {
	f, err := os.Open(path)
	if err != nil {
		return File{}, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile))
	return File{Name: filepath.ToSlash(path), Data: data}, err
}
