package references

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/estop-project/estop/pipeline/telemetry"
)

func call(at time.Duration, session, action, resource string) *telemetry.Call {
	return &telemetry.Call{Time: int64(at), Tenant: []byte("acme"), Agent: []byte("a"), Session: []byte(session), Action: []byte(action), Resource: []byte(resource)}
}

func TestThresholdsAreTheSameForAll(t *testing.T) {
	s := NewThresholds()
	for i := range 101 {
		got := s.Score(call(time.Duration(i)*100*time.Millisecond, "s", "read", ""))
		if want := float64(i+1) / maxCalls; math.Abs(got-want) > 1e-12 {
			t.Fatalf("call %d scores %g, want %g", i, got, want)
		}
	}
	for i := range 51 {
		c := call(time.Hour+time.Duration(i)*time.Millisecond, "s", "read", fmt.Sprint(i))
		c.Agent = []byte("b")
		got := s.Score(c)
		if want := float64(i+1) / maxResources; math.Abs(got-want) > 1e-12 {
			t.Fatalf("resource %d scores %g, want %g", i, got, want)
		}
	}
	denied := call(2*time.Hour, "s", "read", "")
	denied.Outcome = telemetry.OutcomeDenied
	if got := s.Score(denied); got != 1.0/maxDenied {
		t.Errorf("a denial scores %g", got)
	}
}

// By hand: after the first call there is one step, one action and one resource.
func TestMarkovRarityIsLaplacesRule(t *testing.T) {
	s := NewMarkovRarity()
	f := func(c *telemetry.Call, p float64) {
		t.Helper()
		if got := s.Score(c); math.Abs(got+math.Log(p)) > 1e-12 {
			t.Errorf("%s scores %g, want %g", c.Action, got, -math.Log(p))
		}
	}
	f(call(0, "one", "read", "r"), 1*1)                            // nothing is known: P = 1 for what is new
	f(call(1, "one", "read", "r"), 1.0/(0+1+1)*2/(1+1+1))          // no step from read was seen
	f(call(2, "one", "read", "r"), 2.0/(1+1+1)*3/(2+1+1))          // one was
	f(call(3, "two", "write", "other"), 1.0/(1+1+1)*1.0/(3.0+1+1)) // a session begins anew
}

func TestAgentsOfOtherTenantsAreOthers(t *testing.T) {
	s, f := NewMarkovRarity(), NewFeatures()
	for range 5 {
		s.Score(call(0, "s", "read", "r"))
		f.Row(call(0, "s", "read", "r"))
	}
	c := call(0, "s", "read", "r")
	c.Tenant = []byte("other")
	if got := s.Score(c); got != 0 {
		t.Errorf("the first call of an agent scores %g", got)
	}
	if row := f.Row(c); row[3] != 1 || row[0] != math.Log1p(1) {
		t.Errorf("%v", row)
	}
}

func TestAMissingPythonIsNotAtHand(t *testing.T) {
	_, err := HalfSpaceTrees.Scores(context.Background(), "no-such-python", [][]float64{{1}})
	if !errors.Is(err, ErrNotAtHand) {
		t.Errorf("error %v", err)
	}
}

// An interpreter that never ends is ended by the context.
func TestAForestNeverHangs(t *testing.T) {
	stuck := filepath.Join(t.TempDir(), "python")
	script := "#!/bin/sh\n[ \"$4\" = try ] && exit 0\nexec sleep 60\n"
	if err := os.WriteFile(stuck, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	begin := time.Now()
	_, err := RandomCut.Scores(ctx, stuck, [][]float64{{1}})
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) > 20*time.Second {
		t.Errorf("error %v after %v", err, time.Since(begin))
	}
}

func TestForestsFindWhatIsFarOff(t *testing.T) {
	python := os.Getenv("ESTOP_PYTHON")
	if python == "" {
		python = "python3"
	}
	for _, f := range []Forest{HalfSpaceTrees, RandomCut} {
		t.Run(string(f), func(t *testing.T) {
			if err := f.AtHand(t.Context(), python); err != nil {
				t.Skip(err)
			}
			r := rand.New(rand.NewPCG(1, 2))
			var rows [][]float64
			for range 600 {
				rows = append(rows, []float64{r.NormFloat64(), r.NormFloat64()})
			}
			rows = append(rows, []float64{40, -40})
			scores, err := f.Scores(t.Context(), python, rows)
			if err != nil {
				t.Fatal(err)
			}
			above := 0
			for _, s := range scores[300:600] {
				if s >= scores[600] {
					above++
				}
			}
			if above > 15 {
				t.Errorf("%d of 300 ordinary rows score as high as one that is far off", above)
			}
		})
	}
}
