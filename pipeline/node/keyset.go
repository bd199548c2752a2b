package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/estop-project/estop/revoke"
)

// Key is a key of the public set, as it is shown.
type Key struct {
	KID   string      `json:"kid"`
	Role  revoke.Role `json:"role,omitempty"` // empty: every one
	Name  string      `json:"name,omitempty"`
	Since time.Time   `json:"since,omitzero"`
	Until time.Time   `json:"until,omitzero"`
	Ended bool        `json:"ended,omitempty"`
	// Private is where the private key is that was made; empty where it is somebody else's.
	Private string `json:"private,omitempty"`
}

// KeySet is the public set: what guards trust, and what they demand.
type KeySet struct {
	Public string       `json:"public"`
	Keys   []Key        `json:"keys"`
	Rules  revoke.Rules `json:"rules"`
}

// KeySet reads the public set.
func (c Config) KeySet() (KeySet, error) {
	v, err := c.publicKeys()
	if err != nil {
		return KeySet{}, err
	}
	s := KeySet{Public: c.VerifierPath(), Keys: []Key{}, Rules: v.Rules}
	for kid, k := range v.Keys {
		s.Keys = append(s.Keys, keyOf(kid, k))
	}
	slices.SortFunc(s.Keys, func(a, b Key) int {
		return strings.Compare(string(a.Role)+"\x00"+a.Name+"\x00"+a.KID, string(b.Role)+"\x00"+b.Name+"\x00"+b.KID)
	})
	return s, nil
}

func keyOf(kid string, k revoke.PublicKey) Key {
	return Key{KID: kid, Role: k.Role, Name: k.Name, Since: k.NotBefore, Until: k.NotAfter,
		Ended: !k.NotAfter.IsZero() && time.Now().After(k.NotAfter)}
}

func (c Config) publicKeys() (revoke.Verifier, error) {
	v, err := revoke.LoadVerifier(c.VerifierPath())
	if errors.Is(err, fs.ErrNotExist) {
		return v, fmt.Errorf("no public keys at %q; 'estop keys init' makes them: %w", c.VerifierPath(), err)
	}
	return v, err
}

// NewKey makes a key, puts its public half into the set, and the private one into a file, which must not exist.
func (c Config) NewKey(role revoke.Role, name, file string) (Key, error) {
	v, err := c.publicKeys()
	if err != nil {
		return Key{}, err
	}
	s, err := revoke.GenerateKey()
	if err != nil {
		return Key{}, err
	}
	s.Role, s.Name = role, name
	if _, err := os.Lstat(file); err == nil {
		return Key{}, fmt.Errorf("%q is there already: it is not overwritten", file)
	}
	return c.add(v, s, file)
}

// add trusts s from now on and saves it.
func (c Config) add(v revoke.Verifier, s revoke.Signer, file string) (Key, error) {
	k := s.Verifier().Keys[s.KID]
	k.NotBefore = time.Now().UTC().Truncate(time.Second).Add(-revoke.MaxSkew) // clocks differ
	v.Keys[s.KID] = k
	// The public half first: a signer whose tokens nobody can verify must not exist.
	if err := revoke.SaveVerifier(c.VerifierPath(), v); err != nil {
		return Key{}, err
	}
	if err := revoke.SaveSigner(file, s); err != nil {
		return Key{}, err
	}
	made := keyOf(s.KID, k)
	made.Private = file
	return made, nil
}

// Rotate makes a new key for the detector. The old one is trusted for the time keep, so that what it signed
// stays in force; its private half is put aside.
func (c Config) Rotate(keep time.Duration) (made Key, old Key, err error) {
	v, err := c.publicKeys()
	if err != nil {
		return made, old, err
	}
	before, err := c.Signer()
	if err != nil {
		return made, old, err
	}
	s, err := revoke.GenerateKey()
	if err != nil {
		return made, old, err
	}
	s.Role = revoke.DetectorRole
	k := before.Verifier().Keys[before.KID]
	if known, ok := v.Keys[before.KID]; ok {
		k = known
	}
	if end := time.Now().UTC().Truncate(time.Second).Add(keep); k.NotAfter.IsZero() || end.Before(k.NotAfter) {
		k.NotAfter = end
	}
	v.Keys[before.KID] = k
	aside := filepath.Join(filepath.Dir(c.SignerPath()), "signer-"+before.KID+".jwk")
	fresh := c.SignerPath() + ".new"
	if made, err = c.add(v, s, fresh); err != nil {
		return made, old, err
	}
	// The old file stays under another name until the new one is in its place: at no time is there none.
	if err := os.Link(c.SignerPath(), aside); err != nil && !errors.Is(err, fs.ErrExist) {
		return made, old, fmt.Errorf("cannot put the old key aside; the new one is in %q: %w", fresh, err)
	}
	if err := os.Rename(fresh, c.SignerPath()); err != nil {
		return made, old, fmt.Errorf("cannot put the new key in its place; it is in %q: %w", fresh, err)
	}
	made.Private = c.SignerPath()
	old = keyOf(before.KID, k)
	old.Private = aside
	return made, old, nil
}

// Retire ends the trust in a key after the time keep. What it has stopped stays so at guards that run; it does not count
// for those that start after the end.
func (c Config) Retire(kid string, keep time.Duration) (Key, error) {
	v, err := c.publicKeys()
	if err != nil {
		return Key{}, err
	}
	k, ok := v.Keys[kid]
	if !ok {
		return Key{}, fmt.Errorf("no key %q in %q; see 'estop keys list'", kid, c.VerifierPath())
	}
	k.NotAfter = time.Now().UTC().Truncate(time.Second).Add(keep)
	if k.NotAfter.Before(k.NotBefore) {
		k.NotBefore = k.NotAfter
	}
	v.Keys[kid] = k
	return keyOf(kid, k), revoke.SaveVerifier(c.VerifierPath(), v)
}

// Demand sets what guards demand of all orders. Two operators must be there to agree.
func (c Config) Demand(r revoke.Rules) (KeySet, error) {
	if err := r.Check(); err != nil {
		return KeySet{}, err
	}
	v, err := c.publicKeys()
	if err != nil {
		return KeySet{}, err
	}
	names := map[string]bool{}
	for kid, k := range v.Keys {
		if k.Role == revoke.OperatorRole && !keyOf(kid, k).Ended {
			names[k.Name] = true
		}
	}
	if len(r.TwoPerson) > 0 && len(names) < 2 {
		return KeySet{}, fmt.Errorf("two operators must agree, and %d have a key; 'estop keys new --role operator --name NAME' makes one", len(names))
	}
	v.Rules = r
	if err := revoke.SaveVerifier(c.VerifierPath(), v); err != nil {
		return KeySet{}, err
	}
	return c.KeySet()
}
