package guard

import (
	"context"
	"errors"
	"reflect"

	"github.com/estop-project/estop/revoke"
)

// SetVerifier replaces the keys that the guard trusts and the rules that it holds to. What is in force stays
// so until its end; the stream is read again, because what was refused may be genuine now.
func (g *Guard) SetVerifier(v revoke.Verifier) error {
	if len(v.Keys) == 0 || v.Issuer == "" {
		return errors.New("cannot replace the keys of a guard: the verifier has no keys or no issuer")
	}
	g.verifier.Store(&v)
	g.rekeyed.Store(true)
	g.pulse.ask()
	return nil
}

// loadKeys reads the file of keys, for the issuer and the audience of the options.
func loadKeys(o Options) (revoke.Verifier, error) {
	v, err := revoke.LoadVerifier(o.KeyFile)
	if err != nil {
		return v, err
	}
	return addressed(v, o.Verifier), nil
}

func addressed(v, as revoke.Verifier) revoke.Verifier {
	if as.Issuer != "" {
		v.Issuer = as.Issuer
	}
	v.Audience = as.Audience
	return v
}

// watchKeys takes the keys of the file whenever it changes.
func (g *Guard) watchKeys(ctx context.Context) {
	revoke.WatchVerifier(ctx, g.o.KeyFile, func(v revoke.Verifier) error {
		v = addressed(v, g.o.Verifier)
		if reflect.DeepEqual(v, *g.verifier.Load()) {
			return nil
		}
		g.log.Info("other keys", "guard", g.o.Name, "file", g.o.KeyFile, "keys", len(v.Keys), "two_person", v.Rules.String())
		return g.SetVerifier(v)
	}, func(err error) {
		g.counters.keyErrors.Add(1)
		g.log.Error("the keys cannot be read: those from before stay", "guard", g.o.Name, "file", g.o.KeyFile, "error", err)
	})
}
