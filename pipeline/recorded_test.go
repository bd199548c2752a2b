package pipeline_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline"
	"github.com/estop-project/estop/pipeline/rig"
)

func TestWhoChangedADetectorIsRecordedOnceOverEditsAndKills(t *testing.T) {
	dir := folder(t, map[string]string{"loop.yaml": loop("loop", "observe"), "other.yaml": loop("other", "observe")})
	up := rig.Up(t, rig.Build(t), "--clickhouse.libchdb", filepath.Join(t.TempDir(), "libchdb.so"), "--detectors.catalog=false",
		"--detectors.dir", dir, "--http.addr", "127.0.0.1:0")
	r := up.Rig()
	var want []string
	await := func(more ...string) {
		t.Helper()
		want = append(want, more...)
		rig.Await(t, time.Minute, func() error {
			var got []string
			for _, record := range r.Records(pipeline.TopicChanges) {
				var c detector.ChangeRecord
				if err := json.Unmarshal(record.Value, &c); err != nil {
					t.Fatal(err)
				}
				got = append(got, fmt.Sprintf("%s %s %d %s→%s by %s", c.Detector, c.Kind, c.Number, c.ModeBefore, c.ModeNow, c.From))
				if c.ID == "" || c.Node == "" || c.Time.IsZero() || c.File != "own/"+c.Detector+".yaml" {
					t.Errorf("%+v", c)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				return errors.New("-want +got\n" + diff)
			}
			return nil
		})
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	await("loop added 1 →observe by owner", "other added 1 →observe by owner")
	write("loop.yaml", loop("loop", "enforce"))
	await("loop changed 2 observe→enforce by owner")
	write("loop.yaml", "id: loop\nwrong\n")
	up.Kill()
	write("loop.yaml", loop("loop", "enforce"))
	up.Start()
	write("other.yaml", loop("other", "alert")) // a restart has nothing else to say
	await("other changed 2 observe→alert by owner")
	up.Kill()
	write("loop.yaml", loop("loop", "alert"))
	if err := os.Remove(filepath.Join(dir, "other.yaml")); err != nil {
		t.Fatal(err)
	}
	up.Start()
	await("loop changed 3 enforce→alert by owner", "other removed 3 alert→ by ")
}
