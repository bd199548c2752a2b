package revoke

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestKeysOutliveTheProcess(t *testing.T) {
	dir := t.TempDir()
	private, public := filepath.Join(dir, "signing.jwk"), filepath.Join(dir, "keys.jwks")
	s, err := GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	if err := SaveSigner(private, s); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(private); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
	v := s.Verifier()
	v.Keys[testSigner.KID] = testSigner.Verifier().Keys[testSigner.KID] // a second one, as in a rotation
	if err := SaveVerifier(public, v); err != nil {
		t.Fatal(err)
	}
	s2, err := LoadSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	v2, err := LoadVerifier(public)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(s, s2); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(v, v2); d != "" {
		t.Error(d)
	}
	token, err := s2.Sign(sample())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v2.Verify([]byte(token), issued); err != nil {
		t.Error(err)
	}
}

func TestThumbprintIsRFC7638(t *testing.T) {
	// RFC 8037, appendix A.3.
	v, err := ParseVerifier([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := v.Keys["kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"]; !ok {
		t.Errorf("keys %v", v.Keys)
	}
}

func TestSaveSignerNeverOverwrites(t *testing.T) {
	path := filepath.Join(t.TempDir(), "k")
	if err := SaveSigner(path, testSigner); err != nil {
		t.Fatal(err)
	}
	if err := SaveSigner(path, testSigner); !errors.Is(err, fs.ErrExist) {
		t.Errorf("%v, want ErrExist", err)
	}
}

func TestBadKeyFilesAreRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "k")
	public := `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`
	write := func(mode os.FileMode, content string) {
		t.Helper()
		os.Remove(path)
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, content := range []string{"", "{}", "null", "[]", public, `{"kty":"oct","k":"AAAA"}`} {
		write(0o600, content)
		if _, err := LoadSigner(path); !errors.Is(err, ErrKeyFile) {
			t.Errorf("LoadSigner of %q: %v", content, err)
		}
	}
	for _, content := range []string{
		"", "{}", "null", `{"keys":[]}`, `{"keys":[{"kty":"oct","k":"AAAA"}]}`,
		`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"x","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`,
		// A private key has no place in the file that everybody gets.
		`{"keys":[{"kty":"OKP","crv":"Ed25519","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`,
	} {
		write(0o644, content)
		if _, err := LoadVerifier(path); !errors.Is(err, ErrKeyFile) {
			t.Errorf("LoadVerifier of %q: %v", content, err)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := SaveSigner(path, testSigner); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadSigner(path); !errors.Is(err, ErrKeyFile) {
		t.Errorf("a key that others can read: %v", err)
	}
}

func FuzzParseVerifier(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`))
	f.Add([]byte(`{"keys":[null]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if v, err := ParseVerifier(b); err == nil && len(v.Keys) == 0 {
			t.Fatal("a verifier without keys")
		}
	})
}
