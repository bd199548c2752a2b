package node

import "runtime/debug"

// version is set by the linker: -X …/pipeline/node.version=v1.2.3.
var version string

// Version returns the version of this binary: the one set at its build, else the module's.
func Version() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}
