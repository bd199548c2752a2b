package fleet

import "time"

// Hours is when agents of a role work.
type hours uint8

const (
	always hours = iota // the same at every hour
	wide                // more by day, some by night and at weekends
	office              // mostly in working hours
	night               // a nightly batch
)

// Week holds how busy each hour is, Monday 00:00 first; its mean is 1.
type week [7 * 24]float64

func (h hours) week() *week {
	w := &week{}
	var sum float64
	for i := range w {
		w[i] = h.level(i%24, i >= 5*24)
		sum += w[i]
	}
	for i := range w {
		w[i] *= float64(len(w)) / sum
	}
	return w
}

func (h hours) level(hour int, weekend bool) float64 {
	day := [24]float64{1, 1, 1, 1, 1, 2, 4, 7, 10, 12, 12, 11, 9, 11, 12, 12, 10, 8, 5, 4, 3, 2, 2, 1}
	switch h {
	case night:
		if hour >= 1 && hour < 4 {
			return 1
		}
		return 0
	case office:
		if weekend {
			return day[hour] / 4
		}
		return day[hour]
	case wide:
		return day[hour] + 8
	}
	return 1
}

// After returns the time at which the work that takes d at a mean hour is done, when it
// begins at t: soon in busy hours, late in quiet ones. Shift turns the local clock against UTC.
func (w *week) after(t int64, d float64, shift int64) int64 {
	const hour = int64(time.Hour)
	// The epoch was a Thursday.
	for at := (t/hour + shift + 3*24) % (7 * 24); ; at = (at + 1) % (7 * 24) {
		rest := hour - t%hour
		done := float64(rest) * w[at]
		if d < done {
			return t + int64(d/w[at])
		}
		d -= done
		t += rest
	}
}
