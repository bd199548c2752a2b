package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/node"
)

const fmtHelp = `Put detector files into one form: keys in the order of the manual, two spaces, short lists and the
calls of tests on one line, quotes only where they are needed. Comments stay, and what the files
say stays the same.

The result goes to the standard output. Without a path the standard input is read.`

type fmtFlags struct{ check, diff, write bool }

func newFmt() *cobra.Command {
	var f fmtFlags
	cmd := &cobra.Command{
		Use:   "fmt [PATH]",
		Short: "Put detector files into one form",
		Long:  fmtHelp,
		Example: `  estop detector fmt -w detectors/
  estop detector fmt --check --diff detectors/`,
		Args: upTo(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				if f.write {
					return usage(cmd, errors.New("-w needs a path to write to"))
				}
				return f.standardInput(cmd)
			}
			return f.files(cmd, args[0])
		},
		ValidArgsFunction: detectorFiles,
	}
	cmd.Flags().BoolVar(&f.check, "check", false, "list the files that differ, and end with 1 where there are any")
	cmd.Flags().BoolVar(&f.diff, "diff", false, "print what would change")
	cmd.Flags().BoolVarP(&f.write, "write", "w", false, "write the files that differ")
	return cmd
}

func (f fmtFlags) standardInput(cmd *cobra.Command) error {
	before, err := io.ReadAll(cmd.InOrStdin())
	if err != nil {
		return fmt.Errorf("cannot read the standard input: %w", err)
	}
	after, errs := detector.Format("standard input", before)
	if err := errs.Err(); err != nil {
		return err
	}
	return f.give(cmd, []detector.Formatted{{File: "standard input", Before: before, After: after}})
}

// files formats what is right of a folder, or of one file, and says what is wrong with the others.
func (f fmtFlags) files(cmd *cobra.Command, path string) error {
	found, err := node.DetectorPath(path)
	if err != nil {
		return err
	}
	done, errs := detector.FormatFiles(found)
	if len(done)+len(errs) == 0 {
		return fmt.Errorf("no detector in %q: a detector is a file that ends in .yaml or .yml", path)
	}
	if f.write {
		if err := write(path, done); err != nil {
			return err
		}
	}
	return errors.Join(f.give(cmd, done), errs.Err())
}

// write replaces the files that differ.
func write(path string, done []detector.Formatted) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	for _, d := range done {
		if !d.Changed() {
			continue
		}
		name := path
		if info.IsDir() {
			name = filepath.Join(path, filepath.FromSlash(d.File))
		}
		if err := replace(name, d.After); err != nil {
			return fmt.Errorf("cannot write %s: %w", name, err)
		}
	}
	return nil
}

// replace writes a file as a whole or not at all, so that a node which watches the folder never
// reads half of it. It keeps the file's mode, and follows a link.
func replace(name string, data []byte) error {
	name, err := filepath.EvalSymlinks(name)
	if err != nil {
		return err
	}
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	next, err := os.CreateTemp(filepath.Dir(name), ".fmt-*") // hidden, so that nobody loads it
	if err != nil {
		return err
	}
	defer os.Remove(next.Name())
	_, err = next.Write(data)
	if err := errors.Join(err, next.Chmod(info.Mode()), next.Close()); err != nil {
		return err
	}
	return os.Rename(next.Name(), name)
}

type fileOutput struct {
	File    string `json:"file"`
	Changed bool   `json:"changed"`
}

func (f fmtFlags) give(cmd *cobra.Command, done []detector.Formatted) error {
	out := []fileOutput{}
	differ := 0
	for _, d := range done {
		out = append(out, fileOutput{d.File, d.Changed()})
		if d.Changed() {
			differ++
		}
	}
	err := print(cmd, out, func(w io.Writer) {
		for _, d := range done {
			f.giveOne(w, d)
		}
	})
	if err == nil && f.check && differ > 0 {
		err = fmt.Errorf("not in canonical form: %s (put right with -w)", counted(differ, "file"))
	}
	return err
}

func (f fmtFlags) giveOne(w io.Writer, d detector.Formatted) {
	switch {
	case !f.check && !f.diff && !f.write:
		_, _ = w.Write(d.After)
	case !d.Changed():
	case f.diff:
		_, _ = w.Write(diff.Diff(d.File, d.Before, d.File+" formatted", d.After))
	default:
		fmt.Fprintln(w, d.File)
	}
}
