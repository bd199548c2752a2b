package changes

import (
	"fmt"
	"net"
	"os/user"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline"
)

// brief is what a record says, in one line.
func brief(all []detector.ChangeRecord) []string {
	var lines []string
	for _, c := range all {
		var keys []string
		for _, k := range c.Keys {
			keys = append(keys, k.Key)
		}
		lines = append(lines, fmt.Sprintf("%s %s %d %s %s→%s %v", c.Key(), c.Kind, c.Number, c.File, c.ModeBefore, c.ModeNow, keys))
	}
	return lines
}

func (r *rig) want(lines ...string) []detector.ChangeRecord {
	r.t.Helper()
	all := r.all()
	if diff := cmp.Diff(lines, brief(all)); diff != "" {
		r.t.Fatalf("recorded: -want +got\n%s", diff)
	}
	return all
}

// value returns the value of a counter or gauge.
func value(t *testing.T, m prometheus.Metric) float64 {
	t.Helper()
	var out dto.Metric
	if err := m.Write(&out); err != nil {
		t.Fatal(err)
	}
	return out.GetCounter().GetValue() + out.GetGauge().GetValue()
}

func TestAnEditIsOneRecordOfWhatWasAndWhatIs(t *testing.T) {
	r := newRig(t)
	r.write("a.yaml", text("a", "alert"))
	r.write("b.yaml", text("b", "alert"))
	p := r.start("host").reload().recorded()
	before := r.load()
	r.write("a.yaml", text("a", "enforce"))
	edited := time.Now()
	p.reload().recorded()
	now := r.load()
	all := r.want("a added 1 own/a.yaml →alert []", "b added 1 own/b.yaml →alert []", "a changed 2 own/a.yaml alert→enforce [mode response.action response.scope response.for]")
	got := all[2]
	if got.VersionBefore != before.Plan.Detectors[0].Version || got.VersionNow != now.Plan.Detectors[0].Version || got.Node != "host" || got.Cut {
		t.Errorf("%+v", got)
	}
	if late := got.Time.Sub(edited); late < 0 || late > time.Minute {
		t.Errorf("dated %v after the edit", late)
	}
	want := strings.Join([]string{
		"diff own/a.yaml own/a.yaml", "--- own/a.yaml", "+++ own/a.yaml", "@@ -1,4 +1,5 @@",
		" id: a", " title: a test", "-mode: alert", "+mode: enforce", " when: count(calls, 10s) > 5", "+response: {action: revoke, scope: agent, for: 15m}", "",
	}, "\n")
	if diff := cmp.Diff(want, got.Diff); diff != "" {
		t.Errorf("the difference: -want +got\n%s", diff)
	}
	if got.Text+"\n" != text("a", "enforce") {
		t.Errorf("the text is %q", got.Text)
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	if want := (detector.Author{By: me.Username, From: detector.FromOwner}); got.Author != want {
		t.Errorf("by %+v, want %+v", got.Author, want)
	}
}

func TestARestartRecordsWhatChangedMeanwhileAndNothingElse(t *testing.T) {
	r := newRig(t)
	for _, name := range []string{"a", "b", "c"} {
		r.write(name+".yaml", text(name, "alert"))
	}
	r.start("one").reload().recorded().stop()
	added := []string{"a added 1 own/a.yaml →alert []", "b added 1 own/b.yaml →alert []", "c added 1 own/c.yaml →alert []"}
	r.start("two").reload().recorded().stop()
	r.want(added...)

	r.write("a.yaml", text("a", "observe"))
	r.write("b.yaml", "")
	r.write("canary/c.yaml", text("c", "enforce"))
	r.start("three").reload().recorded().stop()
	changed := append(added, "a changed 2 own/a.yaml alert→observe [mode]", "b removed 2 own/b.yaml alert→ []", "canary/c added 1 own/canary/c.yaml →observe []")
	r.want(changed...)

	r.broker.Stop() // what was recorded outlives Kafka's own restart
	r.startKafka(0)
	r.start("four").reload().recorded().stop()
	r.want(changed...)

	r.write("b.yaml", text("b", "alert"))
	r.start("five").reload().recorded().stop()
	r.want(append(changed, "b added 3 own/b.yaml →alert []")...)
}

func TestProcessesThatSeeTheSameChangesGiveThemTheSameIDs(t *testing.T) {
	r := newRig(t)
	r.write("a.yaml", text("a", "alert"))
	one, two := r.start("one").reload(), r.start("two").reload()
	one.recorded()
	two.recorded()
	for _, mode := range []string{"observe", "alert", "observe"} {
		r.write("a.yaml", text("a", mode))
		one.reload()
		two.reload()
		one.recorded()
		two.recorded()
	}
	r.write("a.yaml", text("a", "alert"))
	one.reload().recorded() // the other one looks later
	r.write("a.yaml", text("a", "enforce"))
	one.reload().recorded()
	two.reload().recorded()
	ids := map[string]string{}
	var last string
	for _, c := range r.all() {
		id := fmt.Sprint(c.Number, c.ModeBefore, c.ModeNow)
		if had, ok := ids[c.ID]; ok && had != id {
			t.Errorf("change %s is %s and %s", c.ID, had, id)
		}
		ids[c.ID], last = id, id
	}
	if len(ids) != 6 || last != "6alertenforce" {
		t.Errorf("%d changes, want 6; the last is %s\n%v", len(ids), last, ids)
	}
}

func TestAFileThatMovesAndAListAreChangesToo(t *testing.T) {
	r := newRig(t)
	listed := "id: a\ntitle: a test\nlists: {known: known.txt}\nmatch: {agent|in: $known}\nwhen: count(calls, 10s) > 5\n"
	r.write("a.yaml", listed)
	r.write("known.txt", "x\ny\n")
	p := r.start("host").reload().recorded()
	r.write("known.txt", "# only a comment\nx\ny\n")
	p.reload().recorded()
	r.write("known.txt", "# only a comment\nx\nz\n")
	p.reload().recorded()
	r.write("a.yaml", "")
	r.write("sub/a.yaml", listed)
	r.write("sub/known.txt", "# only a comment\nx\nz\n")
	p.reload().recorded()
	all := r.want("a added 1 own/a.yaml →observe []", "a changed 2 own/a.yaml observe→observe [known.txt]", "a changed 3 own/sub/a.yaml observe→observe [file]")
	if d := all[1].Diff; !strings.Contains(d, "--- own/known.txt\n") || !strings.Contains(d, "\n-y\n") || !strings.Contains(d, "\n+z\n") {
		t.Errorf("the difference of the list is\n%s", d)
	}
	if all[1].From != detector.FromOwner || all[1].VersionBefore == all[1].VersionNow {
		t.Errorf("%+v", all[1])
	}
}

func TestWhileKafkaIsAwayChangesWait(t *testing.T) {
	r := newRig(t)
	_, text1, err := net.SplitHostPort(r.broker.Addrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(text1)
	if err != nil {
		t.Fatal(err)
	}
	r.write("a.yaml", text("a", "alert"))
	p := r.start("host").reload().recorded()
	r.broker.Stop()
	for _, mode := range []string{"observe", "enforce"} {
		r.write("a.yaml", text("a", mode))
		began := time.Now()
		p.reload()
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("noting a change took %v", took)
		}
	}
	for end := time.Now().Add(30 * time.Second); value(t, p.metrics.retries) == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("no attempt has failed")
		}
	}
	if n := value(t, p.metrics.waiting); n != 2 {
		t.Errorf("%v wait, want 2", n)
	}
	r.startKafka(port)
	p.recorded()
	r.want("a added 1 own/a.yaml →alert []", "a changed 2 own/a.yaml alert→observe [mode]",
		"a changed 3 own/a.yaml observe→enforce [mode response.action response.scope response.for]")
	if n := value(t, p.metrics.recorded); n != 3 {
		t.Errorf("%v are counted, want 3", n)
	}
}

