package revoke

import (
	"context"
	"fmt"
	"time"
)

// KeyPoll is how often a file of keys is looked at: guards, gates and nodes have its changes that soon.
const KeyPoll = time.Second

// WatchVerifier calls f with what the file of public keys says, at once and whenever it changes, until ctx ends. What
// is wrong goes to failed, once. It looks at the content rather than waiting to be told: the file is small, and
// what is mounted from elsewhere tells nothing.
func WatchVerifier(ctx context.Context, path string, f func(Verifier) error, failed func(error)) {
	t := time.NewTicker(KeyPoll)
	defer t.Stop()
	last := ""
	for {
		b, err := readKeyFile(path)
		state := string(b)
		if err != nil {
			state = "unreadable: " + err.Error()
		}
		if state != last {
			last = state
			if err == nil {
				err = reload(path, b, f)
			}
			if err != nil {
				failed(err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

func reload(path string, b []byte, f func(Verifier) error) error {
	v, err := ParseVerifier(b)
	if err != nil {
		return fmt.Errorf("cannot load keys %q: %w", path, err)
	}
	return f(v)
}
