package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"reflect"

	"github.com/estop-project/estop/revoke"
)

// Signer loads the detector's signing key.
func (c Config) Signer() (revoke.Signer, error) {
	s, err := revoke.LoadSigner(c.SignerPath())
	if errors.Is(err, fs.ErrNotExist) {
		return s, fmt.Errorf("no signing key at %q; 'estop keys init' makes one: %w", c.SignerPath(), err)
	}
	return s, err
}

// OperatorSigner loads the key of the person who runs this process. Installations from before operators had
// keys have that of the detector alone, which then signs for people too.
func (c Config) OperatorSigner(log *slog.Logger) (revoke.Signer, error) {
	s, err := revoke.LoadSigner(c.OperatorPath())
	switch {
	case err == nil && s.Role != revoke.OperatorRole:
		return s, fmt.Errorf("%q is no operator's key; 'estop keys new --role operator --name NAME' makes one", c.OperatorPath())
	case err == nil || !errors.Is(err, fs.ErrNotExist) || c.Keys.Operator != "":
		return s, err
	}
	s, err = c.Signer()
	if err != nil {
		return s, fmt.Errorf("no operator's key at %q: name yours with --key or ESTOP_KEYS_OPERATOR: %w", c.OperatorPath(), err)
	}
	if s.Role == revoke.DetectorRole {
		return s, fmt.Errorf("no operator's key at %q: name yours with --key or ESTOP_KEYS_OPERATOR; 'estop keys new --role operator --name NAME' makes one", c.OperatorPath())
	}
	log.Warn("signing with the node's key: nothing proves who did it; give each operator a key ('estop keys new --role operator')", "key", c.SignerPath())
	return s, nil
}

// MakeKeys makes the detector's key, one of the operator who runs this, and the file of public keys, unless they are there.
func (c Config) MakeKeys() error {
	if _, err := os.Stat(c.SignerPath()); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(c.SignerPath()), 0o700); err != nil {
		return fmt.Errorf("cannot make the folder of the keys: %w", err)
	}
	detector, err := revoke.GenerateKey()
	if err != nil {
		return err
	}
	detector.Role = revoke.DetectorRole
	operator, err := revoke.LoadSigner(c.OperatorPath())
	if errors.Is(err, fs.ErrNotExist) {
		operator, err = revoke.GenerateKey()
		operator.Role, operator.Name = revoke.OperatorRole, person()
	}
	if err != nil {
		return err
	}
	v := detector.Verifier()
	maps.Copy(v.Keys, operator.Verifier().Keys)
	// The public half first: a signer whose tokens nobody can verify must not exist.
	if err := revoke.SaveVerifier(c.VerifierPath(), v); err != nil {
		return err
	}
	if err := revoke.SaveSigner(c.OperatorPath(), operator); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return revoke.SaveSigner(c.SignerPath(), detector)
}

// guardsVerifier trusts what guards trust: more than the key that signs here.
func (c Config) guardsVerifier(signer revoke.Signer) (revoke.Verifier, error) {
	file, err := revoke.LoadVerifier(c.VerifierPath())
	if errors.Is(err, fs.ErrNotExist) {
		return signer.Verifier(), nil
	}
	return withSigner(file, signer), err
}

// withSigner returns the keys of a file, and of the signer, which it may lack.
func withSigner(file revoke.Verifier, signer revoke.Signer) revoke.Verifier {
	v := signer.Verifier()
	maps.Copy(v.Keys, file.Keys)
	v.Rules = file.Rules
	return v
}

// watchKeys gives f the keys whenever their file changes, with that of the signer, until ctx ends.
func (n *running) watchKeys(ctx context.Context, signer revoke.Signer, now revoke.Verifier, f func(revoke.Verifier) error) {
	n.watchKeyFile(ctx, now, func(file revoke.Verifier) revoke.Verifier { return withSigner(file, signer) }, f)
}

// watchPublicKeys is watchKeys for who signs nothing.
func (n *running) watchPublicKeys(ctx context.Context, now revoke.Verifier, f func(revoke.Verifier) error) {
	n.watchKeyFile(ctx, now, func(file revoke.Verifier) revoke.Verifier { return file }, f)
}

func (n *running) watchKeyFile(ctx context.Context, now revoke.Verifier, of func(file revoke.Verifier) revoke.Verifier, f func(revoke.Verifier) error) {
	revoke.WatchVerifier(ctx, n.VerifierPath(), func(file revoke.Verifier) error {
		v := of(file)
		if reflect.DeepEqual(v, now) {
			return nil
		}
		if err := f(v); err != nil {
			return err
		}
		now = v
		n.log.Info("other keys", "file", n.VerifierPath(), "keys", len(v.Keys), "two_person", v.Rules.String())
		return nil
	}, func(err error) {
		n.log.Error("the keys cannot be read: those from before stay", "file", n.VerifierPath(), "err", err)
	})
}
