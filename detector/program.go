package detector

import (
	"math"
	"slices"
)

// Program is a compiled condition: a postfix sequence over numbers. Its truth is three-valued:
// what is not a number (no value yet, or a division by zero) is unknown, whatever depends on
// it alone is unknown too, and an unknown condition does not fire, not even under "not".
type Program struct {
	code []instruction
}

type instruction struct {
	op    opcode
	index uint16  // opLoad: index of the feature
	value float64 // opNumber
}

type opcode uint8

const (
	opLoad opcode = iota
	opNumber
	opNegate
	opNot
	opAdd // from here on: two operands
	opSub
	opMul
	opDiv
	opLess
	opLessEqual
	opGreater
	opGreaterEqual
	opEqual
	opNotEqual
	opAnd
	opOr
)

// maxProgramDepth is the size of the stack that Eval works on.
const maxProgramDepth = 16

// Features returns the indexes of the features that the condition reads, in order, without repeats.
func (p *Program) Features() []int {
	var at []int
	for _, in := range p.code {
		if in.op == opLoad {
			at = append(at, int(in.index))
		}
	}
	slices.Sort(at)
	return slices.Compact(at)
}

// Eval says whether the condition holds for the values of the features, which are in the
// order of Compiled.Features; NaN is a value that is not known. It does not allocate.
func (p *Program) Eval(values []float64) bool {
	var stack [maxProgramDepth]float64
	top := -1
	for i := range p.code {
		in := &p.code[i]
		switch in.op {
		case opLoad:
			top++
			stack[top&(maxProgramDepth-1)] = values[in.index]
		case opNumber:
			top++
			stack[top&(maxProgramDepth-1)] = in.value
		case opNegate:
			stack[top&(maxProgramDepth-1)] *= -1
		case opNot:
			stack[top&(maxProgramDepth-1)] = 1 - stack[top&(maxProgramDepth-1)]
		default:
			b := stack[top&(maxProgramDepth-1)]
			top--
			a := &stack[top&(maxProgramDepth-1)]
			*a = apply(in.op, *a, b)
		}
	}
	return stack[0] == 1
}

// apply returns a op b; truth is 1, falsehood 0, unknown NaN.
func apply(op opcode, a, b float64) float64 {
	switch op {
	case opAdd:
		return a + b
	case opSub:
		return a - b
	case opMul:
		return a * b
	case opDiv:
		if b == 0 {
			return math.NaN()
		}
		return a / b
	case opAnd:
		if a == 0 || b == 0 {
			return 0
		}
		return a * b
	case opOr:
		if a == 1 || b == 1 {
			return 1
		}
		return a + b
	}
	return compare(op, a, b)
}

func compare(op opcode, a, b float64) float64 {
	if a != a || b != b {
		return math.NaN()
	}
	var holds bool
	switch op {
	case opLess:
		holds = a < b
	case opLessEqual:
		holds = a <= b
	case opGreater:
		holds = a > b
	case opGreaterEqual:
		holds = a >= b
	case opEqual:
		holds = a == b
	case opNotEqual:
		holds = a != b
	}
	if holds {
		return 1
	}
	return 0
}
