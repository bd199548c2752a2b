//go:build unix && !linux

package kafkatest

import "syscall"

// ownGroup puts the broker into a process group of its own.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
