//go:build !unix

package audit

import (
	"fmt"
	"os"
	"path/filepath"
)

// lockFolder opens the lock file; this system has no locks that end with a process.
func lockFolder(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("cannot lock the audit log: %w", err)
	}
	return f, nil
}
