package report

import (
	"bufio"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
)

// Machine is where a report was measured.
type Machine struct {
	System    string `json:"system"` // linux/amd64
	Processor string `json:"processor,omitempty"`
	Cores     int    `json:"cores"`
	MemoryMiB int    `json:"memory_mib,omitempty"`
}

func thisMachine() Machine {
	m := Machine{System: runtime.GOOS + "/" + runtime.GOARCH, Processor: field("/proc/cpuinfo", "model name"), Cores: runtime.NumCPU()}
	if kib, err := strconv.Atoi(strings.TrimSuffix(field("/proc/meminfo", "MemTotal"), " kB")); err == nil {
		m.MemoryMiB = kib / 1024
	}
	return m
}

// field returns the first value of a key in a file of "key: value" lines, or "".
func field(path, key string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if k, v, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// engines are the modules whose versions a report names.
var engines = []string{"github.com/twmb/franz-go", "github.com/twmb/franz-go/pkg/kfake", "github.com/nats-io/nats-server/v2", "github.com/ClickHouse/clickhouse-go/v2"}

func versions(root string) map[string]string {
	vs := map[string]string{"go": runtime.Version()}
	if root == "" {
		return builtInVersions(vs)
	}
	for line := range strings.Lines(run(root, "go", append([]string{"list", "-m"}, engines...)...)) {
		if path, version, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			vs[path] = version
		}
	}
	return vs
}

// builtInVersions adds the engines that the program was built with.
func builtInVersions(vs map[string]string) map[string]string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if slices.Contains(engines, m.Path) {
				vs[m.Path] = m.Version
			}
		}
	}
	return vs
}

// builtInCommit is what the program was built from, or "unknown".
func builtInCommit() string {
	id, suffix := "unknown", ""
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return id
	}
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			id = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			suffix = "-dirty"
		}
	}
	return id + suffix
}

func commit(root string) string {
	if root == "" {
		return builtInCommit()
	}
	id := strings.TrimSpace(run(root, "git", "rev-parse", "HEAD"))
	if id == "" {
		return "unknown"
	}
	// Results are written by the run itself.
	if run(root, "git", "status", "--porcelain", "--", ".", ":!bench/results") != "" {
		id += "-dirty"
	}
	return id
}

// run returns what a command writes, or "" where it fails.
func run(dir, name string, args ...string) string {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		return ""
	}
	return string(out)
}
