package audit

import (
	"crypto/sha256"
	"math/bits"
)

// treeRoot returns the RFC 6962 root of leaf hashes, of which there is at least one.
func treeRoot(leaves []Hash) Hash {
	if len(leaves) == 1 {
		return leaves[0]
	}
	k := splitPoint(len(leaves))
	return nodeHash(treeRoot(leaves[:k]), treeRoot(leaves[k:]))
}

// treePath returns the RFC 6962 inclusion proof of leaf i, from the leaf up: what
// tlog.CheckRecord takes.
func treePath(leaves []Hash, i int) []Hash {
	if len(leaves) == 1 {
		return nil
	}
	k := splitPoint(len(leaves))
	if i < k {
		return append(treePath(leaves[:k], i), treeRoot(leaves[k:]))
	}
	return append(treePath(leaves[k:], i-k), treeRoot(leaves[:k]))
}

// splitPoint returns the largest power of two below n, which is at least 2.
func splitPoint(n int) int { return 1 << (bits.Len(uint(n-1)) - 1) }

// nodeHash returns the RFC 6962 hash of an inner node.
func nodeHash(left, right Hash) Hash {
	var b [1 + 32 + 32]byte
	b[0] = 1
	copy(b[1:], left[:])
	copy(b[33:], right[:])
	return sha256.Sum256(b[:])
}
