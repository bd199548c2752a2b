package mcp

import (
	"os/exec"
	"syscall"
)

// ownGroup puts the server into a process group of its own, and has the kernel kill it when
// the gate is killed.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
