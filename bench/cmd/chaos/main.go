// Command chaos runs campaigns of faults against a whole installation of estop and holds what came of it against
// what estop promises. It writes bench/results/chaos.json and chaos.md. docs/chaos.md tells how to read them.
package main

import (
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

// errViolations says that a promise was broken; the output has which.
var errViolations = errors.New("there are violations")

func run() error {
	seeds := flag.String("seeds", "1", "seeds, separated by commas; each is a campaign")
	minutes := flag.Float64("minutes", 2, "how long the faults of a campaign go on")
	binary := flag.String("estop", "bin/estop", "the binary of estop")
	out := flag.String("out", "bench/results", "folder of the results")
	name := flag.String("name", "chaos", "name of the results")
	rate := flag.Int("rate", 100, "honest calls a second")
	breaches := flag.Int("breaches", 60, "breaches a minute")
	kill := flag.Duration("kill-every", 0, "only kill detect processes, so often")
	dir := flag.String("dir", "", "keep all data and logs in this folder; empty: a temporary one")
	plan := flag.Bool("plan", false, "print the faults of the seeds and run nothing")
	flag.Parse()
	root, err := sourcetree.Root()
	if err != nil {
		return err
	}
	span := time.Duration(*minutes * float64(time.Minute)).Round(time.Second)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var results *report.Report
	violations := 0
	for _, text := range strings.Split(*seeds, ",") {
		seed, err := strconv.ParseUint(strings.TrimSpace(text), 10, 64)
		if err != nil {
			return fmt.Errorf("cannot read seed %q: %w", text, err)
		}
		faults := chaos.Schedule(seed, span)
		if *kill > 0 {
			faults = chaos.Killing(*kill, span)
		}
		fmt.Printf("seed %d, %v:\n", seed, span)
		for _, f := range faults {
			fmt.Println(" ", f)
		}
		if *plan {
			continue
		}
		if results == nil {
			results = report.New(root, "Faults", seed, time.Now())
			results.Manual = "docs/chaos.md"
		}
		o := chaos.Options{
			Seed: seed, Span: span, Estop: absolute(root, *binary), Rate: *rate, Breaches: *breaches, KillEvery: *kill,
			Journal: slog.New(slog.NewTextHandler(os.Stderr, nil)),
		}
		if *dir != "" {
			o.Dir = filepath.Join(*dir, fmt.Sprint("seed-", seed))
		}
		outcome, err := chaos.Run(ctx, o)
		if err != nil {
			return fmt.Errorf("seed %d: %w", seed, err)
		}
		for _, v := range outcome.Violations {
			fmt.Println("VIOLATION", v)
		}
		fmt.Printf("seed %d: %d violations\n", seed, len(outcome.Violations))
		violations += len(outcome.Violations)
		outcome.Report(results, set(seed, span, *kill), command(seed, *minutes, *kill))
	}
	if results == nil {
		return nil
	}
	results.Note("Servers: Apache Kafka (3 brokers, KRaft), nats-server (3 servers, JetStream), ClickHouse (the embedded engine), each a process of its own on one machine; estop: detect and archive twice, acks once.")
	if err := results.Text(os.Stdout, report.Style{}); err != nil {
		return err
	}
	if err := results.Write(absolute(root, *out), *name); err != nil {
		return err
	}
	if violations > 0 {
		return errViolations
	}
	return nil
}

// set names a campaign in the report.
func set(seed uint64, span, kill time.Duration) string {
	if kill > 0 {
		return fmt.Sprintf("Seed %d: kill -9 of a detect process every %v for %v", seed, kill, span)
	}
	return fmt.Sprintf("Seed %d: all faults for %v", seed, span)
}

// command is the campaign as one would type it.
func command(seed uint64, minutes float64, kill time.Duration) string {
	line := fmt.Sprintf("make chaos SEED=%d MINUTES=%g", seed, minutes)
	if kill > 0 {
		line += fmt.Sprintf(" KILL=%v", kill)
	}
	return line
}

func absolute(root, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(root, path)
}
