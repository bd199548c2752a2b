//go:build !unix

package changes

import "io/fs"

// owner returns nobody: only Unix tells.
func owner(fs.FileInfo) string { return "" }
