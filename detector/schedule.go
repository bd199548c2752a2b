package detector

import (
	"fmt"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // the same zones on every machine that has none of its own

	"go.yaml.in/yaml/v3"
)

// The keys and words of a schedule. schema.json lists the same.
var (
	scheduleKeys = []string{"days", "hours", "timezone", "outside"}
	dayWords     = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"} // as time.Weekday counts
)

const (
	wholeDay = 24 * 60 // minutes
	maxHours = 24      // spans of one day
)

// Schedule is when a detector may fire: hours of the clock on some days of the week, in one time
// zone. Hours that reach over midnight belong to the day on which they begin.
type Schedule struct {
	zone    *time.Location
	days    [7]bool // by time.Weekday
	hours   []span
	outside Mode
	anyTime bool // outside of its hours the detector fires too, in the mode outside
}

// span is a part of a day, in minutes of its clock. Where it ends before it begins it ends on the
// next day.
type span struct{ from, to int }

// Holds says whether a time, in Unix nanoseconds, lies in the schedule. Where clocks are turned, it goes by
// what they show: an hour that is skipped never comes, one that comes twice holds twice.
func (s *Schedule) Holds(at int64) bool {
	t := time.Unix(0, at).In(s.zone)
	minute, today := t.Hour()*60+t.Minute(), t.Weekday()
	yesterday := (today + 6) % 7
	for _, h := range s.hours {
		overnight := h.to <= h.from
		switch {
		case s.days[today] && minute >= h.from && (overnight || minute < h.to),
			s.days[yesterday] && overnight && minute < h.to:
			return true
		}
	}
	return false
}

// ModeAt returns the mode in which the detector fires at a time, in Unix nanoseconds; ok is false
// where its schedule lets it fire not at all.
func (c *Compiled) ModeAt(at int64) (mode Mode, ok bool) {
	switch {
	case c.Schedule == nil || c.Schedule.Holds(at):
		return c.Mode, true
	case c.Schedule.anyTime:
		return c.Schedule.outside, true
	}
	return c.Mode, false
}

// FiresAt says whether the detector may fire at a time, in Unix nanoseconds.
func (c *Compiled) FiresAt(at int64) bool {
	return c.Schedule == nil || c.Schedule.anyTime || c.Schedule.Holds(at)
}

// QuietAt is for how long the same entity does not fire again after a detection at a time, which takes step i of a
// graded answer: for Quiet or as long as the step, but no longer than until the schedule lets the detector do more
// than it did.
func (c *Compiled) QuietAt(at int64, step int) time.Duration {
	quiet := c.Quiet
	if step < len(c.Steps) {
		quiet = c.Steps[step]
	}
	mode, fired := c.ModeAt(at)
	if c.Schedule == nil || !fired || mode >= max(c.Mode, c.Schedule.outside) {
		return quiet
	}
	// Hours begin with a minute, and come again in a week, or in two where clocks are turned.
	next := at - at%int64(time.Minute)
	for range 2 * 7 * wholeDay {
		next += int64(time.Minute)
		if next-at >= int64(quiet) {
			break
		}
		if m, ok := c.ModeAt(next); ok && m > mode {
			return time.Duration(next - at)
		}
	}
	return quiet
}

// enforces says whether the detector enforces at any time.
func (c *Compiled) enforces() bool {
	return c.Mode == Enforce || c.Schedule != nil && c.Schedule.anyTime && c.Schedule.outside == Enforce
}

// schedule reads when a detector may fire.
func (r *reader) schedule(n *yaml.Node, d *draft) {
	before := len(r.errs)
	o, ok := r.object(n, "a schedule", scheduleKeys)
	if !ok {
		return
	}
	s := &Schedule{zone: time.UTC, days: [7]bool{true, true, true, true, true, true, true}, hours: []span{{0, wholeDay}}}
	if v := o.values["days"]; v != nil {
		s.days = r.days(v)
	}
	if v := o.values["hours"]; v != nil {
		s.hours = r.hours(v)
	}
	if v := o.values["timezone"]; v != nil {
		s.zone = r.zone(v)
	}
	r.choose(o, "outside", modeWords, func(i int) { s.outside, s.anyTime = Mode(i), true })
	if len(r.errs) > before {
		return
	}
	if s.anyTime && s.outside == d.Mode {
		r.fail(o.values["outside"], "write another mode, or leave schedule out", "the mode is %s anyway", d.Mode)
	}
	if s.always() {
		r.fail(n, "write days: [mon-fri] or hours: \"08:00-18:00\", or leave it out", "the schedule holds at every time")
	}
	d.Schedule = s
}

