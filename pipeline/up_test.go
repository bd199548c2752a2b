package pipeline_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/pipeline/archive"
	"github.com/estop-project/estop/pipeline/embedded/clickhouse/chtest"
	"github.com/estop-project/estop/pipeline/rig"
	"github.com/estop-project/estop/revoke"
)

// folder makes a folder of detectors.
func folder(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		write(t, dir, name, text)
	}
	return dir
}

// write does as editors do: nobody sees half of a file.
func write(t testing.TB, dir, name, text string) {
	t.Helper()
	temporary := filepath.Join(dir, ".new")
	if err := os.WriteFile(temporary, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(temporary, filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

func TestAKillOfTheWholeProcessLosesAndDoublesNothing(t *testing.T) {
	library := chtest.Library(t)
	detectors := loop("loop", "enforce")
	up := rig.Up(t, rig.Build(t), "--clickhouse.libchdb", library, "--detectors.catalog=false",
		"--detectors.dir", folder(t, map[string]string{"loop.yaml": detectors}))
	r := up.Rig()
	g := r.Guard("gate-1")
	stop := load(t, r, 1000)
	agents := 0
	breach := func(n int) {
		for range n {
			for _, c := range loopCalls(fmt.Sprint("bad-", agents), time.Now()) {
				r.Produce(rig.Record(c), func(err error) { t.Errorf("a call is lost: %v", err) })
			}
			agents++
		}
	}
	for round := range 2 {
		breach(100)
		awaitDenied(t, g, fmt.Sprint("bad-", agents-1))
		rig.Await(t, time.Minute, func() error { // until checkpoints lie behind it
			if n := r.Committed(pipeline.Group, pipeline.TopicCalls); n < int64(2000*(round+1)) {
				return fmt.Errorf("%d calls are committed", n)
			}
			return nil
		})
		breach(100) // some of them are judged, some are not
		awaitDenied(t, g, fmt.Sprint("bad-", agents-60))
		up.Kill()
		breach(20) // they wait in the sender
		killed := time.Now()
		up.Start()
		awaitDenied(t, g, fmt.Sprint("bad-", agents-1))
		t.Logf("round %d: %v from the start until a breach behind the crash is denied", round, time.Since(killed).Round(time.Millisecond))
	}
	sent := stop() + agents*breachAt
	r.Judged()
	breaches := onceEach(t, r, rig.Plan(t, detectors))
	if breaches != agents {
		t.Errorf("%d breaches of %d agents", breaches, agents)
	}
	detections := detectionIDs(r.Detections())
	revocations := ids(r.Revocations(), func(rec revoke.Record) string { return rec.ID })
	for id := range detections {
		if revocations[id] == 0 {
			t.Errorf("detection %s has no revocation in Kafka", id)
		}
	}
	seen := map[string]bool{}
	for i := range agents {
		d := awaitDenied(t, g, fmt.Sprint("bad-", i))
		if detections[d.Revocation.ID] == 0 || seen[d.Revocation.ID] {
			t.Errorf("bad-%d is denied by %s, which is no detection's, or another agent's too", i, d.Revocation.ID)
		}
		seen[d.Revocation.ID] = true
	}
	inKafka := ids(r.Records(pipeline.TopicCalls), func(rec *kgo.Record) string { return string(rec.Value) })
	if len(inKafka) != sent {
		t.Errorf("%d different calls in Kafka, %d were sent", len(inKafka), sent)
	}
	onceInClickHouse(t, r, len(r.Records(pipeline.TopicCalls)))
	for view, want := range map[string]int{"detections_once": len(detections), "revocations_once": len(revocations)} {
		if n := r.Number("SELECT count() FROM " + view); n != uint64(want) {
			t.Errorf("%d rows in %s, want %d", n, view, want)
		}
	}
	t.Logf("%d calls, %d breaches, %d records of revocations under %d ids", sent, breaches, len(r.Revocations()), len(revocations))
}

func TestTheEmbeddedClickHouseAnswersNobodyWithoutItsPassword(t *testing.T) {
	up := rig.Up(t, rig.Build(t), "--clickhouse.libchdb", chtest.Library(t))
	c := up.Config().ClickHouse
	ask := func(user, password string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+c.Addr+"/", strings.NewReader("SELECT 1"))
		if err != nil {
			t.Fatal(err)
		}
		if user != "" {
			req.SetBasicAuth(user, password)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	if got := ask(c.User, c.Password); got != http.StatusOK {
		t.Errorf("status %d with the password", got)
	}
	for _, password := range []string{"", "wrong"} {
		if got := ask(c.User, password); got == http.StatusOK {
			t.Errorf("answered to the password %q", password)
		}
	}
	if got := ask("", ""); got == http.StatusOK {
		t.Error("answered to nobody")
	}
}

func TestWithoutLibchdbTheRestRunsAndTheArchiveCatchesUpOnceItIsThere(t *testing.T) {
	library := chtest.Library(t)
	later := filepath.Join(t.TempDir(), "libchdb.so")
	up := rig.Up(t, rig.Build(t), "--clickhouse.libchdb", later, "--detectors.catalog=false",
		"--detectors.dir", folder(t, map[string]string{"loop.yaml": loop("loop", "enforce")}))
	r := up.Rig()
	g := r.Guard("gate-1")
	const agents = 20
	for i := range agents {
		agent := fmt.Sprint("bad-", i)
		r.Send(loopCalls(agent, time.Now())...)
		awaitDenied(t, g, agent)
	}
	r.Judged()
	if n := up.Journal.Count("level=WARN", "its library is missing"); n != 1 {
		t.Errorf("the missing library is told %d times, want once", n)
	}
	if err := os.Symlink(library, later); err != nil {
		t.Fatal(err)
	}
	rig.Await(t, 2*time.Minute, func() error { return r.Lag(archive.DefaultGroup, pipeline.TopicCalls, pipeline.TopicDetections) })
	if n := r.Number("SELECT uniqExact(id) FROM calls"); n != agents*breachAt {
		t.Errorf("%d calls in ClickHouse, want %d", n, agents*breachAt)
	}
	if n := up.Journal.Count("library is there now"); n != 1 {
		t.Errorf("the library's coming is told %d times, want once", n)
	}
}

func TestAFolderOfDetectorsIsReloadedAndABrokenFileKeepsItsOldVersion(t *testing.T) {
	dir := folder(t, map[string]string{"loop.yaml": loop("loop", "observe")})
	nowhere := filepath.Join(t.TempDir(), "libchdb.so")
	up := rig.Up(t, rig.Build(t), "--clickhouse.libchdb", nowhere, "--detectors.catalog=false", "--detectors.dir", dir)
	r := up.Rig()
	g := r.Guard("gate-1")
	reloaded := func(detectors string) {
		t.Helper()
		rig.Await(t, time.Minute, func() error {
			if up.Journal.Count("detectors reloaded", detectors) == 0 {
				return fmt.Errorf("not reloaded with %s", detectors)
			}
			return nil
		})
	}
	r.Send(loopCalls("watched", time.Now())...)
	r.Judged()
	if len(r.Detections()) != 1 || len(r.Revocations()) != 0 {
		t.Errorf("%d detections and %d revocations in mode observe", len(r.Detections()), len(r.Revocations()))
	}
	write(t, dir, "loop.yaml", loop("loop", "enforce"))
	reloaded("detectors=1")
	r.Send(loopCalls("stopped", time.Now())...)
	awaitDenied(t, g, "stopped")

	write(t, dir, "loop.yaml", "id: loop\ntitle: broken\nwhen: count(calls, 10s) >\n")
	write(t, dir, "new.yaml", loop("new", "alert"))
	reloaded("detectors=2")
	told, reloads := up.Journal.Count("level=ERROR", "refused", "loop.yaml"), up.Journal.Count("detectors reloaded")-1
	if told == 0 || told > reloads { // the two files may be seen in two looks; a look at what did not change tells nothing
		t.Errorf("the broken file is told of %d times in %d reloads since", told, reloads)
	}
	r.Send(loopCalls("still-stopped", time.Now())...)
	awaitDenied(t, g, "still-stopped")
	r.Judged()
	fired := map[string]bool{}
	for _, d := range r.Detections() {
		if d.Agent == "still-stopped" {
			fired[d.Detector+"/"+d.Mode] = true
		}
	}
	if len(fired) != 2 || !fired["loop/enforce"] || !fired["new/alert"] {
		t.Errorf("fired %v, want the old version beside the new file", fired)
	}

	for _, name := range []string{"loop.yaml", "new.yaml"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	rig.Await(t, time.Minute, func() error {
		if up.Journal.Count("level=ERROR", "no detector is left") == 0 {
			return errors.New("nobody says that no detector is left")
		}
		return nil
	})
	r.Send(loopCalls("stopped-all-the-same", time.Now())...)
	awaitDenied(t, g, "stopped-all-the-same")
}
