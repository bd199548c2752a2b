package notify

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/revoke"
)

func TestEachEventComesWithItsIDAndTheOffsetFollows(t *testing.T) {
	r, to := newRig(t), newReceiver(t, nil)
	n, _ := r.start(mustLoad(t, "sinks:\n"+hook("hook", to.URL, fast), nil))
	r.produce(pipeline.TopicDetections, found("d1", "acme", "bot"))
	r.produce(pipeline.TopicRevocations, stopped("d1", "acme", "bot"))
	release := stopped("r1", "acme", "bot")
	release.Action, release.Releases = revoke.Release, "d1"
	r.produce(pipeline.TopicRevocations, release)
	r.produce(pipeline.TopicDecisions, revoke.Decision{Verdict: revoke.Held, At: noon, Order: stopped("d2", "acme", "bot").Revocation})
	to.await(t, 4)
	ids := to.ids()
	slices.Sort(ids)
	if diff := cmp.Diff([]string{"decision-d2-held", "detection-d1", "release-r1", "revocation-d1"}, ids); diff != "" {
		t.Error(diff)
	}
	want := map[string]int64{pipeline.TopicDetections: 1, pipeline.TopicRevocations: 2, pipeline.TopicDecisions: 1}
	r.await("commit", func() bool { return cmp.Equal(want, r.offsets("hook")) })
	if got := number(t, n.metrics.sent.WithLabelValues("hook")); got != 4 {
		t.Errorf("%v events are counted as sent", got)
	}
	if got := number(t, n.metrics.seconds.WithLabelValues("hook").(prometheus.Metric)); got != 4 {
		t.Errorf("of %v events is known how long they took", got)
	}
	for _, q := range to.all() {
		if bytes.Contains(q.body, []byte("the.guards.token")) {
			t.Errorf("the token for guards went out: %s", q.body)
		}
	}
}

func TestWhatFailsIsTriedAgainWithTheSameIDAndInTheOrderOfItsTenant(t *testing.T) {
	r := newRig(t)
	to := newReceiver(t, func(n int, _ request) int {
		if n%3 != 0 { // two of three attempts fail
			return http.StatusServiceUnavailable
		}
		return http.StatusOK
	})
	n, _ := r.start(mustLoad(t, "sinks:\n"+hook("hook", to.URL, fast), nil))
	const each = 20
	for i := range each {
		for _, tenant := range []string{"acme", "beta", "gamma"} {
			r.produce(pipeline.TopicDetections, found(fmt.Sprintf("%s-%02d", tenant, i), tenant, "bot"))
		}
	}
	r.await("commit", func() bool { return r.offsets("hook")[pipeline.TopicDetections] == 3*each })
	for _, tenant := range []string{"acme", "beta", "gamma"} {
		var came []string
		for _, id := range to.ids() {
			if strings.HasPrefix(id, "detection-"+tenant) {
				came = append(came, id)
			}
		}
		if !slices.IsSorted(came) || len(slices.Compact(came)) != each {
			t.Errorf("of %s came %v", tenant, came)
		}
	}
	failed, retries := number(t, n.metrics.failed.WithLabelValues("hook")), number(t, n.metrics.retries.WithLabelValues("hook"))
	if total := float64(len(to.all())); failed != total-3*each || retries != failed {
		t.Errorf("%v attempts: %v failed, %v were followed by another", total, failed, retries)
	}
}

func TestAReceiverThatAsksForTimeGetsIt(t *testing.T) {
	r := newRig(t)
	to := newReceiver(t, func(n int, _ request) int {
		if n == 1 {
			return http.StatusTooManyRequests
		}
		return http.StatusOK
	})
	to.header.Set("Retry-After", "1")
	r.start(mustLoad(t, "sinks:\n"+hook("hook", to.URL, fast), nil))
	r.produce(pipeline.TopicDetections, found("d1", "acme", "bot"))
	got := to.await(t, 2)
	if waited := got[1].at.Sub(got[0].at); waited < time.Second {
		t.Errorf("it was asked again after %v", waited)
	}
}

