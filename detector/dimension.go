package detector

import (
	"fmt"
	"strings"

	"github.com/expr-lang/expr/ast"
)

// dimension is what a number is measured in. Counts, shares and nats are measured in nothing; a rate is
// in what it counts, so that rate(bytes_out, 1s) goes with 5MiB.
type dimension struct {
	bytes, seconds int  // exponents
	open           bool // a number without a unit goes with all
}

var (
	inBytes   = dimension{bytes: 1}
	inSeconds = dimension{seconds: 1}
	inAny     = dimension{open: true}
)

// dimension is what a feature is measured in.
func (f Feature) dimension() dimension {
	switch f.Kind {
	case KindCount, KindRate, KindMax, KindQuantile:
		switch f.Measure {
		case MeasureBytesIn, MeasureBytesOut:
			return inBytes
		case MeasureLatency:
			return inSeconds
		}
	}
	return dimension{}
}

// String says the dimension in words.
func (d dimension) String() string {
	switch d {
	case inBytes:
		return "a number of bytes"
	case inSeconds:
		return "a time"
	case dimension{}:
		return "a plain number"
	}
	var units []string
	for _, u := range []struct {
		name  string
		power int
	}{{"bytes", d.bytes}, {"seconds", d.seconds}} {
		switch u.power {
		case 0:
		case 1:
			units = append(units, u.name)
		default:
			units = append(units, fmt.Sprintf("%s^%d", u.name, u.power))
		}
	}
	return "a number in " + strings.Join(units, "·")
}

// times is the dimension of a product with a power of another number.
func (d dimension) times(e dimension, power int) dimension {
	return dimension{d.bytes + power*e.bytes, d.seconds + power*e.seconds, d.open && e.open}
}

// combine checks the dimensions of the two topmost numbers and puts that of the result in their place.
func (c *condition) combine(n *ast.BinaryNode, op opcode) {
	if c.failed {
		return // then they may not be there
	}
	top := len(c.dimensions) - 1
	a, b := c.dimensions[top-1], c.dimensions[top]
	c.dimensions = c.dimensions[:top]
	switch op {
	case opMul:
		a = a.times(b, 1)
	case opDiv:
		a = a.times(b, -1)
	case opAnd, opOr:
	default:
		if a.open {
			a = b
		} else if !b.open && a != b {
			c.fail(n.Right, "a number without a unit goes with everything", "%q wants %s here, this is %s", n.Operator, a, b)
		}
	}
	c.dimensions[top-1] = a
}
