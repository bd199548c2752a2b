package guard

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
)

// Digest names the revocations in force: two guards that serve the same tenants and heard
// the same messages, in whatever order and however often, have the same digest. It verifies what waits
// for that, and walks the set.
func (g *Guard) Digest() string {
	// Without an end of the context there is no error.
	_ = g.verifyAll(context.Background())
	var sum [sha256.Size]byte
	now := g.clock().UnixNano()
	g.set.each(func(e *entry) {
		if e.strength == 0 || now >= e.until {
			return
		}
		// Exclusive or, because the order of the set differs from guard to guard.
		for i, b := range sha256.Sum256([]byte(e.rev.ID)) {
			sum[i] ^= b
		}
	})
	return hex.EncodeToString(sum[:16])
}
