package detector

// Formula combines atoms in postfix order. The nil Formula matches every call.
type Formula []step

// step is one step of a Formula: an operation in the top two bits, an atom below.
type step uint32

const (
	stepAtom step = iota << 30
	stepAnd
	stepOr
	stepNot

	stepOp    step = 3 << 30
	stepIndex      = ^stepOp
)

// maxFormulaDepth is the number of bits of the stack that Eval works on. A condition nests at
// most maxDepth deep, and each level holds one value at most.
const maxFormulaDepth = 64

// This does not compile if conditions could nest deeper than the stack.
const _ = uint(maxFormulaDepth - 2*maxDepth)

// Eval says whether the formula holds, given the union of the bit sets that Classify made
// for the values of a call's fields. It needs Plan.Words words and does not allocate.
func (f Formula) Eval(bits []uint64) bool {
	if len(f) == 0 {
		return true
	}
	// The stack is one word; its lowest bit is the top.
	var stack uint64
	for _, s := range f {
		switch s & stepOp {
		case stepAtom:
			i := s & stepIndex
			stack = stack<<1 | bits[i>>6]>>(i&63)&1
		case stepAnd:
			stack = stack>>1&^1 | stack>>1&stack&1
		case stepOr:
			stack = stack>>1 | stack&1
		case stepNot:
			stack ^= 1
		}
	}
	return stack&1 == 1
}
