package archive

import (
	"testing"
)

func TestEveryCallIsArchivedOnce(t *testing.T) {
	r := newRig(t)
	r.produce(1000, nil)
	a := r.start(nil, hooks{})
	r.check()
	r.produce(500, nil)
	r.check()
	a.stop()
}
