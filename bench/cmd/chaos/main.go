// Command chaos runs campaigns of faults against a whole installation of estop and holds what came of it against
// what estop promises. It writes bench/results/chaos.json and chaos.md. docs/chaos.md tells how to read them.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/estop-project/estop/bench/chaos"
	"github.com/estop-project/estop/bench/report"
	"github.com/estop-project/estop/pipeline/embedded/sourcetree"
)

func main() {
	child, err := chaos.Child(os.Args[1:])
	if !child {
		err = run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}

var (
	// errViolations says that a promise was broken; the output has which.
	errViolations = errors.New("there are violations")
	errUnseen     = errors.New("the planted bug was not found")
)

// campaigns is what the flags ask for.
type campaigns struct {
	root    string
	seeds   []uint64
	span    time.Duration
	kill    time.Duration
	planted bool
	options chaos.Options
	dir     string
}

func run() error {
	seeds := flag.String("seeds", "1", "seeds, separated by commas; each is a campaign")
	minutes := flag.Float64("minutes", 2, "how long the faults of a campaign go on")
	kill := flag.Duration("kill", 0, "only kill -9 detect processes, so often")
	planted := flag.Bool("planted", false, "plant a bug in estop, which must be found; no results are written")
	binary := flag.String("estop", "bin/estop", "the binary of estop")
	out := flag.String("out", "bench/results", "folder of the results")
	name := flag.String("name", "", "name of the results; empty: chaos, and chaos-kill with -kill")
	rate := flag.Int("rate", 100, "honest calls a second")
	breaches := flag.Int("breaches", 60, "breaches a minute")
	dir := flag.String("dir", "", "keep all data and logs in this folder; empty: a temporary one")
	plan := flag.Bool("plan", false, "print the faults of the seeds and run nothing")
	flag.Parse()
	root, err := sourcetree.Root()
	if err != nil {
		return err
	}
	c := &campaigns{
		root: root, span: time.Duration(*minutes * float64(time.Minute)).Round(time.Second), kill: *kill, planted: *planted, dir: *dir,
		options: chaos.Options{Estop: absolute(root, *binary), Rate: *rate, Breaches: *breaches, Journal: slog.New(slog.NewTextHandler(os.Stderr, nil))},
	}
	for text := range strings.SplitSeq(*seeds, ",") {
		seed, err := strconv.ParseUint(strings.TrimSpace(text), 10, 64)
		if err != nil {
			return fmt.Errorf("cannot read seed %q: %w", text, err)
		}
		c.seeds = append(c.seeds, seed)
	}
	if c.planted {
		c.span = chaos.TrapSpan
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	for _, seed := range c.seeds {
		fmt.Printf("seed %d, %v:\n", seed, c.span)
		for _, f := range c.faults(seed) {
			fmt.Println(" ", f)
		}
	}
	switch {
	case *plan:
		return nil
	case c.planted:
		return c.seek(ctx)
	}
	return c.measure(ctx, absolute(root, *out), cmp.Or(*name, c.name()))
}

// faults are those of a seed.
func (c *campaigns) faults(seed uint64) []chaos.Fault {
	switch {
	case c.planted:
		return chaos.Trap()
	case c.kill > 0:
		return chaos.Killing(c.kill, c.span)
	}
	return chaos.Schedule(seed, c.span)
}

// campaign runs the campaign of one seed.
func (c *campaigns) campaign(ctx context.Context, seed uint64) (*chaos.Outcome, error) {
	o := c.options
	o.Seed, o.Span, o.Faults = seed, c.span, c.faults(seed)
	if c.dir != "" {
		o.Dir = filepath.Join(c.dir, fmt.Sprint("seed-", seed))
	}
	outcome, err := chaos.Run(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("seed %d: %w", seed, err)
	}
	for _, v := range outcome.Violations {
		fmt.Println("VIOLATION", v)
	}
	fmt.Printf("seed %d: %d violations\n", seed, len(outcome.Violations))
	return outcome, nil
}

// measure runs the campaigns and writes the results.
func (c *campaigns) measure(ctx context.Context, dir, name string) error {
	results := report.New(c.root, "Faults", c.seeds[0], time.Now())
	results.Manual = "docs/chaos.md"
	violations := 0
	for _, seed := range c.seeds {
		outcome, err := c.campaign(ctx, seed)
		if err != nil {
			return err
		}
		violations += len(outcome.Violations)
		outcome.Report(results, c.set(seed), c.command(seed), c.late())
	}
	results.Note("Servers: Apache Kafka (3 brokers, KRaft), nats-server (3 servers, JetStream), ClickHouse (the embedded engine), each a process of its own on one machine; estop: detect and archive twice, acks once.")
	if err := results.Text(os.Stdout, report.Style{}); err != nil {
		return err
	}
	if err := results.Write(dir, name); err != nil {
		return err
	}
	if violations > 0 {
		return errViolations
	}
	return nil
}

// seek runs estop with a planted bug, which the checker must find.
func (c *campaigns) seek(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "estop-planted-")
	if err != nil {
		return fmt.Errorf("cannot make a folder for the planted bug: %w", err)
	}
	defer os.RemoveAll(dir)
	if c.options.Estop, err = chaos.BuildPlanted(ctx, c.root, dir); err != nil {
		return err
	}
	outcome, err := c.campaign(ctx, c.seeds[0])
	if err != nil {
		return err
	}
	if !outcome.Trapped() {
		return errUnseen
	}
	fmt.Println("the planted bug was found")
	return nil
}

// late is how long a kill may take while nothing but detect processes dies.
func (c *campaigns) late() report.Goal {
	if c.kill > 0 {
		return report.AtMost(2000)
	}
	return report.Goal{}
}

// name is that of the results.
func (c *campaigns) name() string {
	if c.kill > 0 {
		return "chaos-kill"
	}
	return "chaos"
}

// set names a campaign in the report.
func (c *campaigns) set(seed uint64) string {
	if c.kill > 0 {
		return fmt.Sprintf("Seed %d: kill -9 of a detect process every %v for %v", seed, c.kill, c.span)
	}
	return fmt.Sprintf("Seed %d: all faults for %v", seed, c.span)
}

// command is the campaign as one would type it.
func (c *campaigns) command(seed uint64) string {
	line := fmt.Sprintf("make chaos SEED=%d MINUTES=%g", seed, c.span.Minutes())
	if c.kill > 0 {
		line += fmt.Sprintf(" KILL=%v", c.kill)
	}
	return line
}

func absolute(root, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(root, path)
}
