package shard_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/shard"
)

var update = flag.Bool("update", false, "write the states of this version, if there are none of it")

// versions is the folder that holds, for each version of the encoding that is read, detectors, the states that an
// estop of that version kept of them, and what it found when the calls of breaches went on with these states.
const versions = "testdata/state"

// kept is a record of the state topic; Shard is "calls" or "exchange".
type kept struct {
	Shard string
	Key   []byte
	Value []byte
}

// breaches go on where saved ends: agents that it knows break off, and strangers come.
func breaches() []sent {
	calls := number(burst(12, "agent-0", 2*time.Hour, 10*time.Millisecond), burst(30, "agent-1", 3*time.Hour, 4*time.Second), burst(12, "agent-9", 4*time.Hour, 10*time.Millisecond))
	for i := range calls {
		calls[i].src.Offset += 1 << 20
		calls[i].Resource = fmt.Append(nil, "doc-", i)
	}
	return calls
}

// planIn compiles the detectors of a version's folder.
func planIn(t *testing.T, dir string) *detector.Plan {
	t.Helper()
	var texts []string
	names, _ := fs.Glob(os.DirFS(dir), "*.yaml")
	for _, name := range names {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(b))
	}
	return plan(t, texts...)
}

func readJSON[T any](t *testing.T, path string) (v T) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, &v)
	}
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// goOn restores the states of a version and returns what is found in the calls that follow, without explanations,
// which may become better.
func goOn(t *testing.T, dir string, states []kept) (found []string) {
	t.Helper()
	p := newPair(planIn(t, dir), small)
	for _, st := range states {
		s := p.calls
		if st.Shard == "exchange" {
			s = p.exchange
		}
		if err := s.Restore(shard.EntityState{Key: string(st.Key), Value: st.Value}); err != nil {
			t.Fatalf("%s: %q: %v", dir, st.Key, err)
		}
	}
	calls := breaches()
	for i := range calls {
		p.take(&calls[i])
	}
	for _, d := range p.found {
		found = append(found, fmt.Sprintf("%s %s of %s %q at %s: %s", d.ID, d.Detector, d.EntityBy, d.Entity, d.CallID, d.Reason))
	}
	return found
}

// Nobody loses at an upgrade what was learned: the version before is read and judges on as it did.
func TestTheStatesOfThisVersionAndTheOneBeforeAreRead(t *testing.T) {
	if *update {
		writeVersion(t)
	}
	for v := shard.OldestState; v <= shard.StateVersion; v++ {
		dir := filepath.Join(versions, fmt.Sprint(v))
		if _, err := os.Stat(dir); err != nil {
			t.Fatalf("no states of version %d in %s: a version that is read needs them (go test -run %s -update writes those of a new one; never delete or rewrite older ones)", v, dir, t.Name())
		}
		states := readJSON[[]kept](t, filepath.Join(dir, "states.json"))
		want := readJSON[[]string](t, filepath.Join(dir, "found.json"))
		found := goOn(t, dir, states)
		if diff := cmp.Diff(want, found); diff != "" || len(found) == 0 {
			t.Errorf("what is found with states of version %d:\n%s", v, diff)
		}
		if v < shard.StateVersion {
			continue
		}
		for _, st := range states {
			got, err := shard.New(planIn(t, dir), small).Encoded(shard.EntityState{Key: string(st.Key), Value: st.Value})
			if err != nil || !bytes.Equal(got, st.Value) {
				t.Errorf("%q is written otherwise than version %d was so far (%v): raise stateVersion, read the version before too, and write the states of the new one with -update", st.Key, v, err)
			}
		}
	}
}

// writeVersion keeps the detectors of every, the states that saved makes of them, and what is found next. What is there is not touched.
func writeVersion(t *testing.T) {
	t.Helper()
	dir := filepath.Join(versions, fmt.Sprint(shard.StateVersion))
	if _, err := os.Stat(dir); err == nil {
		return
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(name string, b []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for i, text := range everyText() {
		write(fmt.Sprintf("%d.yaml", i), []byte(text))
	}
	var states []kept
	for name, value := range saved(t) {
		s, key, _ := strings.Cut(name, "/")
		states = append(states, kept{s, []byte(key), value})
	}
	slices.SortFunc(states, func(a, b kept) int { return strings.Compare(a.Shard+string(a.Key), b.Shard+string(b.Key)) })
	b, _ := json.MarshalIndent(states, "", " ")
	write("states.json", append(b, '\n'))
	b, _ = json.MarshalIndent(goOn(t, dir, states), "", " ")
	write("found.json", append(b, '\n'))
}

func TestAnUnknownVersionSaysWhatToDo(t *testing.T) {
	for wrote, want := range map[byte]string{11: "older estop; this one reads 12 and 13", 14: "newer estop; this one reads 12 and 13"} {
		err := shard.CheckVersion("state", wrote, 12, 13)
		if !errors.Is(err, shard.ErrStateVersion) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "estop.state") {
			t.Errorf("version %d: %v", wrote, err)
		}
	}
	for _, wrote := range []byte{12, 13} {
		if err := shard.CheckVersion("state", wrote, 12, 13); err != nil {
			t.Error(err)
		}
	}
}
