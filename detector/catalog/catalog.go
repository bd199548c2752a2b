// Package catalog holds the built-in detectors as files, each with its tests.
package catalog

import "embed"

// FS holds the detector files; detector.Load reads it.
//
//go:embed *.yaml
var FS embed.FS
