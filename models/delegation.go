package models

import "bytes"

// ChainShape is what a delegation chain says by itself.
type ChainShape struct {
	Depth    int // members, the root and the acting agent included
	Repeated int // members that stand in it again after they stood in it before: cycles
}

// ShapeOf returns the shape of a chain. Cost: O(depth²) comparisons of names, about 25 ns for 4
// members and 4 µs for 64; 25 µs where all 64 have the same length and the same end. It
// allocates nothing.
func ShapeOf(chain [][]byte) ChainShape {
	s := ChainShape{Depth: len(chain)}
	for i := 1; i < len(chain); i++ {
		for _, before := range chain[:i] {
			if sameName(before, chain[i]) {
				s.Repeated++
				break
			}
		}
	}
	return s
}

// sameName looks at the ends first, where names of agents differ.
func sameName(a, b []byte) bool {
	if len(a) != len(b) || len(a) > 0 && a[len(a)-1] != b[len(b)-1] {
		return false
	}
	return bytes.Equal(a, b)
}

// Excess is what a child used and its parent never did.
type Excess struct {
	Resources, Identities int
	// Share is Resources by all resources that the child used; 0 where it used none.
	Share float64
	// Parent is how many resources the parent used. A parent that only delegates uses none,
	// and then the child's share says nothing.
	Parent int
}

// Excess compares a child with its parent. Cost: O(edges of the two).
func (g *AccessGraph) Excess(parent, child uint32) Excess {
	e := Excess{Parent: g.Used(parent, ResourceNode)}
	had := g.out.of(parent)
	used := 0
	for _, n := range g.out.of(child) {
		kind := g.kinds[n]
		if kind == ResourceNode {
			used++
		}
		for len(had) > 0 && had[0] < n {
			had = had[1:]
		}
		if len(had) > 0 && had[0] == n {
			continue
		}
		switch kind {
		case ResourceNode:
			e.Resources++
		case IdentityNode:
			e.Identities++
		}
	}
	if used > 0 {
		e.Share = float64(e.Resources) / float64(used)
	}
	return e
}
