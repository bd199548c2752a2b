package chaos

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/estop-project/estop/bench/chaos/check"
	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/pipeline/embedded/sourcetree"
	"github.com/estop-project/estop/pipeline/rig"
	"github.com/estop-project/estop/revoke/guard"
)

var campaignFlag = flag.Bool("campaign", false, "run the test that starts Apache Kafka, which takes minutes")

// TestMain lets this program be the servers of a campaign too.
func TestMain(m *testing.M) {
	if child, err := Child(os.Args[1:]); child {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	rig.Main(m)
}

// carelessly makes the role take an output for safe when it is sent, so that the offsets of its calls are committed
// before Kafka has it.
func carelessly(o *pipeline.Options) {
	o.Kafka = append(o.Kafka, kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite())
}

func TestOutputsThatAreTakenForSafeTooSoonAreMissed(t *testing.T) {
	careful := func(*pipeline.Options) {}
	for name, test := range map[string]struct {
		change func(*pipeline.Options)
		want   []check.Kind
	}{
		"as it is": {careful, nil},
		"planted":  {carelessly, []check.Kind{check.NotDetected, check.NotRevoked}},
	} {
		t.Run(name, func(t *testing.T) {
			h := whileKafkaRefuses(t, test.change)
			var got []check.Kind
			for _, v := range check.Check(*h) {
				t.Log(v)
				got = append(got, v.Kind)
			}
			slices.Sort(got)
			if !slices.Equal(slices.Compact(got), test.want) {
				t.Errorf("kinds of violations %q, want %q", got, test.want)
			}
		})
	}
}

// whileKafkaRefuses lets agents break a detector while Kafka takes no decisions, and returns what came of it: without an
// archive, and with one guard.
func whileKafkaRefuses(t *testing.T, change func(*pipeline.Options)) *check.History {
	broker, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	kafka := &kafkaCluster{addrs: broker.ListenAddrs()}
	r := rig.New(t, rig.Options{Brokers: kafka.addrs, Partitions: 1})
	g := &gate{name: "gate", guard: r.Guard("gate"), now: make([]check.Span, 1)}
	set, errs := detector.Load(detectorFiles())
	if err := errs.Err(); err != nil {
		t.Fatal(err)
	}
	var refusals []*kfake.FaultHandle
	for _, topic := range []string{pipeline.TopicDetections, pipeline.TopicRevocations} {
		refusals = append(refusals, broker.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Err: kerr.NotEnoughReplicas, Count: -1}))
	}
	detect := r.Detect(set.Plan, change)
	h := &check.History{}
	c := &cast{}
	c.deletions(rand.New(rand.NewPCG(1, 1)), 0, 0)
	bad, start := c.suspects[0], time.Now()
	ask := func() guard.Decision { return g.guard.Check(&guard.Call{Tenant: bad.Tenant, Agent: bad.Agent}) }
	var records []*kgo.Record
	for i := range c.calls {
		x := &c.calls[i]
		x.number = i
		records = append(records, rig.Record(x.telemetry(start)))
		h.Appends = append(h.Appends, check.Append{ID: x.id(), Agent: x.key(), Number: i, Acked: true, At: check.Place{Offset: int64(i)}})
	}
	r.SendRecords(records...)
	// The kill does not wait for Kafka.
	rig.Await(t, time.Minute, func() error {
		if v := ask().Verdict; v != guard.Deny {
			return fmt.Errorf("the guard says %v", v)
		}
		return nil
	})
	for _, refusal := range refusals {
		rig.Await(t, time.Minute, func() error {
			if refusal.Hits() == 0 {
				return errors.New("Kafka was not asked to take a decision yet")
			}
			return nil
		})
	}
	seen := time.Now()
	for _, refusal := range refusals {
		refusal.Remove()
	}
	r.Judged()
	detect.Stop()
	g.note(0, bad.Target, time.Now(), ask())
	for _, topic := range []string{pipeline.TopicCalls, pipeline.TopicDetections, pipeline.TopicRevocations} {
		all, err := kafka.records(t.Context(), topic)
		if err != nil {
			t.Fatal(err)
		}
		if err := addDecisions(h, topic, all); err != nil {
			t.Fatal(err)
		}
		if topic == pipeline.TopicCalls {
			h.Topics = append(h.Topics, archived(t, topic, all))
		}
	}
	if h.Reference, err = kafka.reference(t.Context()); err != nil {
		t.Fatal(err)
	}
	first := h.Reference[0]
	h.Stored = []check.Stored{{ID: first.ID, Target: first.Target, Seen: seen, Until: seen.Add(time.Hour)}}
	h.Guards = []check.Guard{g.history(time.Minute)}
	return h
}

// archived is a topic that the archive has as it should.
func archived(t *testing.T, name string, records []*kgo.Record) check.Topic {
	topic := check.Topic{Name: name}
	for _, r := range records {
		id, err := idOf(r)
		if err != nil {
			t.Fatal(err)
		}
		topic.Records = append(topic.Records, check.Row{Place: check.Place{Partition: r.Partition, Offset: r.Offset}, ID: id})
	}
	topic.Rows = topic.Records
	return topic
}

func TestTheBugCanStillBePlanted(t *testing.T) {
	root, err := sourcetree.Root()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := plant(root); err != nil {
		t.Error(err)
	}
}

// The same schedule twice, against the real servers: with the bug it loses decisions, and without it none.
func TestACampaignFindsThePlantedBug(t *testing.T) {
	if !*campaignFlag {
		t.Skip("it takes minutes: go test ./bench/chaos -run Planted -campaign")
	}
	root, err := sourcetree.Root()
	if err != nil {
		t.Fatal(err)
	}
	good := filepath.Join(t.TempDir(), "estop")
	if out, err := exec.Command("go", "build", "-o", good, "github.com/estop-project/estop/cmd/estop").CombinedOutput(); err != nil {
		t.Fatalf("cannot build estop: %v: %s", err, out)
	}
	bad, err := BuildPlanted(t.Context(), root, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, binary := range []string{good, bad} {
		out, err := Run(t.Context(), Options{Seed: 1, Span: TrapSpan, Faults: Trap(), Estop: binary, Journal: slog.New(slog.NewTextHandler(t.Output(), nil))})
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range out.Violations {
			t.Log(v)
		}
		if out.Trapped() != (binary == bad) || binary == good && len(out.Violations) > 0 {
			t.Errorf("%d violations of %s", len(out.Violations), filepath.Base(binary))
		}
	}
}
