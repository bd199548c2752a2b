package detector

import (
	"embed"
	"fmt"
	"slices"
	"strings"
)

//go:embed templates/*.yaml
var templates embed.FS

// Template is a sort of detector to begin with.
type Template struct{ Name, What string }

// Templates are the sorts of detectors to begin with.
func Templates() []Template {
	return []Template{
		{"rate", "how often an agent calls, against its own past"},
		{"resources", "resources that an agent never touched"},
		{"volume", "how much data an agent is given, against its own past"},
		{"deletions", "calls that destroy something"},
		{"loops", "an agent that goes round in a circle"},
		{"sessions", "a session that does what the agent never did"},
		{"limit", "a hard limit, without a baseline"},
	}
}

// templateNames are the names of the templates.
func templateNames() []string {
	var names []string
	for _, t := range Templates() {
		names = append(names, t.Name)
	}
	return names
}

// New returns the text of a new detector with tests that pass. schema is where an editor finds the
// JSON Schema: an address, or a file beside the detector.
func New(id, template, schema string) ([]byte, error) {
	if !idForm.MatchString(id) || len(id) > maxIDLength {
		return nil, fmt.Errorf("the id %q is not well formed (small letters, digits and single hyphens, as in customer-export)", shorten(id))
	}
	if !slices.Contains(templateNames(), template) {
		return nil, fmt.Errorf("no template is called %q (%s)", shorten(template), didYouMean(template, templateNames()))
	}
	text, err := templates.ReadFile("templates/" + template + ".yaml")
	if err != nil {
		return nil, err
	}
	return []byte(modeline + " $schema=" + schema + "\n" + strings.Replace(string(text), "id: NAME", "id: "+id, 1)), nil
}

// maxIDLength is how long an id may be.
const maxIDLength = 64

// SchemaURL is where the JSON Schema of detectors stands: docs/schema, as it is published.
const SchemaURL = "https://estop-project.github.io/estop/schema/detector.json"
