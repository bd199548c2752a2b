package references

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// Forest is a model that lives in a Python package.
type Forest string

// The forests, by the package that has them: half-space trees (Tan, Ting and Liu 2011) and
// the robust random cut forest (Guha and others 2016).
const (
	HalfSpaceTrees Forest = "river"
	RandomCut      Forest = "rrcf"
)

//go:embed forest.py
var forestScript string

// ErrNotAtHand says that Python or the package is missing.
var ErrNotAtHand = errors.New("not at hand")

// probe bounds how long the question may take whether a package is at hand.
const probe = 20 * time.Second

// AtHand reports whether the Python interpreter has the forest's package: nil, or an error
// that is ErrNotAtHand.
func (f Forest) AtHand(ctx context.Context, python string) error {
	ctx, cancel := context.WithTimeout(ctx, probe)
	defer cancel()
	if err := f.command(ctx, python, "try").Run(); err != nil {
		return fmt.Errorf("%w: %s with the package %s (%v)", ErrNotAtHand, python, f, err)
	}
	return nil
}

// Scores gives each row of features a score, in order, each before the row is learned. The
// interpreter is killed when ctx ends.
func (f Forest) Scores(ctx context.Context, python string, rows [][]float64) ([]float64, error) {
	if err := f.AtHand(ctx, python); err != nil {
		return nil, err
	}
	var in, out, complaints bytes.Buffer
	for _, row := range rows {
		for _, v := range row {
			in.WriteString(strconv.FormatFloat(v, 'g', 9, 64))
			in.WriteByte(' ')
		}
		in.WriteByte('\n')
	}
	cmd := f.command(ctx, python)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = &in, &out, &complaints
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, fmt.Errorf("cannot score by %s: %w%s", f, err, lastLine(complaints.String()))
	}
	scores := make([]float64, 0, len(rows))
	for lines := bufio.NewScanner(&out); lines.Scan(); {
		v, err := strconv.ParseFloat(lines.Text(), 64)
		if err != nil {
			return nil, fmt.Errorf("cannot read a score of %s: %w", f, err)
		}
		scores = append(scores, v)
	}
	if len(scores) != len(rows) {
		return nil, fmt.Errorf("%s gave %d scores for %d rows", f, len(scores), len(rows))
	}
	return scores, nil
}

func (f Forest) command(ctx context.Context, python string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, python, append([]string{"-c", forestScript, string(f)}, args...)...)
	cmd.WaitDelay = time.Second // a pipe that a grandchild holds open must not hold us
	return cmd
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	if last := lines[len(lines)-1]; last != "" {
		return ": " + last
	}
	return ""
}
