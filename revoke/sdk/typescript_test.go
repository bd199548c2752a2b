package sdk_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// typescript returns a folder with the compiled guard in TypeScript. It is made in the cache, so that the
// sources stay without what npm installs, and npm runs only where the dependencies have changed.
func typescript(t *testing.T) string {
	t.Helper()
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed: the guard in TypeScript is not tested", program)
		}
	}
	dir, err := filepath.Abs("../../.cache/sdk/typescript")
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"src", "test", "dist"} {
		if err := os.RemoveAll(filepath.Join(dir, part)); err != nil {
			t.Fatal(err)
		}
	}
	wanted, err := os.ReadFile("typescript/package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	stamp := filepath.Join(dir, "installed")
	installed, err := os.ReadFile(stamp)
	fresh := err == nil && bytes.Equal(installed, wanted)
	for _, name := range []string{"package.json", "package-lock.json", "tsconfig.json", "src", "test"} {
		copyTree(t, filepath.Join("typescript", name), filepath.Join(dir, name))
	}
	if !fresh {
		run(t, "npm", "ci", "--prefix", dir, "--no-audit", "--no-fund")
		if err := os.WriteFile(stamp, wanted, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run(t, filepath.Join(dir, "node_modules", ".bin", "tsc"), "-p", dir)
	return dir
}

func copyTree(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		return os.WriteFile(target, b, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestTypeScriptIsHeldToTheProtocol(t *testing.T) {
	dir := typescript(t)
	t.Run("it passes the vectors", func(t *testing.T) {
		vectors, err := filepath.Abs("../testdata/vectors.json")
		if err != nil {
			t.Fatal(err)
		}
		t.Setenv("ESTOP_VECTORS", vectors)
		run(t, "node", "--test", filepath.Join(dir, "dist", "test", "vectors.test.js"))
	})
	t.Run("it stops what is killed", func(t *testing.T) {
		testLive(t, func(url, keys, name string) *exec.Cmd {
			return command("node", filepath.Join(dir, "dist", "test", "live.js"), url, keys, name)
		})
	})
}
