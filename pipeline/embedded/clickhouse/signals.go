//go:build linux || darwin

package clickhouse

import (
	"fmt"
	"syscall"
	"unsafe"

	"github.com/ebitengine/purego"
)

// deadlySignals are those that libchdb sets to their defaults, both when it is told to leave
// signals alone and at each connect. Without Go's handlers a nil dereference would end the
// process where it should be a panic.
var deadlySignals = []syscall.Signal{
	syscall.SIGABRT, syscall.SIGSEGV, syscall.SIGILL, syscall.SIGBUS,
	syscall.SIGSYS, syscall.SIGFPE, syscall.SIGTSTP, syscall.SIGTRAP,
}

// sigactionSize has room for a struct sigaction of any platform (152 bytes with glibc).
const sigactionSize = 256

// signalKeeper puts back the signal handlers that were there before the library came.
type signalKeeper struct {
	sigaction func(signal int32, act, old unsafe.Pointer) int32
	saved     map[syscall.Signal]*[sigactionSize]byte
}

func (k *signalKeeper) save() error {
	address, err := purego.Dlsym(purego.RTLD_DEFAULT, "sigaction")
	if err != nil {
		return fmt.Errorf("cannot find sigaction: %w", err)
	}
	purego.RegisterFunc(&k.sigaction, address)
	k.saved = make(map[syscall.Signal]*[sigactionSize]byte)
	for _, signal := range deadlySignals {
		old := new([sigactionSize]byte)
		if k.sigaction(int32(signal), nil, unsafe.Pointer(old)) != 0 {
			return fmt.Errorf("cannot read the handler of %v", signal)
		}
		k.saved[signal] = old
	}
	return nil
}

func (k *signalKeeper) restore() {
	for signal, old := range k.saved {
		k.sigaction(int32(signal), unsafe.Pointer(old), nil)
	}
}
