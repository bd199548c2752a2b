package detector

import _ "embed"

// Schema is the JSON Schema of a detector, for editors.
//
//go:embed schema.json
var Schema []byte
