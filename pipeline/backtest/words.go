package backtest

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/shard"
)

// explain says in words why a detector fired.
func explain(d *detector.Detection) []string {
	var lines []string
	if d.Reason == "evidence" {
		lines = append(lines, fmt.Sprintf("evidence %s reached the level %s", number(d.LogEvidence), number(d.LogLevel)))
	} else {
		lines = append(lines, "the limit broke: "+d.Reason)
	}
	for i := range d.Features {
		lines = append(lines, SampleText(&d.Features[i]))
	}
	if d.FirstBad != d.CallID {
		lines = append(lines, "evidence rose from call "+d.FirstBad+" on")
	}
	return lines
}

// SampleText says what a feature was, and what was expected of it.
func SampleText(s *detector.Sample) string {
	text := s.Feature + " " + number(s.Observed)
	if s.Known && (s.LogP != 0 || s.Expected != 0) {
		text += ", expected " + number(s.Expected)
		if s.High > 0 {
			text += fmt.Sprintf(" (%s to %s)", number(s.Low), number(s.High))
		}
		text += ", p " + probability(s.LogP)
	}
	if s.LogEvidence != 0 {
		text += ", evidence " + number(s.LogEvidence)
	}
	return text
}

// number writes a number with four digits at most, or whole.
func number(x float64) string {
	if x == math.Trunc(x) && math.Abs(x) < 1e12 {
		return strconv.FormatFloat(x, 'f', 0, 64)
	}
	return strconv.FormatFloat(x, 'g', 4, 64)
}

// probability writes a probability given as its logarithm, however small.
func probability(log float64) string {
	if log > -7 {
		return strconv.FormatFloat(math.Exp(log), 'f', 4, 64)
	}
	exponent := math.Floor(log / math.Ln10)
	return fmt.Sprintf("%.1fe%.0f", math.Exp(log-exponent*math.Ln10), exponent)
}

// WarmupText says what has been seen, and what is missing.
func WarmupText(n *shard.Warmup) string {
	parts := []string{
		fmt.Sprintf("%d of %d calls", n.Calls, n.NeedCalls), fmt.Sprintf("%d of %d slots", n.Slots, n.NeedSlots),
	}
	if n.NeedTime > 0 {
		parts = append(parts, fmt.Sprintf("%s of %s", days(n.Time), days(n.NeedTime)))
	}
	if n.NeedEnded > 0 {
		parts = append(parts, fmt.Sprintf("%d of %d sessions ended", n.Sessions, n.NeedEnded))
	}
	if n.NeedPeers > 0 {
		parts = append(parts, fmt.Sprintf("or %d of %d peers", n.Peers, n.NeedPeers))
	}
	return strings.Join(parts, ", ")
}

func days(d time.Duration) string {
	return fmt.Sprintf("%.1fd", d.Hours()/24)
}
