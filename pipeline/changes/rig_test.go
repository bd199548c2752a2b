package changes

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/pipeline/embedded/kafka"
)

// rig is a Kafka, and a folder that holds detectors in own/.
type rig struct {
	t      *testing.T
	root   string
	broker *kafka.Broker
	dir    string // of the broker
	seeds  []kgo.Opt
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, root: t.TempDir(), dir: t.TempDir()}
	r.startKafka(0)
	cl, err := kgo.NewClient(r.seeds...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if err := pipeline.EnsureTopics(t.Context(), cl, 1, 1); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) startKafka(port int) {
	r.t.Helper()
	broker, err := kafka.Start(kafka.Options{Dir: r.dir, Port: port, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		r.t.Fatal(err)
	}
	r.broker = broker
	r.t.Cleanup(broker.Stop)
	r.seeds = []kgo.Opt{kgo.SeedBrokers(broker.Addrs()...)}
}

// write writes a file below own/; an empty text takes it away.
func (r *rig) write(name, text string) {
	r.t.Helper()
	path := r.path(name)
	if text == "" {
		if err := os.Remove(path); err != nil {
			r.t.Fatal(err)
		}
		return
	}
	for _, err := range []error{os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)} {
		if err != nil {
			r.t.Fatal(err)
		}
	}
}

func (r *rig) path(name string) string { return filepath.Join(r.root, "own", name) }

// load loads what is in the folder now.
func (r *rig) load() *detector.Set {
	r.t.Helper()
	set, errs := detector.Load(os.DirFS(r.root))
	if err := errs.Err(); err != nil {
		r.t.Fatal(err)
	}
	return set
}

// process is a Recorder that runs.
type process struct {
	*Recorder
	r    *rig
	stop func()
}

// start starts a process that has nothing noted yet.
func (r *rig) start(node string) *process {
	r.t.Helper()
	rec := New(Options{
		Kafka: r.seeds, Folders: Folders{Dir: filepath.Join(r.root, "own"), BuiltIn: true, Version: "v1"}, Node: node,
		Log: slog.New(slog.NewTextHandler(r.t.Output(), nil)), Registerer: prometheus.NewRegistry(),
	})
	ctx, cancel := context.WithCancel(r.t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		rec.Run(ctx)
	}()
	p := &process{rec, r, func() { cancel(); <-ended }}
	r.t.Cleanup(p.stop)
	return p
}

// reload notes what is in the folder now.
func (p *process) reload() *process {
	p.Note(p.r.load(), time.Now())
	return p
}

// recorded waits until nothing is left to be recorded.
func (p *process) recorded() *process {
	p.r.t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		if _, left := p.first(); !left {
			return p
		}
		if time.Now().After(end) {
			p.r.t.Fatal("the changes are not recorded")
		}
	}
}

// all returns the records of the topic in their order.
func (r *rig) all() []detector.ChangeRecord {
	r.t.Helper()
	var all []detector.ChangeRecord
	for _, record := range r.records() {
		var c detector.ChangeRecord
		if err := json.Unmarshal(record.Value, &c); err != nil {
			r.t.Fatal(err)
		}
		if string(record.Key) != c.ID {
			r.t.Errorf("the key of change %s is %s", c.ID, record.Key)
		}
		all = append(all, c)
	}
	return all
}

func (r *rig) records() []*kgo.Record {
	r.t.Helper()
	l := &log{opts: r.seeds, warn: slog.New(slog.DiscardHandler)}
	cl, err := l.open(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	cl.Close()
	if l.next[0] == 0 {
		return nil
	}
	if cl, err = kgo.NewClient(append([]kgo.Opt{kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{pipeline.TopicChanges: {0: kgo.NewOffset().AtStart()}})}, r.seeds...)...); err != nil {
		r.t.Fatal(err)
	}
	defer cl.Close()
	var all []*kgo.Record
	for len(all) == 0 || all[len(all)-1].Offset+1 < l.next[0] {
		all = append(all, cl.PollFetches(r.t.Context()).Records()...)
	}
	return all
}

// git runs git in own/ as somebody who has no settings.
func (r *rig) git(args ...string) string {
	r.t.Helper()
	cmd := exec.Command("git", append([]string{"-C", r.path("."), "-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false", "-c", "init.defaultBranch=main"}, args...)...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// text is a detector.
func text(id, mode string) string {
	return "id: " + id + "\ntitle: a test\nmode: " + mode + "\nwhen: count(calls, 10s) > 5\n" +
		map[string]string{"enforce": "response: {action: revoke, scope: agent, for: 15m}\n"}[mode]
}
