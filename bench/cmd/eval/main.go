// Command eval measures how well the built-in detectors judge and writes
// bench/results/detection.json and detection.md.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/estop-project/estop/bench/eval"
	"github.com/estop-project/estop/bench/report"
	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/detector/catalog"
)

// seed is that of the fleet that is attacked.
const seed = 1

func main() {
	out := flag.String("out", "bench/results", "folder of the results")
	data := flag.String("data", os.Getenv("ESTOP_DATA"), "folder of the labelled sets (default: ESTOP_DATA, else ../shared/data)")
	flag.Parse()
	if *data == "" {
		*data = filepath.Join("..", "shared", "data")
	}
	if err := run(*out, *data); err != nil {
		fmt.Fprintln(os.Stderr, "eval:", err)
		os.Exit(1)
	}
}

func run(out, data string) error {
	set, errs := detector.Load(catalog.FS)
	if err := errs.Err(); err != nil {
		return err
	}
	r := report.New(".", "Detection", seed, time.Now())
	r.Note("Figures of the synthetic fleet hold for synthetic agents. What the fleet does not model is told in bench/fleet.")
	eval.Honest(r, set.Plan, []uint64{1, 2, 3}, 14, []float64{50, 500})
	if err := eval.Attacked(r, set.Plan, seed); err != nil {
		return err
	}
	if err := world(r, set.Plan, data); err != nil {
		return err
	}
	for _, f := range r.Figures {
		fmt.Printf("%8.3g %-22s %v  %s\n", f.Value, f.Unit, f.OK, f.Name)
	}
	return r.Write(out, "detection")
}

// world measures on the sets that are at hand and notes the ones that are not.
func world(r *report.Report, plan *detector.Plan, data string) error {
	err := eval.CloudTrail(r, plan, filepath.Join(data, "cloudtrail", "raw", "invictus.cloudtrail.jsonl.gz"), filepath.Join(data, "cloudtrail", "invictus.jsonl.gz"))
	if err == nil {
		err = eval.Benign(r, plan, filepath.Join(data, "benign_agents", "tau_airline.jsonl.gz"), filepath.Join(data, "benign_agents", "luna.jsonl.gz"))
	}
	if errors.Is(err, fs.ErrNotExist) {
		r.Note("The labelled sets of the world were not at hand (%v).", err)
		return nil
	}
	return err
}
