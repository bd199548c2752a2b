//go:build unix

package mcp

import (
	"os"
	"syscall"
)

// signalGroup signals the server and all of its group.
func signalGroup(p *os.Process, s syscall.Signal) error { return syscall.Kill(-p.Pid, s) }
