package backtest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/estop-project/estop/bench/fleet"
	"github.com/estop-project/estop/pipeline/shard"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// However often it settles, a runner finds the same, and so does one that goes on from what it wrote.
func TestARunnerGoesOnFromACheckpoint(t *testing.T) {
	opt := fleet.World(3)
	opt.Agents, opt.Tenants, opt.Rate, opt.Newcomers = 12, 2, 200, 0
	f := fleet.New(opt)
	half := fleet.DefaultStart.Add(3 * 24 * time.Hour)
	a, err := f.Attack(fleet.Exfiltration, fleet.High, f.Agents()[0].Name, half.Add(10*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	plan := catalogue(t, 24*time.Hour)
	straight, settling := NewRunner(plan, shard.Options{}), NewRunner(plan, shard.Options{})
	var resumed *Runner
	var cp Checkpoint
	var want, got []shard.Detected
	var c telemetry.Call
	n := 0
	for call := range f.Calls(fleet.DefaultStart, half.Add(11*time.Hour), a) {
		call.Telemetry(&c)
		found := straight.Call(&c)
		if call.Time.Before(half) {
			if n++; n%100 == 0 {
				settling.Settle(&cp)
			}
			settling.Call(&c)
			continue
		}
		if resumed == nil {
			settling.Settle(&cp)
			if resumed, err = Resume(plan, shard.Options{}, &cp); err != nil {
				t.Fatal(err)
			}
		}
		want = append(want, found...)
		got = append(got, resumed.Call(&c)...)
	}
	if diff := cmp.Diff(want, got); len(want) == 0 || diff != "" {
		t.Errorf("%d detections (-straight on +from a checkpoint):\n%s", len(want), diff)
	}
}
