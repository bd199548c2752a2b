package demo

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/schollz/progressbar/v3"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/bench/cloudtrail"
	"github.com/estop-project/estop/bench/fleet"
	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/pipeline/node"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// engines starts the node.
func (d *demo) engines(ctx context.Context) error {
	start := time.Now()
	var err error
	if d.node, err = d.startNode(ctx); err != nil {
		return err
	}
	d.story.say("'estop up' serves Kafka at %s, NATS at %s, ClickHouse at %s after %.1f s",
		d.config.Kafka.Brokers[0], d.config.NATS.URL, d.config.ClickHouse.Addr, time.Since(start).Seconds())
	d.watch, err = openWatcher(ctx, d.config)
	return err
}

// history sends five weeks of the fleet's work, so that there are baselines to breach.
func (d *demo) history(ctx context.Context) error {
	d.now = time.Now()
	from := d.now.Add(-historyDays * 24 * time.Hour)
	d.fleet = fleet.New(fleet.Options{Seed: d.Seed, Start: from, DayShape: true, Rate: historyRate})
	start := time.Now()
	n, err := d.sendHistory(ctx, from)
	if err != nil {
		return err
	}
	if err := d.awaitDetect(ctx); err != nil {
		return err
	}
	took := time.Since(start)
	d.story.say("%d simulated calls sent, decoded, judged and learned from in %.1f s (%.0f a second)", n, took.Seconds(), float64(n)/took.Seconds())
	return d.checkPast()
}

// sendHistory sends the calls from a time on, and counts them by agent and by identity.
func (d *demo) sendHistory(ctx context.Context, from time.Time) (n int, err error) {
	producer, err := kgo.NewClient(append(pipeline.ProducerOptions(), kgo.SeedBrokers(d.config.Kafka.Brokers...), kgo.ProducerLinger(5*time.Millisecond))...)
	if err != nil {
		return 0, err
	}
	defer producer.Close()
	bar := progress(historyDays*24, "hours of the past")
	d.counts = map[string]int{}
	var failed error
	var c telemetry.Call
	for fc := range d.fleet.Calls(from, d.now) {
		fc.Telemetry(&c)
		producer.Produce(ctx, node.CallRecord(&c, telemetry.JSON, telemetry.AppendJSON(nil, &c)), func(_ *kgo.Record, err error) {
			if err != nil {
				failed = err
			}
		})
		d.counts[fc.Agent]++
		d.counts[fc.Tenant+"/"+fc.Identity]++
		if n++; n%1000 == 0 {
			_ = bar.Set(int(fc.Time.Sub(from).Hours())) // it only shows
		}
	}
	_ = bar.Finish()
	return n, errors.Join(producer.Flush(ctx), failed)
}

// progress shows how far a long step is, on a terminal.
func progress(steps int, what string) *progressbar.ProgressBar {
	return progressbar.NewOptions(steps,
		progressbar.OptionSetWriter(os.Stderr),
		progressbar.OptionSetVisibility(isatty.IsTerminal(os.Stderr.Fd())),
		progressbar.OptionSetDescription(what),
		progressbar.OptionClearOnFinish(),
	)
}

// enforced says whether a detection was answered: what detectors in other modes find stops nobody.
func enforced(x *detector.Detection) bool { return x.Mode == detector.Enforce.String() }

// awaitDetect waits until the detect role has committed all that is in Kafka now: the calls,
// and then what they led to in the exchange; and until the detections of that were read. What
// comes meanwhile does not count.
func (d *demo) awaitDetect(ctx context.Context) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(d.config.Kafka.Brokers...))
	if err != nil {
		return err
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	for _, topic := range []string{pipeline.TopicCalls, pipeline.TopicExchange} {
		ends, err := admin.ListEndOffsets(ctx, topic)
		if err != nil {
			return err
		}
		if err := until(ctx, 2*time.Minute, "all of "+topic+" is judged", func() bool { return committed(ctx, admin, ends) }); err != nil {
			return err
		}
	}
	return d.awaitDetections(ctx)
}

