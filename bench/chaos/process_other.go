//go:build unix && !linux

package chaos

import (
	"errors"
	"syscall"
)

// ownGroup puts a process into a group of its own.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func limitFiles(int, int64) error {
	return errors.New("cannot fill the disk of a process on this system: that takes Linux")
}
