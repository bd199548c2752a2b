//go:build unix

package clickhouse

import (
	"os/exec"
	"syscall"
)

// ownGroup keeps a terminal's interrupt from the child: it is for the parent, which then
// ends the child in good order.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
