package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/estop-project/estop/pipeline/node"
	"github.com/estop-project/estop/pipeline/node/nodetest"
	"github.com/estop-project/estop/pipeline/rig"
	"github.com/estop-project/estop/revoke/guard"
)

// estopIn runs estop as somebody who has a node's folder, and returns its exit code and what it says.
func estopIn(t *testing.T, dir string, args ...string) (code int, said string) {
	t.Helper()
	cmd := exec.Command("estop", append(args, "--dir", dir)...)
	cmd.Env = nodetest.Environ()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	} else if err != nil {
		code = exit.ExitCode()
	}
	return code, out.String()
}

// awaitVerdict waits until a guard says so of every agent.
func awaitVerdict(t *testing.T, g *guard.Guard, want guard.Verdict) {
	t.Helper()
	rig.Await(t, time.Minute, func() error {
		for _, tenant := range []string{"acme", "globex"} {
			if v := g.Check(&guard.Call{Tenant: tenant, Agent: "anyone"}).Verdict; v != want {
				return errors.New(tenant + " gets " + v.String())
			}
		}
		return nil
	})
}

// withGuardOnCall starts a guard, waits until it is known, and takes the detector's key away from whoever is on call.
func withGuardOnCall(t *testing.T, dir string, c node.Config) *guard.Guard {
	t.Helper()
	g := newGuard(t, c, "gate-1")
	rig.Await(t, time.Minute, func() error {
		if _, said := estopIn(t, dir, "status"); !strings.Contains(said, "1 known, 1 enforcing") {
			return errors.New(said)
		}
		return nil
	})
	if err := os.Remove(filepath.Join(dir, "keys", "signer.jwk")); err != nil {
		t.Fatal(err)
	}
	return g
}

func TestComplaint15AnybodyOnCallStopsEverythingWithOneCommandAndIsToldHowToUndoIt(t *testing.T) {
	dir := t.TempDir()
	g := withGuardOnCall(t, dir, upNode(t, dir))
	awaitVerdict(t, g, guard.Allow)
	code, said := estopIn(t, dir, "panic", "--yes", "--reason", "agents delete customers", "--wait", "1m")
	if code != 0 || !strings.Contains(said, "revoke everything until ") || !strings.Contains(said, "enforced by gate-1") {
		t.Fatalf("exit code %d: %s", code, said)
	}
	awaitVerdict(t, g, guard.Deny)
	_, undo, ok := strings.Cut(said, "to undo it:  estop ")
	if !ok {
		t.Fatalf("it does not say how to undo it: %s", said)
	}
	if code, said := estopIn(t, dir, "status"); !strings.Contains(said, "agents delete customers") {
		t.Errorf("status, exit code %d: %s", code, said)
	}
	verb, reason, _ := strings.Cut(strings.TrimSpace(undo), " --reason ")
	if code, said := estopIn(t, dir, append(strings.Fields(verb), "--reason", strings.Trim(reason, "'"), "--wait", "1m")...); code != 0 {
		t.Fatalf("%s: exit code %d: %s", undo, code, said)
	}
	awaitVerdict(t, g, guard.Allow)
}

func TestWhatTakesTwoOperatorsIsProposedByOneAndSentByTheOther(t *testing.T) {
	dir := t.TempDir()
	c := upNode(t, dir)
	run := func(want int, args ...string) string {
		t.Helper()
		code, said := estopIn(t, dir, args...)
		if code != want {
			t.Fatalf("estop %s: exit code %d, want %d: %s", strings.Join(args, " "), code, want, said)
		}
		return said
	}
	ada, bob, file := filepath.Join(dir, "ada.jwk"), filepath.Join(dir, "bob.jwk"), filepath.Join(dir, "order.json")
	run(0, "keys", "new", "--name", "ada", "--out", ada)
	run(0, "keys", "new", "--name", "bob", "--out", bob)
	run(0, "keys", "two-person", "--require", "global,release")
	g := withGuardOnCall(t, dir, c)
	everything := []string{"kill", "--everything", "--for", "1h", "--reason", "seen by ada", "--key", ada}
	if said := run(1, everything...); !strings.Contains(said, "takes two operators") {
		t.Errorf("one alone is told: %s", said)
	}
	run(0, append(everything, "--propose", "--file", file)...)
	awaitVerdict(t, g, guard.Allow)
	if said := run(1, "queue", "approve", "--file", file, "--key", ada, "--reason", "still"); !strings.Contains(said, "another operator must agree") {
		t.Errorf("the same one again is told: %s", said)
	}
	awaitVerdict(t, g, guard.Allow)
	run(0, "queue", "approve", "--file", file, "--key", bob, "--reason", "seen by bob", "--wait", "1m")
	awaitVerdict(t, g, guard.Deny)

	release := []string{"release", "--everything", "--reason", "false alarm", "--key", bob}
	run(1, release...)
	awaitVerdict(t, g, guard.Deny)
	run(0, append(release, "--propose", "--file", file)...)
	run(0, "queue", "approve", "--file", file, "--key", ada, "--reason", "right", "--wait", "1m")
	awaitVerdict(t, g, guard.Allow)
}
