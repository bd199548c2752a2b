//go:build unix && !linux

package mcp

import (
	"os/exec"
	"syscall"
)

// ownGroup puts the server into a process group of its own.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
