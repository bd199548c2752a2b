package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/archive"
	"github.com/estop-project/estop/pipeline/node"
)

func newDetectorHistory() *cobra.Command {
	var since string
	var last int
	var differences bool
	cmd := &cobra.Command{
		Use:   "history [ID]",
		Short: "Show who changed which detector, newest first",
		Long: `Shows what was added, changed and removed of the detectors that ran, or of one of them, by what ClickHouse holds:
when a process went over to it, the versions and modes before and now, which keys changed, and who changed the file.
That is the author of the file's last commit where the file is as committed in git, else the user who owns the file:
a claim, no proof.`,
		Example:           "  estop detector history\n  estop detector history customer-export --diff\n  estop detector history --since 2026-11-24 -o json",
		Args:              upTo(1),
		ValidArgsFunction: runningIDs(func(node.RunningDetector) bool { return true }),
		RunE: func(cmd *cobra.Command, args []string) error {
			from, err := parseTime("since", since, false)
			if err != nil {
				return err
			}
			if last < 0 {
				return usageError{errors.New("--last: name how many, or 0 for all")}
			}
			c, err := remote(cmd)
			if err != nil {
				return err
			}
			all, err := c.Changes(cmd.Context(), archive.ChangesQuery{Detector: path(args), Since: from, Most: last})
			if err != nil {
				return err
			}
			return print(cmd, all, func(w io.Writer) {
				switch {
				case len(all) == 0:
					writeNoChange(w, path(args), since)
				case differences:
					writeDifferences(w, all)
				default:
					writeHistory(w, all)
				}
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&since, "since", "", "from this time or day on")
	f.IntVar(&last, "last", 100, "so many changes at most, 0: all")
	f.BoolVar(&differences, "diff", false, "show how the text differs")
	return cmd
}

func writeNoChange(w io.Writer, id, since string) {
	what := "of any detector"
	if id != "" {
		what = "of detector " + id
	}
	if since != "" {
		what += " since " + since
	}
	fmt.Fprintf(w, "no change %s is recorded\n", what)
}

func writeHistory(out io.Writer, all []detector.ChangeRecord) {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	defer w.Flush()
	fmt.Fprintln(w, "time\tdetector\tchange\tversion\tmode\tby\tfile\tkeys")
	for i := range all {
		c := &all[i]
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", c.Time.Local().Format(time.DateTime), c.Key(), c.Kind,
			became(c.VersionBefore, c.VersionNow), became(c.ModeBefore, c.ModeNow), authorText(&c.Author), inOneLine(c.File), keysText(c))
	}
}

func writeDifferences(w io.Writer, all []detector.ChangeRecord) {
	for i := range all {
		c := &all[i]
		fmt.Fprintf(w, "%s  %s %s  %s  %s  by %s  %s\n", c.Time.Local().Format(time.DateTime), c.Key(), c.Kind,
			became(c.VersionBefore, c.VersionNow), became(c.ModeBefore, c.ModeNow), authorText(&c.Author), inOneLine(c.File))
		text := c.Diff
		if text == "" && c.Kind == "added" {
			text = string(diff.Diff(c.File, nil, c.File, []byte(strings.TrimSuffix(c.Text, "\n")+"\n")))
		}
		writeDifference(w, text)
		if c.Cut {
			fmt.Fprintln(w, "    …the detector is longer than what is kept of it")
		}
	}
}

// writeDifference writes a text in the unified form, without its first line, which names the files once more.
func writeDifference(w io.Writer, text string) {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "diff ") {
			continue
		}
		line = inOneLine(strings.TrimSuffix(line, "\n"))
		switch {
		case strings.HasPrefix(line, "+"):
			line = green(line)
		case strings.HasPrefix(line, "-"):
			line = red(line)
		}
		fmt.Fprintf(w, "    %s\n", line)
	}
}

// became says what was and what is.
func became(before, now string) string {
	switch {
	case before == now || before == "":
		return now
	case now == "":
		return before
	}
	return before + " → " + now
}

// authorText says who it was, and how that is known.
func authorText(a *detector.Author) string {
	by := inOneLine(a.By)
	switch a.From {
	case detector.FromGit:
		return fmt.Sprintf("%s in commit %.12s", by, inOneLine(a.Commit))
	case detector.FromOwner:
		return by + ", who owns the file"
	case detector.FromConfig:
		return "the configuration"
	case detector.FromBuiltIn:
		return by
	}
	return "unknown"
}

// maxKeysShown bounds a line of the table; JSON has them all.
const maxKeysShown = 4

func keysText(c *detector.ChangeRecord) string {
	if c.Kind != "changed" {
		return ""
	}
	if len(c.Keys) == 0 {
		return "only comments or the layout"
	}
	var names []string
	for _, k := range c.Keys[:min(len(c.Keys), maxKeysShown)] {
		sign := map[string]string{"added": "+", "removed": "-"}[k.Kind]
		names = append(names, sign+inOneLine(k.Key))
	}
	if more := len(c.Keys) - maxKeysShown; more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(names, ", ")
}

// inOneLine leaves out what could move a terminal's cursor: names of files and comments are anybody's.
func inOneLine(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case unicode.IsControl(r):
			return -1
		}
		return r
	}, text)
}
