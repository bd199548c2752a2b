package demo

import (
	"fmt"
	"io"
	"time"

	"github.com/fatih/color"
)

var (
	bold  = color.New(color.Bold).SprintFunc()
	red   = color.New(color.FgRed, color.Bold).SprintFunc()
	green = color.New(color.FgGreen).SprintFunc()
	faint = color.New(color.Faint).SprintFunc()
)

// story prints what happens, and keeps what was claimed.
type story struct {
	out    io.Writer
	start  time.Time
	acts   int
	claims int
	untrue int
}

func (s *story) act(title string) {
	s.acts++
	fmt.Fprintf(s.out, "\n%s %s\n", bold(fmt.Sprintf("%d. %s", s.acts, title)), faint(fmt.Sprintf("(at %.1f s)", time.Since(s.start).Seconds())))
}

func (s *story) say(format string, args ...any) { fmt.Fprintf(s.out, "   "+format+"\n", args...) }

// claim says something and whether it is true.
func (s *story) claim(ok bool, format string, args ...any) {
	s.claims++
	mark := green("true  ")
	if !ok {
		s.untrue++
		mark = red("UNTRUE")
	}
	fmt.Fprintf(s.out, "   %s %s\n", mark, fmt.Sprintf(format, args...))
}

// verdict ends the story.
func (s *story) verdict(d *demo) error {
	fmt.Fprintf(s.out, "\n%s\n", bold("The kills"))
	fmt.Fprintf(s.out, "   %-18s %-26s %-20s %9s %14s\n", "went bad by", "agent", "detector", "bad calls", "append→denied")
	for _, b := range d.bad {
		fmt.Fprintf(s.out, "   %-18s %-26s %-20s %9d %14v\n", b.Kind, b.Agent, b.detector, b.calls, b.latency.Round(10*time.Microsecond))
	}
	if s.untrue > 0 {
		fmt.Fprintf(s.out, "\n%s\n", red(fmt.Sprintf("%d of %d claims are untrue", s.untrue, s.claims)))
		return fmt.Errorf("%w: %d of %d", ErrUntrue, s.untrue, s.claims)
	}
	fmt.Fprintf(s.out, "\n%s in %.0f s. To go on:\n", green(fmt.Sprintf("All %d claims are true", s.claims)), time.Since(s.start).Seconds())
	for _, line := range []string{
		"bin/estop up                          run it on your machine; the data stays in estop-data",
		"bin/estop replay cloudtrail.json.gz   send calls of your own into it",
		"bin/estop status                      who is stopped, and how the engines are doing",
		"bin/estop detector test               run the tests of the built-in detectors",
		"docs/start.md                         the next steps",
	} {
		fmt.Fprintln(s.out, "   "+line)
	}
	return nil
}
