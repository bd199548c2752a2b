package detector

import "go.yaml.in/yaml/v3"

// YAML is a file of YAML documents that are no detectors, read within the same bounds: of size, of
// nesting, of documents, and without anchors and aliases.
type YAML struct {
	Documents []*yaml.Node // their roots; empty documents are left out
	reader    *reader
}

// ReadYAML reads a file. Its Errors name what is not YAML or beyond the bounds; there are no documents
// then.
func ReadYAML(file string, data []byte) (*YAML, Errors) {
	r := &reader{file: file}
	roots := r.documents(data)
	if len(r.errs) > 0 {
		roots = nil
	}
	return &YAML{Documents: roots, reader: r}, r.errs
}

// Position returns where the offset-th character of a scalar's value stands in the file.
func (y *YAML) Position(n *yaml.Node, offset int) (line, column int) {
	return y.reader.position(n, offset)
}

// Check names what is wrong with the text of a detector file that stands alone.
func Check(file string, data []byte) Errors {
	_, errs := parse(text{name: file, data: data})
	return errs
}
