package node

import (
	"math"
	"testing"
	"testing/fstest"
)

func TestMemoryIsAShareOrANumber(t *testing.T) {
	available := func() int64 { return 1000 }
	for text, want := range map[string]int64{"25%": 250, "0.5%": 5, "100%": 1000, "0": 0, "123": 123, "2KiB": 2048, "3 MiB": 3 << 20, "2GiB": 2 << 30, "1TiB": 1 << 40} {
		if got, err := parseMemory(text, available); err != nil || got != want {
			t.Errorf("%q is %d (%v), want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "0%", "101%", "-1", "x", "%", "2GB", "9999999999TiB", "NaN%", "1.5GiB"} {
		if got, err := parseMemory(text, available); err == nil {
			t.Errorf("%q is taken for %d", text, got)
		}
	}
}

func TestTheLeastLimitCounts(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	meminfo := file("MemTotal:       16384000 kB\nMemFree: 1 kB\n")
	for name, c := range map[string]struct {
		root  fstest.MapFS
		limit int64
		want  int64
	}{
		"nobody says": {fstest.MapFS{}, math.MaxInt64, assumedMemory},
		"the machine": {fstest.MapFS{"proc/meminfo": meminfo}, math.MaxInt64, 16384000 << 10},
		"GOMEMLIMIT":  {fstest.MapFS{"proc/meminfo": meminfo}, 1 << 30, 1 << 30},
		"a control group": {fstest.MapFS{"proc/meminfo": meminfo, "proc/self/cgroup": file("0::/a/b\n"), "sys/fs/cgroup/a/b/memory.max": file("max\n"),
			"sys/fs/cgroup/a/memory.max": file("2147483648\n")}, math.MaxInt64, 2 << 30},
		"one of version 1": {fstest.MapFS{"proc/meminfo": meminfo, "proc/self/cgroup": file("5:cpu:/x\n4:memory:/docker/x\n"),
			"sys/fs/cgroup/memory/memory.limit_in_bytes": file("9223372036854771712\n"), "sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes": file("1073741824\n")}, math.MaxInt64, 1 << 30},
	} {
		if got := availableMemory(c.root, c.limit); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}
