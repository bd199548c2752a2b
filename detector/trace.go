package detector

// Step is one part of a condition, and what it said of a call: a test of a field, or all, any or not of
// the deeper steps that follow it.
type Step struct {
	Depth int    `json:"depth"`
	Text  string `json:"text"`
	Holds bool   `json:"holds"`
	Test  bool   `json:"test"` // it tests Field
	Field Field  `json:"-"`
}

// Trace returns the steps of a condition from the outside in, each with what it said of the call
// whose values Classify made the bits of. It takes the very code apart that Eval runs.
func (p *Plan) Trace(f Formula, bits []uint64) []Step {
	if len(f) == 0 {
		return nil
	}
	steps, rest := p.trace(f, bits, 0)
	if len(rest) > 0 {
		panic("a condition that does not end") // the linker emits none
	}
	return steps
}

// trace takes the last operand of f apart, and returns what stands before it.
func (p *Plan) trace(f Formula, bits []uint64, depth int) (steps []Step, rest Formula) {
	end := len(f) - 1
	op := f[end] & stepOp
	if op == stepAtom {
		a := &p.atoms[f[end]&stepIndex]
		holds := Formula{f[end]}.Eval(bits)
		return []Step{{Depth: depth, Text: a.label, Holds: holds, Test: true, Field: a.field}}, f[:end]
	}
	rest = f[:end]
	operands := make([][]Step, operandsOf(op))
	for i := len(operands) - 1; i >= 0; i-- {
		operands[i], rest = p.trace(rest, bits, depth+1)
	}
	step := Step{Depth: depth, Text: opText[op], Holds: f[len(rest):].Eval(bits)}
	steps = []Step{step}
	for _, operand := range operands {
		if first := operand[0]; !first.Test && op != stepNot && first.Text == step.Text { // a and b and c is one list
			for _, s := range operand[1:] {
				s.Depth--
				steps = append(steps, s)
			}
			continue
		}
		steps = append(steps, operand...)
	}
	return steps, rest
}

var opText = map[step]string{stepAnd: "all of", stepOr: "any of", stepNot: "not"}

func operandsOf(op step) int {
	if op == stepNot {
		return 1
	}
	return 2
}
