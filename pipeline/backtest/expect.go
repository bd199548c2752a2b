package backtest

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/estop-project/estop/detector"
)

// Unmet is one thing that a test expects and did not get, and where it stands.
type Unmet struct {
	Line   int    `json:"line"`
	Column int    `json:"column"`
	Key    string `json:"key"` // of expect
	Want   string `json:"want"`
	Got    string `json:"got"`
}

// String says what was expected and what came.
func (u Unmet) String() string { return fmt.Sprintf("%s: want %s, got %s", u.Key, u.Want, u.Got) }

func joined(all []Unmet) string {
	var texts []string
	for _, u := range all {
		texts = append(texts, u.String())
	}
	return strings.Join(texts, "; ")
}

// verdicts gathers what differs.
type verdicts struct {
	want  *detector.Expect
	unmet []Unmet
}

func (v *verdicts) that(holds bool, key, want, got string) {
	if !holds {
		line, column := v.want.Place(key)
		v.unmet = append(v.unmet, Unmet{line, column, key, want, got})
	}
}

// judge compares an outcome with what was expected and says all that differs.
func judge(want *detector.Expect, got *Outcome) []Unmet {
	v := &verdicts{want: want}
	v.that(want.Holds(len(got.Detections)), "detections", want.Number.String(), got.listed(""))
	for _, e := range want.Entities {
		n := 0
		for i := range got.Detections {
			if got.Detections[i].Entity == e.Entity {
				n++
			}
		}
		v.that(e.Holds(n), "entities", fmt.Sprintf("%s for %q", e.Number, e.Entity), got.listed(e.Entity))
	}
	if want.Known != nil {
		v.that(*want.Known == got.Known, "known", strconv.FormatBool(*want.Known), strconv.FormatBool(got.Known))
	}
	for i, step := range want.Steps {
		if i < len(got.Detections) {
			took := got.Detections[i].Step
			v.that(took == step, "steps", fmt.Sprintf("step %d for detection %d", step, i+1), strconv.Itoa(took))
		}
	}
	if len(got.Detections) > 0 {
		v.first(want, got)
	}
	return v.unmet
}

// first compares what is expected of the first detection.
func (v *verdicts) first(want *detector.Expect, got *Outcome) {
	first := &got.Detections[0]
	if at := want.FirstAt; at != nil {
		v.that(at.Has(got.Offsets[0]), "first_at", at.String(), offsetText(got.Offsets[0]))
	}
	if at := want.FirstBad; at != nil {
		v.that(at.Has(got.firstBad), "first_bad", at.String(), offsetText(got.firstBad))
	}
	for _, text := range []struct{ key, want, got string }{{"entity", want.Entity, first.Entity}, {"agent", want.Agent, first.Agent}, {"mode", want.Mode, first.Mode}} {
		v.that(text.want == "" || text.want == text.got, text.key, text.want, text.got)
	}
	if want.Response != 0 {
		answer := "none"
		if got.response != 0 {
			answer = got.response.String()
		}
		v.that(want.Response == got.response, "response", want.Response.String(), answer)
	}
}

// mostListed bounds the detections that are listed where others were expected.
const mostListed = 3

// listed says how many detections there are, of one entity or of all, and which they are.
func (o *Outcome) listed(entity string) string {
	var texts []string
	n := 0
	for i := range o.Detections {
		d := &o.Detections[i]
		if entity != "" && d.Entity != entity {
			continue
		}
		if n++; n <= mostListed {
			texts = append(texts, fmt.Sprintf("%s of %q by %s", offsetText(o.Offsets[i]), d.Entity, d.Reason))
		}
	}
	switch {
	case n == 0 && o.learns && !o.Known:
		return "none; too little was seen to know the last call's entity"
	case n == 0:
		return "none"
	case n > mostListed:
		texts = append(texts, "…")
	}
	return fmt.Sprintf("%d: %s", n, strings.Join(texts, ", "))
}

// offsetText writes a time from the start of a test, as tests do, to the last digit.
func offsetText(d time.Duration) string {
	if d < day {
		return d.String()
	}
	text := fmt.Sprintf("%dd", d/day)
	if rest := d % day; rest > 0 {
		text += rest.String()
	}
	return text
}
