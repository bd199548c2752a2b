package models

import (
	"fmt"
	"testing"
)

var edgeBurstKind = kind{
	name:  "EdgeBurst",
	fresh: func() stateful { return NewEdgeBurst(EdgeBurstOptions{Edges: 32, Nodes: 8, Carry: 0.5}) },
	other: func() stateful { return NewEdgeBurst(EdgeBurstOptions{Edges: 32, Nodes: 16, Carry: 0.5}) },
	step: func(s stateful, a, b uint64) string {
		e := s.(*EdgeBurst)
		d := e.Score(mix(b%5), mix(min(a, b)%11), int64(a)-50) // more nodes and edges than are kept
		return fmt.Sprint(d, e.Reason())
	},
}

func init() { kinds = append(kinds, edgeBurstKind) }

func FuzzDecodeEdgeBurst(f *testing.F) { fuzzDecode(f, edgeBurstKind) }
