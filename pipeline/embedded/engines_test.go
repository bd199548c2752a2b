package embedded

import (
	"os"
	"path/filepath"
	"testing"
)

func TestASecretIsNeverEmptyAndStaysTheSame(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nats", "password")
	first, err := secret(path)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := secret(path); err != nil || again != first {
		t.Errorf("%q, %v at the second start, want %q", again, err, first)
	}
	// What a kill between making the file and writing it leaves.
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	fresh, err := secret(path)
	if err != nil || len(fresh) != len(first) || fresh == first {
		t.Errorf("%q, %v after an empty file, want a new secret", fresh, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v: not the owner's alone", info, err)
	}
}
