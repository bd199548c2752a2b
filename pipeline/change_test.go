package pipeline_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/estop-project/estop/pipeline/node"
	"github.com/estop-project/estop/pipeline/rig"
)

func TestAnEditIsLiveWithinASecondAndABrokenOneIsToldEverywhere(t *testing.T) {
	binary, dir := rig.Build(t), folder(t, map[string]string{"loop.yaml": loop("loop", "observe"), "other.yaml": loop("other", "observe")})
	up := rig.Up(t, binary, "--clickhouse.libchdb", filepath.Join(t.TempDir(), "libchdb.so"), "--detectors.catalog=false",
		"--detectors.dir", dir, "--http.addr", "127.0.0.1:0")
	r := up.Rig()
	g := r.Guard("gate-1")
	status := func(args ...string) string {
		out, _ := exec.Command(binary, append([]string{"status", "--dir", up.Dir}, args...)...).Output() // ClickHouse is not there: exit code 1
		return string(out)
	}
	running := func() map[string]node.RunningDetector {
		var s node.Status
		if err := json.Unmarshal([]byte(status("--json")), &s); err != nil || s.Detectors == nil {
			t.Fatalf("status: %v, detectors %v", err, s.Detectors)
		}
		all := map[string]node.RunningDetector{}
		for _, d := range s.Detectors.Running {
			all[d.File] = d
		}
		return all
	}
	refused := func() string {
		resp, err := http.Get("http://" + up.Config().HTTP.Addr + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(b), "\nestop_detect_detector_files_refused ")
		value, _, _ := strings.Cut(rest, "\n")
		return value
	}
	// replace does as editors do: nobody sees half of a file.
	replace := func(name, text string) {
		t.Helper()
		temporary := filepath.Join(dir, ".new")
		for _, err := range []error{os.WriteFile(temporary, []byte(text), 0o600), os.Rename(temporary, filepath.Join(dir, name))} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	before := running()
	replace("loop.yaml", loop("loop", "enforce"))
	edited := time.Now()
	// Agents that break the detector one after the other, until one is denied.
	took := time.Duration(0)
	for i := 0; took == 0; i++ {
		agent := fmt.Sprint("bad-", i)
		r.Send(loopCalls(agent, time.Now())...)
		for end := time.Now().Add(50 * time.Millisecond); time.Now().Before(end) && took == 0; time.Sleep(time.Millisecond) {
			if g.Check(guardCall(agent)).Revocation != nil {
				took = time.Since(edited)
			}
		}
		if time.Since(edited) > time.Minute {
			t.Fatal("the edit is never live")
		}
	}
	t.Logf("%v from the edit to the first denial by it", took.Round(time.Millisecond))
	if took > slower*time.Second {
		t.Errorf("%v from the edit to the first denial", took)
	}
	after := running()
	if was, is := before["own/loop.yaml"], after["own/loop.yaml"]; is.Version == was.Version || is.Mode != "enforce" || !is.Since.After(was.Since) {
		t.Errorf("before %+v, after %+v", was, is)
	}
	if after["own/other.yaml"] != before["own/other.yaml"] {
		t.Errorf("what nobody edited changed from %+v to %+v", before["own/other.yaml"], after["own/other.yaml"])
	}
	if got := refused(); got != "0" {
		t.Errorf("%q files are refused", got)
	}

	replace("loop.yaml", "id: loop\ntitle: broken\nwhen: count(calls, 10s) >\n")
	rig.Await(t, time.Minute, func() error {
		if refused() != "1" {
			return errors.New("the metric knows of no refused file")
		}
		return nil
	})
	rig.Await(t, time.Minute, func() error { // what a process writes is read a little later
		if n := up.Journal.Count("level=ERROR", "refused", "own/loop.yaml:3:"); n != 1 {
			return fmt.Errorf("the log tells %d times of the mistake and its place", n)
		}
		return nil
	})
	if text := status(); !strings.Contains(text, "own/loop.yaml:3:") || !strings.Contains(text, after["own/loop.yaml"].Version) {
		t.Errorf("status\n%s", text)
	}
	if is := running()["own/loop.yaml"]; is != after["own/loop.yaml"] {
		t.Errorf("%+v runs, want %+v", is, after["own/loop.yaml"])
	}
	r.Send(loopCalls("still-stopped", time.Now())...)
	awaitDenied(t, g, "still-stopped")

	if err := os.Mkdir(filepath.Join(dir, "canary"), 0o700); err != nil {
		t.Fatal(err)
	}
	replace("loop.yaml", loop("loop", "observe"))
	replace("canary/loop.yaml", loop("loop", "enforce"))
	rig.Await(t, time.Minute, func() error {
		if !strings.Contains(status(), "canary") || refused() != "0" {
			return errors.New("no canary runs")
		}
		return nil
	})
	r.Send(loopCalls("tried", time.Now())...)
	r.Judged()
	fired := map[string]int{}
	for _, d := range r.Detections() {
		if d.Agent == "tried" && d.Detector == "loop" {
			fired[d.Key()+"/"+d.Mode+"/"+d.Revocation]++
		}
	}
	if len(fired) != 2 || fired["loop/observe/"] != 1 || fired["canary/loop/observe/"] != 1 {
		t.Errorf("fired %v, want the live detector and its canary, neither of which stops anybody", fired)
	}
}
