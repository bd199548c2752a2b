package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/estop-project/estop/detector"
)

const newHelp = `Begin a detector with a file that is right, and whose tests of both outcomes pass. NAME becomes its
id; a path in front says where: detectors/customer-export. A file that is there is not touched.

The first line tells an editor where the JSON Schema is: the file detector.schema.json if one lies
beside the detector ('estop detector schema' prints it), else its address. --schema names another.`

func newNew() *cobra.Command {
	var from, schema string
	var names []string
	help := newHelp + "\n\nTo begin from:\n"
	for _, t := range detector.Templates() {
		names = append(names, t.Name)
		help += fmt.Sprintf("  %-10s %s\n", t.Name, t.What)
	}
	cmd := &cobra.Command{
		Use:   "new NAME",
		Short: "Begin a detector: a file with tests that pass",
		Long:  strings.TrimRight(help, "\n"),
		Example: `  estop detector new detectors/customer-export --from volume
  estop detector new too-many-calls --from limit
  estop detector new detectors/own --schema schemas/detector.json`,
		Args: exactArgs(1, "name the detector: estop detector new detectors/customer-export"),
		RunE: func(cmd *cobra.Command, args []string) error {
			file, err := begin(args[0], from, schema)
			if err != nil {
				return err
			}
			return print(cmd, map[string]string{"file": file}, func(w io.Writer) { writeNext(w, file) })
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().StringVar(&from, "from", "rate", "what to begin from: "+strings.Join(names, ", "))
	cmd.Flags().StringVar(&schema, "schema", "", "where the editor finds the JSON Schema: a file, or an address of the web")
	complete(cmd, "from", names)
	return cmd
}

// schemaFile is where an editor finds the schema without the internet.
const schemaFile = "detector.schema.json"

// begin writes a new detector and returns its file.
func begin(name, from, schema string) (file string, err error) {
	name = strings.TrimSuffix(strings.TrimSuffix(name, ".yaml"), ".yml")
	dir := filepath.Dir(name)
	if schema, err = schemaFrom(dir, schema); err != nil {
		return "", usageError{err}
	}
	text, err := detector.New(filepath.Base(name), from, schema)
	if err != nil {
		return "", usageError{err}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("cannot make the folder of the detector: %w", err)
	}
	file = name + ".yaml"
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("%s is there already, and stays as it is", file)
	}
	if err != nil {
		return "", fmt.Errorf("cannot write the detector: %w", err)
	}
	_, err = f.Write(text)
	if err := errors.Join(err, f.Close()); err != nil {
		return "", fmt.Errorf("cannot write the detector: %w", err)
	}
	return file, nil
}

// schemaFrom returns the schema as a detector in a folder names it: an address, or a file as it is seen from there,
// for that is how editors look for it.
func schemaFrom(dir, said string) (string, error) {
	if said == "" {
		if _, err := os.Stat(filepath.Join(dir, schemaFile)); err == nil {
			return schemaFile, nil
		}
		return detector.SchemaURL, nil
	}
	if strings.Contains(said, "://") {
		if u, err := url.Parse(said); err != nil || u.Host == "" || strings.ContainsFunc(said, unicode.IsSpace) {
			return "", fmt.Errorf("--schema: %q is no address of a page, such as %s", said, detector.SchemaURL)
		}
		return said, nil
	}
	if info, err := os.Stat(said); err != nil || info.IsDir() {
		return "", fmt.Errorf("--schema: there is no file %s (estop detector schema > %[1]s writes it)", said)
	}
	here, err := filepath.Abs(dir)
	if err == nil {
		said, err = filepath.Abs(said)
	}
	if err == nil {
		said, err = filepath.Rel(here, said)
	}
	if err != nil {
		return "", fmt.Errorf("--schema: %w", err)
	}
	if strings.ContainsFunc(said, unicode.IsSpace) {
		return "", fmt.Errorf("--schema: %q has a space, at which editors stop reading; put the schema into another folder", said)
	}
	return filepath.ToSlash(said), nil
}

func writeNext(w io.Writer, file string) {
	fmt.Fprintf(w, `%s %s

Next:
  1. say which calls count (match), and change title and description
  2. let the tests speak of your agents, and run them:  estop detector test %[2]s
  3. see what may not be meant, and what it costs:      estop detector lint %[2]s
  4. put it where estop loads detectors (detectors.dir). It observes; change mode when you trust it
`, green("wrote"), file)
}

func newSchema() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of detectors, for editors",
		Example: `  estop detector schema > detectors/detector.schema.json
  # and in the first line of a detector beside it:
  # yaml-language-server: $schema=detector.schema.json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write(detector.Schema)
			return err
		},
	}
}