// awaitDetections waits until the watcher has read all detections that are in Kafka now.
func (d *demo) awaitDetections(ctx context.Context) error {
	all, err := d.kept(ctx, pipeline.TopicDetections)
	if err != nil {
		return err
	}
	if err := until(ctx, 10*time.Second, "all detections are read", func() bool {
		n, err := d.watch.progress()
		return err != nil || n >= all
	}); err != nil {
		return err
	}
	_, err = d.watch.progress()
	return err
}

// committed reports whether the detect role has committed these offsets.
func committed(ctx context.Context, admin *kadm.Client, ends kadm.ListedOffsets) bool {
	offsets, err := admin.FetchOffsets(ctx, pipeline.Group)
	if err != nil {
		return false
	}
	all := true
	ends.Each(func(end kadm.ListedOffset) {
		at, ok := offsets.Lookup(end.Topic, end.Partition)
		all = all && (end.Offset == 0 || ok && at.At >= end.Offset)
	})
	return all
}

// cloudtrail replays real records, or records of the demo's own making.
func (d *demo) cloudtrail(ctx context.Context) error {
	files, err := cloudTrailFiles(d.CloudTrail)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		d.story.say("no real records are at hand, so these are synthetic")
		var b bytes.Buffer
		if err := cloudtrail.WriteFile(&b, d.Seed, 2000); err != nil {
			return err
		}
		return d.replay(ctx, "synthetic records", &b)
	}
	for _, path := range files {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		err = d.replay(ctx, filepath.Base(path), f)
		f.Close()
		if err != nil {
			return err
		}
	}
	if err := d.awaitDetect(ctx); err != nil {
		return err
	}
	others := d.watch.detections(func(x *detector.Detection) bool { return !d.ours(x.Tenant) })
	if len(others) == 0 {
		d.story.say("no detection: who is known for less than three weeks is not judged by its own past")
	}
	for _, found := range others {
		d.story.say("%s %s broke %s at its own time %s", red("detection:"), found.Agent, found.Detector, found.Time.Format(time.DateTime))
		d.explain(found)
	}
	return nil
}

func (d *demo) replay(ctx context.Context, name string, r io.Reader) error {
	done, err := node.Replay(ctx, d.config, r, node.ReplayOptions{Name: name}, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	d.story.claim(done.Bad == 0 && done.Calls > 0, "%s: %d records sent in %v, %d of them bad", name, done.Calls, done.Duration.Round(time.Millisecond), done.Bad)
	return nil
}

// cloudTrailFiles lists the record files of a folder, or the one file that path is.
func cloudTrailFiles(path string) ([]string, error) {
	if path == "" {
		return nil, nil
	}
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil || !st.IsDir() {
		return []string{path}, err
	}
	entries, err := os.ReadDir(path)
	var files []string
	for _, e := range entries {
		if strings.Contains(e.Name(), "cloudtrail") && !e.IsDir() {
			files = append(files, filepath.Join(path, e.Name()))
		}
	}
	return files, err
}

// tenants lists the tenants of the fleet.
func (d *demo) tenants() []string {
	var names []string
	for _, a := range d.fleet.Agents() {
		if !slices.Contains(names, a.Tenant) {
			names = append(names, a.Tenant)
		}
	}
	return names
}

// ours reports whether a tenant is one of the fleet's.
func (d *demo) ours(tenant string) bool { return slices.Contains(d.tenants(), tenant) }

// explain says what a detection saw and what was expected.
func (d *demo) explain(found detector.Detection) {
	for _, s := range found.Features {
		if !s.Known {
			continue
		}
		d.story.say("   %s: observed %.4g, expected %.3g (%.3g to %.3g); evidence e^%.1f, alarm at e^%.1f",
			s.Feature, s.Observed, s.Expected, s.Low, s.High, s.LogEvidence, found.LogLevel)
	}
	if found.Reason != "evidence" {
		d.story.say("   hard limit: %s", found.Reason)
	}
}
