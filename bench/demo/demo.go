// Package demo tells the story of estop with everything real but the agents: it starts the
// binary with the embedded engines, puts a simulated fleet to work behind enforcement
// points, lets three agents go bad, kills the node in the middle, and checks each claim that
// it makes.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/estop-project/estop/bench/fleet"
	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/node"
)

// Options say how the demo runs.
type Options struct {
	Binary     string // of estop
	Dir        string // for the data; empty: a temporary folder that is removed at the end
	CloudTrail string // file or folder of real CloudTrail records; empty: records that the demo makes
	LibCHDB    string
	Seed       uint64
	Out        io.Writer
}

// ErrUntrue says that a claim of the demo did not hold.
var ErrUntrue = errors.New("a claim of the demo is untrue")

// bound is what the demo claims for the time from append to the first denied call.
const bound = 50 * time.Millisecond

// historyDays is how much simulated past the agents' baselines are learned from.
// It is longer than every warm-up by a week, so that the detectors have a past to judge by.
const historyDays = 35

// historyRate is how many calls an agent began in a day of it: few, so that the past is soon told, and
// enough for warm-ups of 200 calls for each agent and its identities.
const historyRate = 25

// liveRate is how many calls an agent begins in a day, were it always as now.
const liveRate = 4_000

// Run tells the story. It returns ErrUntrue if a claim does not hold.
func Run(ctx context.Context, o Options) error {
	d := &demo{Options: o, story: &story{out: o.Out, start: time.Now()}}
	if d.Dir == "" {
		dir, err := os.MkdirTemp("", "estop-demo-")
		if err != nil {
			return fmt.Errorf("cannot make a folder for the demo: %w", err)
		}
		defer os.RemoveAll(dir)
		d.Dir = dir
	}
	if err := os.MkdirAll(d.Dir, 0o700); err != nil {
		return fmt.Errorf("cannot make the demo's folder: %w", err)
	}
	defer d.close()
	for _, act := range []struct {
		title string
		play  func(context.Context) error
	}{
		{"The engines start", d.engines},
		{"200 agents of 5 tenants have worked for five weeks", d.history},
		{"Real AWS CloudTrail records", d.cloudtrail},
		{"The fleet works behind its enforcement points", d.work},
		{"Three agents go bad", d.attacks},
		{"An operator kills and releases", d.operator},
		{"kill -9, and a new start", d.crash},
		{"What ClickHouse holds", d.archive},
	} {
		d.story.act(act.title)
		if err := act.play(ctx); err != nil {
			return fmt.Errorf("%s: %w", act.title, err)
		}
	}
	return d.story.verdict(d)
}

// demo is a running story.
type demo struct {
	Options
	story  *story
	node   *process
	config node.Config
	fleet  *fleet.Fleet
	now    time.Time // where the history ends and the present begins
	gates  *gates
	watch  *watcher
	bad    []badAgent
	// suspected are the detections of the past, all of them false.
	suspected []detector.Detection
	stop      func() // ends the honest traffic
	counts    map[string]int
}

func (d *demo) close() {
	if d.stop != nil {
		d.stop()
	}
	if d.gates != nil {
		d.gates.close()
	}
	if d.watch != nil {
		d.watch.close()
	}
	if d.node != nil {
		d.node.stop()
	}
}
