package detector

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

const day = 24 * time.Hour

var durationUnits = map[string]time.Duration{
	"ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour, "d": day, "w": 7 * day,
}

var sizeUnits = map[string]float64{
	"B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30,
}

// unitWords lists the units for hints.
var unitWords = namesOf(units)

// longUnits are how people write units out.
var longUnits = map[string]string{
	"msec": "ms", "millis": "ms", "sec": "s", "second": "s", "min": "m", "minute": "m", "hr": "h", "hour": "h", "day": "d", "week": "w",
	"byte": "B", "k": "KiB", "M": "MiB", "G": "GiB", "kb": "KB", "mb": "MB", "gb": "GB",
}

// unitHint returns the right unit for a wrong one.
func unitHint(unit string) string {
	for _, u := range []string{unit, strings.ToLower(unit)} {
		if right := longUnits[strings.TrimSuffix(u, "s")]; right != "" {
			return "write " + right
		}
	}
	return didYouMean(unit, unitWords)
}

// parseDuration reads 10s, 1m30s, 7d: numbers, each with its unit.
func parseDuration(text string) (time.Duration, error) {
	total, rest := 0.0, text
	for rest != "" {
		number, unit, tail := splitQuantity(rest)
		size, ok := durationUnits[unit]
		if number == "" || !ok {
			return 0, fmt.Errorf("%q is not a duration such as 500ms, 10s, 5m, 2h or 7d", text)
		}
		n, err := strconv.ParseFloat(number, 64)
		if err != nil {
			return 0, fmt.Errorf("%q is not a duration such as 500ms, 10s, 5m, 2h or 7d", text)
		}
		total += n * float64(size)
		rest = tail
	}
	if text == "" || total >= math.MaxInt64 {
		return 0, fmt.Errorf("%q is not a duration such as 500ms, 10s, 5m, 2h or 7d", text)
	}
	return time.Duration(math.Round(total)), nil
}

// parseSize reads 5MiB or 200KB as a number of bytes.
func parseSize(text string) (float64, error) {
	number, unit, rest := splitQuantity(text)
	size, ok := sizeUnits[unit]
	n, err := strconv.ParseFloat(number, 64)
	if rest != "" || !ok || err != nil {
		return 0, fmt.Errorf("%q is not a size such as 512B, 10KiB or 5MiB", text)
	}
	return n * size, nil
}

// splitQuantity cuts the first number and unit off a text such as 1m30s.
func splitQuantity(text string) (number, unit, rest string) {
	isNumber := func(r rune) bool { return r >= '0' && r <= '9' || r == '.' }
	unit = strings.TrimLeftFunc(text, isNumber)
	number = text[:len(text)-len(unit)]
	if i := strings.IndexFunc(unit, isNumber); i >= 0 {
		unit, rest = unit[:i], unit[i:]
	}
	return number, unit, rest
}

// formatDuration writes a duration in the units of the language: 90s is 1m30s, 168h is 7d.
func formatDuration(d time.Duration) string {
	if d <= 0 {
		return "0s"
	}
	var b strings.Builder
	for _, unit := range []string{"d", "h", "m", "s", "ms"} {
		if n := d / durationUnits[unit]; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, unit)
			d -= n * durationUnits[unit]
		}
	}
	return b.String()
}
