//go:build unix

package kafka

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// needSpace returns an error when the file system of dir has fewer than n bytes free.
func needSpace(dir string, n int64) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("cannot ask for free space: %w", err)
	}
	if free := int64(st.Bavail) * int64(st.Bsize); free < n {
		return fmt.Errorf("compaction needs %d bytes of disk, %d are free", n, free)
	}
	return nil
}
