package gate

import (
	"fmt"
	"strings"

	"github.com/estop-project/estop/revoke/guard"
)

// Classes say which resources fail closed, and which fail open, while the gate's guard has
// not loaded the active revocations or has lost the stream. They are for guard.Options.FailClosed.
type Classes struct {
	Open   bool     // what no pattern meets fails open; else it fails closed
	Opens  []string // patterns of resources that fail open
	Closes []string // patterns of resources that fail closed; they go first
}

// Check reports a pattern that means nothing.
func (c Classes) Check() error {
	for _, p := range append(append([]string(nil), c.Opens...), c.Closes...) {
		if i := strings.IndexByte(p, '*'); p == "" || i >= 0 && i < len(p)-1 {
			return fmt.Errorf("%q: a pattern is a resource, or its beginning and a * at the end", p)
		}
	}
	return nil
}

// FailClosed reports whether a call must not pass while nothing is known of revocations.
func (c Classes) FailClosed(call *guard.Call) bool {
	switch {
	case meets(c.Closes, call.Resource):
		return true
	case devious(call.Resource):
		// A service may read it as another resource than the patterns do.
		return !c.Open || len(c.Closes) > 0
	case meets(c.Opens, call.Resource):
		return false
	}
	return !c.Open
}

func meets(patterns []string, resource string) bool {
	for _, p := range patterns {
		start, prefix := strings.CutSuffix(p, "*")
		if resource == p || prefix && strings.HasPrefix(resource, start) {
			return true
		}
	}
	return false
}

// devious reports whether the path of a resource has more than one reading.
func devious(path string) bool {
	path = strings.TrimPrefix(path, "mcp://") // of which the gate itself has made the resource
	return strings.Contains(path, "//") || strings.Contains(path+"/", "/./") || strings.Contains(path, "/..") ||
		strings.ContainsAny(path, `%;\`+"\x00")
}
