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
	// The top of the stack is in x; what is below it is in stack.
	var stack [maxProgramDepth]float64
	x, below := 0.0, 0
	for i := range p.code {
		in := &p.code[i]
		switch in.op {
		case opLoad:
			stack[below&(maxProgramDepth-1)] = x
			below++
			x = values[in.index]
			continue
		case opNumber:
			stack[below&(maxProgramDepth-1)] = x
			below++
			x = in.value
			continue
		case opNegate:
			x = -x
			continue
		case opNot:
			x = 1 - x
			continue
		}
		below--
		a := stack[below&(maxProgramDepth-1)]
		switch in.op {
		case opAdd:
			x = a + x
		case opSub:
			x = a - x
		case opMul:
			x = a * x
		case opDiv:
			x = divide(a, x)
		case opLess:
			x = truth(a < x, a, x)
		case opLessEqual:
			x = truth(a <= x, a, x)
		case opGreater:
			x = truth(a > x, a, x)
		case opGreaterEqual:
			x = truth(a >= x, a, x)
		case opEqual:
			x = truth(a == x, a, x)
		case opNotEqual:
			x = truth(a != x, a, x)
		case opAnd:
			x = and(a, x)
		case opOr:
			x = 1 - and(1-a, 1-x)
		}
	}
	return x == 1
}

func divide(a, b float64) float64 {
	if b == 0 {
		return math.NaN()
	}
	return a / b
}

// truth is the number for holds, which is what comparing a and b gave: 1, 0, or NaN
// where either is not known.
func truth(holds bool, a, b float64) float64 {
	switch {
	case holds && a == a && b == b:
		return 1
	case a != a || b != b:
		return math.NaN()
	}
	return 0
}

func and(a, b float64) float64 {
	if a == 0 || b == 0 {
		return 0
	}
	return a * b
}