func TestWhatIsGivenUpIsADeadLetterAndTheNextEventGoesOn(t *testing.T) {
	r := newRig(t)
	var healthy atomic.Bool
	to := newReceiver(t, func(_ int, q request) int {
		switch {
		case healthy.Load():
			return http.StatusOK
		case q.id == "detection-never":
			return http.StatusServiceUnavailable
		case q.id == "detection-wrong":
			return http.StatusBadRequest
		}
		return http.StatusOK
	})
	to.body = "no\nsuch \x1b[31mfield"
	f := mustLoad(t, "sinks:\n"+hook("hook", to.URL, "    retry: {first: 1ms, longest: 20ms, for: 200ms}\n"), nil)
	n, _ := r.start(f)
	r.produce(pipeline.TopicDetections, found("never", "acme", "bot"), found("wrong", "acme", "bot"), found("right", "acme", "bot"))
	if err := r.producer.ProduceSync(t.Context(), &kgo.Record{Topic: pipeline.TopicDetections, Value: []byte("{broken")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	r.await("commit", func() bool { return r.offsets("hook")[pipeline.TopicDetections] == 4 })

	got := map[string]Letter{}
	for _, l := range r.letters(f.Sinks[0]) {
		got[l.Event] = l
	}
	if l := got["detection-never"]; l.Reason != "answered 503 Service Unavailable: no such [31mfield" || l.Attempts < 3 || l.Sink != "hook" {
		t.Errorf("%+v", l)
	}
	if l := got["detection-wrong"]; l.Reason != "answered 400 Bad Request: no such [31mfield" || l.Attempts != 1 {
		t.Errorf("%+v", l)
	}
	if l := got["unread"]; !strings.Contains(l.Reason, "cannot read the record") || string(l.record.Value) != "{broken" {
		t.Errorf("%+v", l)
	}
	if len(got) != 3 || number(t, n.metrics.deadLetters.WithLabelValues("hook")) != 3 {
		t.Errorf("%d dead letters: %v", len(got), got)
	}

	// A replay stops at the first that is not taken, and the next one begins there.
	short := retryReplay
	retryReplay = Retry{First: time.Millisecond, Longest: time.Millisecond, For: 20 * time.Millisecond}
	defer func() { retryReplay = short }()
	dead := &DeadLetters{Kafka: r.seeds, Sink: f.Sinks[0]}
	first, err := dead.Replay(t.Context())
	if err == nil || first.Sent != 0 {
		t.Errorf("a receiver that is still ill: %+v, %v", first, err)
	}
	healthy.Store(true)
	before := len(to.all())
	if done, err := dead.Replay(t.Context()); err != nil || done != (Replayed{Sent: 2, Unread: 1 - first.Unread}) {
		t.Errorf("%+v, %v", done, err)
	}
	if ids := to.ids()[before:]; !slices.Equal(ids, []string{"detection-never", "detection-wrong"}) {
		t.Errorf("%v were sent again", ids)
	}
	if done, err := dead.Replay(t.Context()); err != nil || done != (Replayed{}) {
		t.Errorf("the same again: %+v, %v", done, err)
	}
	if left := r.letters(nil); len(left) != 3 {
		t.Errorf("Kafka keeps %d letters", len(left))
	}
}

func TestASinkThatHangsHoldsUpNoOther(t *testing.T) {
	r := newRig(t)
	release := make(chan struct{})
	stuck := newReceiver(t, func(int, request) int { <-release; return http.StatusOK })
	defer close(release)
	well := newReceiver(t, nil)
	n, _ := r.start(mustLoad(t, "sinks:\n"+hook("stuck", stuck.URL, "    timeout: 5m\n    lanes: 2\n")+hook("well", well.URL, fast), nil))
	const events = 500 // more than the lanes of the other hold
	var all []any
	for i := range events {
		all = append(all, found(fmt.Sprintf("d%03d", i), fmt.Sprintf("tenant-%d", i%7), "bot"))
	}
	r.produce(pipeline.TopicDetections, all...)
	r.await("commit of the well one", func() bool { return r.offsets("well")[pipeline.TopicDetections] == events })
	if at := r.offsets("stuck")[pipeline.TopicDetections]; at != 0 {
		t.Errorf("the stuck one stands at %d", at)
	}
	// What it holds in memory is bounded: two lanes, what they are sending, and what waits for one of them.
	if got := number(t, n.metrics.waiting.WithLabelValues("stuck")); got < 2 || got > 2*laneLength+3 {
		t.Errorf("%v events of it are in memory", got)
	}
}

func TestATenantWhoseEventsFailHoldsUpNoTenantOfAnotherLane(t *testing.T) {
	r := newRig(t)
	to := newReceiver(t, func(_ int, q request) int {
		if strings.Contains(q.id, "ill") {
			return http.StatusInternalServerError
		}
		return http.StatusOK
	})
	r.start(mustLoad(t, "sinks:\n"+hook("hook", to.URL, "    lanes: 8\n"+fast), nil))
	r.produce(pipeline.TopicDetections, found("ill", "ill", "bot"))
	var others []any
	for i := range 64 {
		others = append(others, found(fmt.Sprint("well-", i), fmt.Sprint("tenant-", i), "bot"))
	}
	r.produce(pipeline.TopicDetections, others...)
	seen := map[string]bool{}
	r.await("events of the others", func() bool {
		for _, id := range to.ids() {
			seen[id] = true
		}
		return len(seen) > 32 // an eighth of them shares the lane
	})
	if at := r.offsets("hook")[pipeline.TopicDetections]; at != 0 {
		t.Errorf("the offset %d is behind an event that nobody has", at)
	}
}

// A process that dies when the receiver has an event and Kafka does not know yet.
func TestAfterACrashBetweenDeliveryAndCommitTheSameIDComesAgain(t *testing.T) {
	r, to := newRig(t), newReceiver(t, nil)
	f := func() *File { return mustLoad(t, "sinks:\n"+hook("hook", to.URL, fast), nil) }
	_, stop := r.start(f())
	var broken atomic.Bool
	broken.Store(true)
	r.cluster.ControlKey(int16(kmsg.OffsetCommit), func(req kmsg.Request) (kmsg.Response, error, bool) {
		r.cluster.KeepControl()
		if !broken.Load() {
			return nil, nil, false
		}
		resp := req.ResponseKind().(*kmsg.OffsetCommitResponse)
		for _, topic := range req.(*kmsg.OffsetCommitRequest).Topics {
			at := kmsg.NewOffsetCommitResponseTopic()
			at.Topic, at.TopicID = topic.Topic, topic.TopicID
			for _, p := range topic.Partitions {
				part := kmsg.NewOffsetCommitResponseTopicPartition()
				part.Partition, part.ErrorCode = p.Partition, kerr.GroupAuthorizationFailed.Code
				at.Partitions = append(at.Partitions, part)
			}
			resp.Topics = append(resp.Topics, at)
		}
		return resp, nil, true
	})
	r.produce(pipeline.TopicDetections, found("d1", "acme", "bot"), found("d2", "acme", "bot"))
	to.await(t, 2)
	r.await("a commit that failed", func() bool { return strings.Contains(r.log.String(), "cannot save how far the sink is") })
	stop()
	broken.Store(false)
	if at := r.offsets("hook")[pipeline.TopicDetections]; at != 0 {
		t.Fatalf("the offset is %d", at)
	}
	r.start(f())
	r.await("commit", func() bool { return r.offsets("hook")[pipeline.TopicDetections] == 2 })
	if diff := cmp.Diff([]string{"detection-d1", "detection-d2", "detection-d1", "detection-d2"}, to.ids()); diff != "" {
		t.Error(diff)
	}
}

func TestANewSinkBeginsWithNowAndAKnownOneWhereItStood(t *testing.T) {
	r, to := newRig(t), newReceiver(t, nil)
	r.produce(pipeline.TopicDetections, found("before", "acme", "bot"))
	f := func() *File { return mustLoad(t, "sinks:\n"+hook("hook", to.URL, fast), nil) }
	_, stop := r.start(f())
	r.produce(pipeline.TopicDetections, found("with", "acme", "bot"))
	to.await(t, 1)
	stop()
	r.produce(pipeline.TopicDetections, found("while-away", "acme", "bot"))
	r.start(f())
	to.await(t, 2)
	if diff := cmp.Diff([]string{"detection-with", "detection-while-away"}, to.ids()); diff != "" {
		t.Error(diff)
	}
}

func TestTwoProcessesShareTheEventsAndOneTakesOver(t *testing.T) {
	r, to := newRig(t), newReceiver(t, nil)
	f := func() *File { return mustLoad(t, "sinks:\n"+hook("hook", to.URL, fast), nil) }
	_, stop := r.start(f())
	r.start(f())
	want := map[string]bool{}
	for i := range 60 {
		id := fmt.Sprintf("d%02d", i)
		want["detection-"+id], want["revocation-"+id] = true, true
		r.produce(pipeline.TopicDetections, found(id, "acme", "bot"))
		r.produce(pipeline.TopicRevocations, stopped(id, "acme", "bot"))
		if i == 30 {
			stop()
		}
	}
	r.await("all events", func() bool {
		got := map[string]bool{}
		for _, id := range to.ids() {
			got[id] = true
		}
		return cmp.Equal(want, got)
	})
}

func TestASinkWhoseFileHasSecretsLogsNoneOfThem(t *testing.T) {
	r := newRig(t)
	to := newReceiver(t, func(int, request) int { return http.StatusForbidden })
	down := newReceiver(t, nil)
	down.Close()
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte("hunter2-in-a-file-of-its-own\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := mustLoad(t, "sinks:\n"+
		"  - {name: chat, type: slack, url: {env: CHAT_URL}, retry: {first: 1ms, for: 50ms}}\n"+
		"  - {name: gone, type: webhook, url: {env: GONE_URL}, secret: {file: "+key+"}, headers: {X-Key: {env: KEY}}, retry: {first: 1ms, for: 50ms}}\n",
		map[string]string{"CHAT_URL": to.URL + "/services/T0/B0/hunter2-in-the-url", "GONE_URL": down.URL + "/hunter2-in-the-url", "KEY": "hunter2-in-a-header"})
	r.start(f)
	r.produce(pipeline.TopicDetections, found("d1", "acme", "bot"))
	r.await("dead letters", func() bool { return len(r.letters(nil)) == 2 })
	if to.all()[0].path != "/services/T0/B0/hunter2-in-the-url" {
		t.Fatalf("it went to %s", to.all()[0].path)
	}
	for _, l := range r.letters(nil) {
		if strings.Contains(l.Reason, "hunter2") {
			t.Errorf("a dead letter says %q", l.Reason)
		}
	}
	if strings.Contains(r.log.String(), "hunter2") {
		t.Errorf("the log says\n%s", r.log)
	}
}
