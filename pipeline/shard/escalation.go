package shard

import (
	"encoding/binary"

	"github.com/estop-project/estop/detector"
)

// escalation is how far a graded answer has gone against an entity.
type escalation struct {
	step  uint8         // that the last detection took, from 1 on; 0: none did
	mode  detector.Mode // of that detection
	until int64         // when it is forgotten, in the time of the entity's latest call
}

// answer says in a detection which step it takes, and takes it. It returns for how long the entity does not
// fire again.
func (x *escalation) answer(r *rule, mode detector.Mode, latest int64, d *detector.Detection) (still int64) {
	if len(r.Steps) == 0 {
		return int64(r.QuietAt(latest, 0))
	}
	step := x.next(r, mode, latest)
	still = int64(r.QuietAt(latest, step))
	x.take(r, step, mode, latest+still)
	d.Step = step + 1
	return still
}

// next returns the step, from 0 on, that a detection takes at the latest time of its entity's calls. One in another mode
// than the detection before begins anew: what only was an alert warned nobody.
func (x *escalation) next(r *rule, mode detector.Mode, latest int64) int {
	if x.step == 0 || x.mode != mode || latest >= x.until {
		return 0
	}
	return min(int(x.step), len(r.Steps)-1)
}

// take takes a step, for a detection after which the entity does not fire again before quietUntil.
func (x *escalation) take(r *rule, step int, mode detector.Mode, quietUntil int64) {
	*x = escalation{uint8(step + 1), mode, quietUntil + int64(r.Escalate)}
}

func (x *escalation) appendState(b []byte) []byte {
	return binary.AppendVarint(append(b, x.step, byte(x.mode)), x.until)
}

func (x *escalation) load(r *reader) {
	x.step, x.mode, x.until = uint8(min(r.uvarint(), 127)), detector.Mode(min(r.uvarint(), uint64(detector.Enforce))), r.varint()
}
