package chaos

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// ownGroup puts a process into a group of its own, and has the kernel kill it when the campaign dies.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// limitFiles lets no file of a process grow beyond a number of bytes, as a full disk would not; -1 lets them grow again.
func limitFiles(pid int, bytes int64) error {
	if pid == 0 {
		return nil
	}
	limit := unix.Rlimit{Cur: uint64(bytes), Max: unix.RLIM_INFINITY}
	if bytes < 0 {
		limit.Cur = unix.RLIM_INFINITY
	}
	if err := unix.Prlimit(pid, unix.RLIMIT_FSIZE, &limit, nil); err != nil {
		return fmt.Errorf("cannot limit the files of process %d: %w", pid, err)
	}
	return nil
}
