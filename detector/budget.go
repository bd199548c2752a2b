package detector

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/estop-project/estop/models"
)

// budgetUnits are the lengths of time that a budget counts.
var budgetUnits = map[string]time.Duration{"hour": time.Hour, "day": day, "week": 7 * day}

// budget reads "1 per 1000 agent-days" or "1 per 1000000 calls" and sets the alarm level. The e-detector
// steps once for each active slot, of which there are at most as many as slots of time, and at most
// as many as calls: so the level is the same function of either. Within a session it begins anew
// with each session, and "1 per 1000 sessions" is that function of sessions.
func (r *reader) budget(n *yaml.Node, d *draft) {
	hint := fmt.Sprintf("write 1 per 1000 %s-days or 1 per 1000000 calls", entityPhrase(d.GroupBy))
	steps, more := "slots of "+formatDuration(d.Slot), "write a longer time"
	if d.Within {
		hint, steps, more = "write 1 per 1000 sessions", "sessions", "write more sessions"
	}
	text, ok := r.text(n, "budget")
	if !ok {
		return
	}
	words := strings.Fields(text)
	if len(words) == 3 { // 1 per agent-day
		words = slices.Insert(words, 2, "1")
	}
	if len(words) != 4 || words[1] != "per" {
		r.fail(n, hint, "the budget %q is not a phrase of the form N per M UNIT", shorten(text))
		return
	}
	alarms, err1 := strconv.ParseFloat(words[0], 64)
	span, err2 := strconv.ParseFloat(strings.ReplaceAll(words[2], "_", ""), 64)
	if err1 != nil || err2 != nil || !(alarms > 0) || !(span > 0) || math.IsInf(alarms/span, 0) || math.IsInf(span/alarms, 0) {
		r.fail(n, hint, "the numbers of the budget %q must be positive", shorten(text))
		return
	}
	unit, ok := r.budgetSteps(n, words[3], d)
	if !ok {
		return
	}
	d.Budget = strings.Join(strings.Fields(text), " ")
	d.Level = models.AlarmLevelCalls(span * unit / alarms)
	d.blocks(words[3], span/alarms, unit)
	if d.Level < math.Log(minSlots) {
		r.fail(n, more, "the budget %q allows a false alarm within %d %s", shorten(text), minSlots, steps)
	}
}

// blocks divides the budget into blocks whose crests of evidence are compared: days, or a thousandth of
// it in calls, or sessions.
func (d *draft) blocks(unit string, span, steps float64) {
	switch {
	case d.Within:
		d.Blocks = span
	case unit == "call" || unit == "calls":
		d.BlockCalls = int(min(max(span/1000, leastBlockCalls), math.MaxInt32))
		d.Blocks = span / float64(d.BlockCalls)
	default:
		d.Blocks = span * steps * d.Slot.Hours() / day.Hours()
	}
	d.Blocks = max(d.Blocks, leastBlocks)
}

// The least that a budget is divided into.
const (
	leastBlocks     = 10
	leastBlockCalls = 10
)

// budgetSteps returns how many steps of the e-detector one unit of a budget holds: slots, or sessions.
func (r *reader) budgetSteps(n *yaml.Node, unit string, d *draft) (float64, bool) {
	offset := len([]rune(n.Value[:strings.LastIndex(n.Value, unit)]))
	right := entityPhrase(d.GroupBy)
	sessions := unit == "session" || unit == "sessions"
	switch {
	case d.Within && !sessions:
		r.failIn(n, offset, "write sessions", "the budget counts %s but the detector judges sessions", shorten(unit))
		return 0, false
	case sessions && !d.Within:
		r.failIn(n, offset, fmt.Sprintf("write %s-days, or add within: session", right), "a budget counts sessions only within: session")
		return 0, false
	case sessions || unit == "call" || unit == "calls":
		return 1, true
	}
	entity, span, _ := cutLast(unit, "-")
	length, ok := budgetUnits[strings.TrimSuffix(span, "s")]
	if !ok {
		known := []string{"calls"}
		for _, s := range []string{"days", "hours", "weeks"} {
			known = append(known, right+"-"+s)
		}
		r.failIn(n, offset, didYouMean(unit, known), "a budget is not counted in %q", shorten(unit))
		return 0, false
	}
	if entity = strings.ReplaceAll(entity, "_", "-"); entity != right && entity != "entity" {
		r.failIn(n, offset, fmt.Sprintf("write %s-%s", right, span), "the budget counts %s but the detector groups by %s", shorten(unit), d.GroupBy)
		return 0, false
	}
	return length.Seconds() / d.Slot.Seconds(), true
}

// entityPhrase is an entity as a part of a budget's unit: chain-root in chain-root-days.
func entityPhrase(e Entity) string { return strings.ReplaceAll(e.String(), "_", "-") }

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return "", s, false
}
