// Command bench runs the benchmarks behind the figures that the project claims for speed
// and memory, and writes them into bench/results: spine.json and spine.md, backtest.json and
// backtest.md, guard.json and guard.md. docs/benchmarks.md says what each figure means.
package main

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/estop-project/estop/bench/report"
	"github.com/estop-project/estop/pipeline/embedded/sourcetree"
)

// seed is that of the fleets that the benchmarks make.
const seed = 1

func main() {
	out := flag.String("out", "bench/results", "folder of the results")
	only := flag.String("only", "", "run only the suites whose name contains this")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *out, *only); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out, only string) error {
	root, err := sourcetree.Root()
	if err != nil {
		return err
	}
	began := time.Now()
	reports := map[string]*report.Report{}
	for _, s := range suites {
		if !strings.Contains(s.name, only) {
			continue
		}
		r := reports[s.results()]
		if r == nil {
			r = report.New(root, titles[s.results()], seed, began)
			reports[s.results()] = r
		}
		fmt.Fprintln(os.Stderr, s.command())
		results, err := s.run(ctx, root)
		if err != nil {
			return err
		}
		s.report(r, results)
	}
	for _, name := range slices.Sorted(maps.Keys(reports)) {
		if err := reports[name].Write(filepath.Join(root, out), name); err != nil {
			return err
		}
	}
	return nil
}

// run runs the suite's benchmarks and shows what they write.
func (s *suite) run(ctx context.Context, root string) (measurements, error) {
	cmd := exec.CommandContext(ctx, "go", s.args()...)
	cmd.Dir = root
	var written bytes.Buffer
	cmd.Stdout = io.MultiWriter(&written, os.Stderr)
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("cannot run the benchmarks of %s: %w", s.pkg, err)
	}
	m := measurements{}
	for lines := bufio.NewScanner(&written); lines.Scan(); {
		m.add(lines.Text())
	}
	return m, nil
}

// report adds the suite's figures to the report, and a note for what was not measured.
func (s *suite) report(r *report.Report, m measurements) {
	var missing []string
	for _, f := range s.figures {
		value, ok := m.median(f.bench, f.unit)
		if !ok {
			missing = append(missing, f.name)
			continue
		}
		r.Add(report.Figure{Name: f.name, Value: value, Unit: f.as, Goal: f.goal, Command: s.command()})
	}
	if len(missing) > 0 {
		r.Note("Not measured: %s. `%s` did not report it; it skips where its engine is missing.", strings.Join(missing, "; "), s.command())
	}
}
