//go:build !unix

package mcp

import (
	"os"
	"os/exec"
	"syscall"
)

func ownGroup(*exec.Cmd) {}

// signalGroup ends the server; here there are neither groups nor gentle signals.
func signalGroup(p *os.Process, _ syscall.Signal) error { return p.Kill() }
