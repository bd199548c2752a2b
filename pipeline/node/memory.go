package node

import (
	"bufio"
	"bytes"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"runtime/debug"
	"strconv"
	"strings"
)

// assumedMemory is what a machine is taken to have that does not say.
const assumedMemory = 8 << 30

// memory returns how many bytes the entities of all shards may take; 0: any number.
func (d Detect) memory() (int64, error) {
	return parseMemory(d.Memory, func() int64 { return availableMemory(os.DirFS("/"), debug.SetMemoryLimit(-1)) })
}

// units are what a number of bytes can be written in.
var units = []struct {
	name  string
	bytes int64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}, {"", 1}}

// parseMemory reads a number of bytes, or a share of those that there are.
func parseMemory(text string, available func() int64) (int64, error) {
	wrong := fmt.Errorf("%q is neither a share such as 25%%, nor a number of bytes such as 2GiB, nor 0 for no bound", text)
	if share, ok := strings.CutSuffix(text, "%"); ok {
		percent, err := strconv.ParseFloat(share, 64)
		if err != nil || !(percent > 0 && percent <= 100) {
			return 0, wrong
		}
		return int64(float64(available()) * percent / 100), nil
	}
	for _, u := range units {
		number, ok := strings.CutSuffix(text, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
		if err != nil || n < 0 || n > math.MaxInt64/u.bytes {
			return 0, wrong
		}
		return n * u.bytes, nil
	}
	return 0, wrong
}

// availableMemory returns the least of what the machine has, its control group may use, and the Go runtime was told.
// root is the file system of the machine.
func availableMemory(root fs.FS, limit int64) int64 {
	least := limit
	for _, n := range []int64{machineMemory(root), groupMemory(root)} {
		if n > 0 {
			least = min(least, n)
		}
	}
	if least == math.MaxInt64 {
		return assumedMemory
	}
	return least
}

// machineMemory returns the MemTotal of Linux, 0 elsewhere.
func machineMemory(root fs.FS) int64 {
	b, err := fs.ReadFile(root, "proc/meminfo")
	if err != nil {
		return 0
	}
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
		if f := strings.Fields(lines.Text()); len(f) >= 2 && f[0] == "MemTotal:" {
			kib, _ := strconv.ParseInt(f[1], 10, 64)
			return kib << 10
		}
	}
	return 0
}

// groupMemory returns the least limit of the process's control groups, of version 2 or 1; 0 where there is none.
func groupMemory(root fs.FS) (least int64) {
	b, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return 0
	}
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
		parts := strings.SplitN(lines.Text(), ":", 3) // number, controllers, path
		if len(parts) < 3 {
			continue
		}
		base, file := "sys/fs/cgroup", "memory.max"
		if parts[1] == "memory" {
			base, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		} else if parts[1] != "" {
			continue
		}
		for dir := path.Clean("/" + parts[2]); ; dir = path.Dir(dir) { // what a group above it may use bounds it too
			if n := readLimit(root, path.Join(base, dir, file)); n > 0 && (least == 0 || n < least) {
				least = n
			}
			if dir == "/" {
				break
			}
		}
	}
	return least
}

// readLimit reads a number of bytes; 0: the file says "max", or nothing.
func readLimit(root fs.FS, name string) int64 {
	b, err := fs.ReadFile(root, name)
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	return n
}