// always says whether the schedule leaves out no minute of a week without turned clocks.
func (s *Schedule) always() bool {
	utc := *s
	utc.zone = time.UTC
	ends := []int{0} // what is left out begins with a day, or where hours end
	for _, h := range s.hours {
		ends = append(ends, h.to%wholeDay)
	}
	for day := range 7 {
		for _, minute := range ends {
			if !utc.Holds(int64(day*wholeDay+minute) * int64(time.Minute)) {
				return false
			}
		}
	}
	return true
}

// days reads mon, or mon-fri, or a list of such.
func (r *reader) days(n *yaml.Node) (days [7]bool) {
	for _, item := range r.items(n, "days") {
		text, ok := r.text(item, "days")
		if !ok {
			continue
		}
		first, last, isRange := strings.Cut(strings.ToLower(strings.TrimSpace(text)), "-")
		if !isRange {
			last = first
		}
		from, to := slices.Index(dayWords, first), slices.Index(dayWords, last)
		if from < 0 || to < 0 {
			wrong := first
			if from >= 0 {
				wrong = last
			}
			r.fail(item, didYouMean(wrong, dayWords), "there is no day %q", shorten(wrong))
			continue
		}
		for day := from; ; day = (day + 1) % 7 {
			days[day] = true
			if day == to {
				break
			}
		}
	}
	return days
}

// hours reads 08:00-18:00, or a list of such.
func (r *reader) hours(n *yaml.Node) []span {
	var hours []span
	items := r.items(n, "hours")
	if len(items) > maxHours {
		r.fail(n, "", "hours has %d spans, more than %d", len(items), maxHours)
		return nil
	}
	for _, item := range items {
		text, ok := r.text(item, "hours")
		if !ok {
			continue
		}
		from, to, _ := strings.Cut(text, "-")
		h := span{clock(from), clock(to)}
		switch {
		case h.from < 0 || h.to < 0 || h.from == wholeDay:
			r.fail(item, `write "08:00-18:00"`, "hours cannot be %q", shorten(text))
		case h.from == h.to:
			r.fail(item, `write "00:00-24:00" for a whole day`, "the hours %q are empty", text)
		}
		hours = append(hours, h)
	}
	return hours
}

// clock reads 08:00 as minutes; -1 where it is not a time of the clock. 24:00 is the end of a day.
func clock(text string) int {
	var hour, minute int
	text = strings.TrimSpace(text)
	if n, err := fmt.Sscanf(text, "%d:%d", &hour, &minute); n != 2 || err != nil || text != fmt.Sprintf("%02d:%02d", hour, minute) {
		return -1
	}
	if hour < 0 || minute < 0 || minute > 59 || hour*60+minute > wholeDay {
		return -1
	}
	return hour*60 + minute
}

// zone reads a name of the IANA time zone database.
func (r *reader) zone(n *yaml.Node) *time.Location {
	text, ok := r.text(n, "timezone")
	if !ok {
		return time.UTC
	}
	const longest = 64
	zone, err := time.LoadLocation(text)
	if err == nil && text != "Local" && len(text) <= longest {
		return zone
	}
	hint := "write a name of the IANA time zone database, as in Europe/Berlin"
	if near := nearest(text, zoneWords); near != "" {
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	r.fail(n, hint, "there is no time zone %q", shorten(text))
	return time.UTC
}

// zoneWords are zones that hints may name: those of the largest cities of many countries.
var zoneWords = strings.Fields(`UTC Africa/Cairo Africa/Johannesburg Africa/Lagos Africa/Nairobi America/Anchorage America/Argentina/Buenos_Aires
	America/Bogota America/Chicago America/Denver America/Halifax America/Lima America/Los_Angeles America/Mexico_City America/New_York
	America/Phoenix America/Santiago America/Sao_Paulo America/St_Johns America/Toronto America/Vancouver Asia/Bangkok Asia/Dhaka Asia/Dubai
	Asia/Ho_Chi_Minh Asia/Hong_Kong Asia/Jakarta Asia/Jerusalem Asia/Karachi Asia/Kolkata Asia/Manila Asia/Riyadh Asia/Seoul Asia/Shanghai
	Asia/Singapore Asia/Taipei Asia/Tehran Asia/Tokyo Australia/Adelaide Australia/Brisbane Australia/Melbourne Australia/Perth Australia/Sydney
	Europe/Amsterdam Europe/Athens Europe/Belgrade Europe/Berlin Europe/Brussels Europe/Bucharest Europe/Budapest Europe/Copenhagen Europe/Dublin
	Europe/Helsinki Europe/Istanbul Europe/Kyiv Europe/Lisbon Europe/London Europe/Madrid Europe/Moscow Europe/Oslo Europe/Paris Europe/Prague
	Europe/Rome Europe/Sofia Europe/Stockholm Europe/Vienna Europe/Warsaw Europe/Zurich Pacific/Auckland Pacific/Honolulu`)
