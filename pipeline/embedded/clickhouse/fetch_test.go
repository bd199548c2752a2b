package clickhouse_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// fetch runs deploy/libchdb/fetch.sh with an npm that runs script instead of the real one.
func fetch(t *testing.T, npm string, env []string, arguments ...string) (code int, output string) {
	t.Helper()
	bin := t.TempDir()
	for _, program := range []string{"sh", "uname", "sha256sum", "cut", "cat", "mkdir", "mktemp", "rm", "mv", "tar", "gzip", "chmod", "tail"} {
		path, err := exec.LookPath(program)
		if err != nil {
			t.Skipf("no %s to run the script with", program)
		}
		if err := os.Symlink(path, filepath.Join(bin, program)); err != nil {
			t.Fatal(err)
		}
	}
	if npm != "" {
		if err := os.WriteFile(filepath.Join(bin, "npm"), []byte("#!/bin/sh\n"+npm), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("../../../deploy/libchdb/fetch.sh", arguments...)
	cmd.Env = append([]string{"PATH=" + bin, "TMPDIR=" + t.TempDir()}, env...)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// packed is an npm that packs a library of the given text.
func packed(text string) string {
	return "mkdir package && printf %s '" + text + "' >package/libchdb.so && tar -czf lib.tgz package && rm -r package && echo lib.tgz"
}

func TestFetchRefusesWhatItCannotTrustAndLeavesNothing(t *testing.T) {
	x86, arm := []string{"LIBCHDB_PLATFORM=Linux-x86_64"}, []string{"LIBCHDB_PLATFORM=Linux-aarch64"}
	f := func(want int, says, npm string, env []string) {
		t.Helper()
		dest := filepath.Join(t.TempDir(), "libchdb")
		code, output := fetch(t, npm, env, dest)
		if code != want || !strings.Contains(output, says) {
			t.Errorf("exit code %d, want %d and %q:\n%s", code, want, says, output)
		}
		if left, _ := filepath.Glob(filepath.Join(dest, "*")); want != 0 && len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
		if hidden, _ := filepath.Glob(filepath.Join(dest, ".fetch*")); len(hidden) > 0 {
			t.Errorf("left behind: %v", hidden)
		}
	}
	f(3, "no build", "", []string{"LIBCHDB_PLATFORM=Plan9-mips"})
	f(4, "npm", "", x86)
	f(5, "no such version", "echo no such version >&2; exit 1", x86)
	f(5, "holds no libchdb.so", "mkdir package && tar -czf lib.tgz package && echo lib.tgz", x86)
	f(6, "want 4330da79405733f7", packed("not the library"), x86)
	f(0, "npm's integrity field alone", packed("a library"), arm)
	if code, output := fetch(t, "", nil); code != 2 {
		t.Errorf("without a folder: exit code %d\n%s", code, output)
	}
}

func TestFetchDoesNothingTwiceAndRepairsWhatWasChanged(t *testing.T) {
	arm := []string{"LIBCHDB_PLATFORM=Linux-aarch64"}
	dest := filepath.Join(t.TempDir(), "libchdb")
	library := filepath.Join(dest, "libchdb.so")
	if code, output := fetch(t, packed("a library"), arm, dest); code != 0 {
		t.Fatalf("exit code %d\n%s", code, output)
	}
	if code, output := fetch(t, "exit 1", arm, dest); code != 0 || !strings.Contains(output, "already") {
		t.Errorf("the second run fetches: %d\n%s", code, output)
	}
	if err := os.WriteFile(library, []byte("changed"), 0o700); err != nil {
		t.Fatal(err)
	}
	if code, output := fetch(t, packed("a library"), arm, dest); code != 0 {
		t.Fatalf("exit code %d\n%s", code, output)
	}
	if text, err := os.ReadFile(library); err != nil || string(text) != "a library" {
		t.Errorf("the library reads %q, %v", text, err)
	}
}
