package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/estop-project/estop/detector/sigma"
)

const sigmaHelp = `Turn Sigma rules (specification 2) into detectors, and say of each rule that does not map why.

A rule is imported whole or not at all. The detectors only observe; their tests are yours to write.
Fields of AWS CloudTrail are known; those of other log sources stand in a file of your own (--map):

  logsource: {product: acme, service: gateway}
  fields:
    user: agent
    tool: action
    region: context.region
    status: {field: outcome, values: {success: ok, failure: error}}

The detectors go to the standard output, or each into a file of a folder (--into). What does not map goes
to the standard error. The exit code is 1 where no rule maps.`

func newImport() *cobra.Command {
	parent := &cobra.Command{Use: "import", Short: "Turn rules of others into detectors"}
	var mapFile, into string
	cmd := &cobra.Command{
		Use:   "sigma FILE…",
		Short: "Turn Sigma rules into detectors",
		Long:  sigmaHelp,
		Example: `  estop detector import sigma rules/ > detectors/sigma.yaml
  estop detector import sigma rules/*.yml --map fields.yaml --into detectors/sigma`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("name the files or folders of the rules")
			}
			return nil
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{"yml", "yaml"}, cobra.ShellCompDirectiveFilterFileExt
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			result, err := importSigma(args, mapFile)
			if err != nil {
				return err
			}
			if err := giveDetectors(cmd, result, into); err != nil {
				return err
			}
			if len(result.Detectors) == 0 {
				return errors.New("no rule maps to a detector")
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&mapFile, "map", "", "file that says what the fields of a log source are called in calls")
	cmd.Flags().StringVar(&into, "into", "", "folder that gets one file for each detector")
	for _, mark := range []error{cmd.MarkFlagFilename("map", "yml", "yaml"), cmd.MarkFlagDirname("into")} {
		if mark != nil {
			panic(mark) // the flag does not exist: our own mistake
		}
	}
	parent.AddCommand(cmd)
	return parent
}

func importSigma(paths []string, mapFile string) (*sigma.Result, error) {
	var mappings []*sigma.Mapping
	if mapFile != "" {
		data, err := os.ReadFile(mapFile)
		if err != nil {
			return nil, fmt.Errorf("cannot read the field mapping: %w", err)
		}
		m, errs := sigma.ReadMappings(mapFile, data)
		if err := errs.Err(); err != nil {
			return nil, usageError{err}
		}
		mappings = m
	}
	files, err := sigma.ReadFiles(paths)
	if err != nil {
		return nil, fmt.Errorf("cannot read the rules: %w", err)
	}
	return sigma.Import(files, mappings), nil
}

// giveDetectors writes the detectors, and what did not map.
func giveDetectors(cmd *cobra.Command, result *sigma.Result, into string) error {
	if into != "" {
		if err := writeDetectors(result.Detectors, into); err != nil {
			return fmt.Errorf("cannot write the detectors: %w", err)
		}
	}
	return print(cmd, result, func(w io.Writer) {
		if into == "" {
			for i, d := range result.Detectors {
				if i > 0 {
					fmt.Fprintln(w, "---")
				}
				fmt.Fprint(w, d.YAML)
			}
		}
		writeImported(cmd.ErrOrStderr(), result)
	})
}

// writeDetectors writes each detector into a file of its own. Files that are there already stay, and are an error.
func writeDetectors(all []sigma.Detector, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, d := range all { // before the first is written, so that it is all or none
		if _, err := os.Lstat(filepath.Join(dir, d.ID+".yaml")); err == nil {
			return fmt.Errorf("%s is there already", filepath.Join(dir, d.ID+".yaml"))
		}
	}
	for _, d := range all {
		f, err := os.OpenFile(filepath.Join(dir, d.ID+".yaml"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return err
		}
		_, err = f.WriteString(d.YAML)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}

func writeImported(w io.Writer, result *sigma.Result) {
	for _, d := range result.Detectors {
		for _, note := range d.Notes {
			fmt.Fprintf(w, "%s:%d: note on %q: %s\n", d.File, d.Line, d.Title, note)
		}
	}
	for _, p := range result.Problems {
		if p.Rule == "" {
			fmt.Fprintln(w, p)
			continue
		}
		fmt.Fprintf(w, "%v  [%s]\n", p, p.Rule)
	}
	fmt.Fprintf(w, "imported %d of %d rules\n", len(result.Detectors), result.Rules)
}