func TestWhatWaitsIsBoundedAndTheLastStateIsNotLost(t *testing.T) {
	r := newRig(t)
	rec := New(Options{Kafka: r.seeds, Folders: Folders{Dir: r.path(".")}})
	for i := range 3 * maxWaiting {
		r.write("a.yaml", text("a", "alert")+fmt.Sprintf("description: number %d\n", i))
		rec.Note(r.load(), time.Now())
	}
	if len(rec.waiting) != maxWaiting {
		t.Errorf("%d wait", len(rec.waiting))
	}
	if last := rec.waiting[maxWaiting-1].all["a"]; !strings.Contains(last.doc.Text, fmt.Sprint("number ", 3*maxWaiting-1)) {
		t.Errorf("the last that waits is %q", last.doc.Text)
	}
}

func TestWhatIsNoChangeInTheTopicIsPassedOver(t *testing.T) {
	r := newRig(t)
	cl, err := kgo.NewClient(r.seeds...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for _, value := range []string{"", "{", `{"detector":7}`, `{"detector":"","kind":"added"}`, "null"} {
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: pipeline.TopicChanges, Key: []byte("k"), Value: []byte(value)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	r.write("a.yaml", text("a", "alert"))
	r.start("host").reload().recorded().stop()
	r.start("host").reload().recorded().stop()
	if n := len(r.records()); n != 6 {
		t.Errorf("%d records, want the 5 that were there and one", n)
	}
}

func TestALongDetectorIsCut(t *testing.T) {
	long := state{id: "a", file: "own/a.yaml", there: true, version: "1", doc: detector.Document{Text: "id: a\n"}}
	var keys []string
	for i := range 2 * maxKeys {
		keys = append(keys, fmt.Sprintf("k%d: %s", i, strings.Repeat("x", 2*maxValue)))
	}
	longer := long
	longer.version, longer.doc.Text = "2", "id: a\n"+strings.Join(keys, "\n")
	c := change(long, longer)
	if !c.Cut || len(c.Keys) != maxKeys || len(c.Keys[0].Now) > maxValue+len("…") || len(c.Diff) > maxText || !strings.HasSuffix(c.Diff, "\n") {
		t.Errorf("cut %v, %d keys, the first now %d bytes, difference %d bytes", c.Cut, len(c.Keys), len(c.Keys[0].Now), len(c.Diff))
	}
}
