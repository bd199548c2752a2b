//go:build unix

package changes

import (
	"fmt"
	"io/fs"
	"os/user"
	"strconv"
	"syscall"
)

// owner returns the name of the user to whom a file belongs.
func owner(info fs.FileInfo) string {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	id := strconv.FormatUint(uint64(stat.Uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return plain(u.Username)
	}
	return fmt.Sprintf("user %s", id)
}
