package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/estop-project/estop/pipeline/node"
)

// unit returns the values of the keys of the unit's [Service] section.
func unit(t *testing.T) map[string][]string {
	t.Helper()
	_, text, ok := strings.Cut(read(t, "systemd/estop.service"), "[Service]\n")
	if !ok {
		t.Fatal("the unit has no [Service]")
	}
	text, _, _ = strings.Cut(text, "\n[")
	m := map[string][]string{}
	for line := range strings.Lines(text) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(line, "#") {
			m[k] = append(m[k], v)
		}
	}
	return m
}

func TestTheUnitRunsRolesWithSettingsThatEstopKnows(t *testing.T) {
	u := unit(t)
	command := strings.Fields(u["ExecStart"][0])
	if command[1] != "run" || command[4] != "--role" {
		t.Fatalf("ExecStart is %q", command)
	}
	roles, err := node.ParseRoles(strings.Split(command[5], ","))
	if err != nil || len(roles) != len(node.Roles()) {
		t.Errorf("roles %v, %v", roles, err)
	}
	c, err := node.Load(inDeploy("estop.yaml"), u["Environment"], nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := "/var/lib/" + u["StateDirectory"][0]; c.Dir != want {
		t.Errorf("the keys are in %q, the unit owns %q", c.Dir, want)
	}
	if u["User"][0] == "root" {
		t.Error("the unit runs as root")
	}
}

func TestSystemdAcceptsTheUnit(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("no systemd-analyze here")
	}
	// The one thing that it may miss is the binary, so it gets one.
	text := strings.Replace(read(t, "systemd/estop.service"), "/usr/local/bin/estop", "/bin/true", 1)
	path := filepath.Join(t.TempDir(), "estop.service")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("systemd-analyze", "verify", path).CombinedOutput()
	if err != nil || strings.Contains(string(out), "estop.service") {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}
