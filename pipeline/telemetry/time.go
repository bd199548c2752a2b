package telemetry

import "math"

// parseTime reads an RFC 3339 time with any offset as Unix nanoseconds. The letters T and
// Z may be small, and a space may stand for T; digits after the ninth of the fraction are
// dropped. It returns a reason where b is not such a time, or not one from 1970 to 2262.
func parseTime(b []byte) (ns int64, reason string) {
	if len(b) < len("2006-01-02T15:04:05Z") || b[4] != '-' || b[7] != '-' ||
		b[10]|0x20 != 't' && b[10] != ' ' || b[13] != ':' || b[16] != ':' {
		return 0, ReasonBadTime
	}
	year := two(b[0:])*100 + two(b[2:])
	month, day := two(b[5:]), two(b[8:])
	hour, minute, sec := two(b[11:]), two(b[14:]), two(b[17:])
	if two(b[0:])|two(b[2:])|month|day|hour|minute|sec < 0 || month < 1 || month > 12 ||
		day < 1 || day > daysIn(year, month) || hour > 23 || minute > 59 || sec > 59 {
		return 0, ReasonBadTime
	}
	frac, rest := fraction(b[19:])
	offset, ok := zone(rest)
	if !ok {
		return 0, ReasonBadTime
	}
	s := daysSince1970(year, month, day)*86400 + int64(hour*3600+minute*60+sec) - int64(offset)
	if s < 0 {
		return 0, ReasonNegativeTime
	}
	if s > math.MaxInt64/int64(1e9) || s*1e9 > math.MaxInt64-frac {
		return 0, ReasonBadTime
	}
	return s*1e9 + frac, ""
}

// two returns the number of two digits, or -1.
func two(b []byte) int {
	hi, lo := b[0]-'0', b[1]-'0'
	if hi > 9 || lo > 9 {
		return -1
	}
	return int(hi)*10 + int(lo)
}

// fraction reads .digits, if they are there, as nanoseconds.
func fraction(b []byte) (ns int64, rest []byte) {
	if len(b) < 2 || b[0] != '.' || b[1]-'0' > 9 {
		return 0, b
	}
	scale := int64(1e8)
	i := 1
	for ; i < len(b) && b[i]-'0' <= 9; i++ {
		ns += int64(b[i]-'0') * scale
		scale /= 10
	}
	return ns, b[i:]
}

// zone reads Z or ±hh:mm as seconds east of Greenwich. Nothing may follow.
func zone(b []byte) (seconds int, ok bool) {
	if len(b) == 1 {
		return 0, b[0]|0x20 == 'z'
	}
	if len(b) != 6 || b[3] != ':' || b[0] != '+' && b[0] != '-' {
		return 0, false
	}
	h, m := two(b[1:]), two(b[4:])
	if h < 0 || h > 23 || m < 0 || m > 59 {
		return 0, false
	}
	seconds = h*3600 + m*60
	if b[0] == '-' {
		seconds = -seconds
	}
	return seconds, true
}

func leap(year int) bool { return year%4 == 0 && (year%100 != 0 || year%400 == 0) }

func daysIn(year, month int) int {
	switch month {
	case 2:
		if leap(year) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	}
	return 31
}

// daysSince1970 counts days of the proleptic Gregorian calendar, with years that begin in
// March so that the leap day is the last (Hinnant, "chrono-Compatible Low-Level Date
// Algorithms", days_from_civil).
func daysSince1970(year, month, day int) int64 {
	if month <= 2 {
		year--
		month += 12
	}
	era := year / 400
	yoe := year - era*400
	doy := (153*(month-3)+2)/5 + day - 1
	return int64(era*146097 + yoe*365 + yoe/4 - yoe/100 + doy - 719468)
}
