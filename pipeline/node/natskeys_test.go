package node

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	natsd "github.com/estop-project/estop/pipeline/embedded/nats"
)

func TestLoginsAreNotOverwrittenUnlessSaid(t *testing.T) {
	dir := t.TempDir()
	first, err := MakeNATSLogins(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range first.Logins {
		if info, err := os.Stat(l.Seed); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("others can read %s: %v", l.Seed, err)
		}
	}
	if err := os.Remove(first.Accounts); err != nil {
		t.Fatal(err)
	}
	if _, err := MakeNATSLogins(dir, false); err == nil || !strings.Contains(err.Error(), "--force") {
		t.Errorf("seeds alone are overwritten: %v", err)
	}
	second, err := MakeNATSLogins(dir, true)
	if err != nil {
		t.Fatal(err)
	}
	accounts, err := os.ReadFile(second.Accounts)
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range second.Logins {
		if old := first.Logins[i].NKey; l.NKey == old || strings.Contains(string(accounts), old) || !strings.Contains(string(accounts), l.NKey) {
			t.Errorf("%s: the server is told of %s, not of %s", l.Role, old, l.NKey)
		}
		if seed, err := os.ReadFile(l.Seed); err != nil || strings.Contains(string(accounts), strings.TrimSpace(string(seed))) {
			t.Errorf("%s: the accounts tell the seed, %v", l.Role, err)
		}
	}
}

// The embedded server without guests: whoever has no seed stays out, and commands and gates find theirs.
func TestWithoutGuestsTheEmbeddedServerWantsALogin(t *testing.T) {
	c := Default()
	c.Dir, c.NATS.Guests = t.TempDir(), false
	logins, err := c.embeddedLogins()
	if err != nil {
		t.Fatal(err)
	}
	s, err := natsd.Start(natsd.Options{Dir: filepath.Join(c.Dir, "nats"), Logins: logins})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	if nc, err := nats.Connect(s.URL()); !errors.Is(err, nats.ErrAuthorization) {
		nc.Close()
		t.Errorf("a guest: %v", err)
	}
	again, err := c.embeddedLogins()
	if err != nil || again[0] != logins[0] {
		t.Errorf("the next start makes others: %v", err)
	}
	if err := (Endpoints{NATS: s.URL(), NATSNKeys: true}).save(c.Dir); err != nil {
		t.Fatal(err)
	}
	found, err := Config{Dir: c.Dir}.Find() // a command does not know how the node was started
	if err != nil {
		t.Fatal(err)
	}
	mine := found
	mine.NATS.NKey = seedFile(c.NATSPath(), natsd.Operator)
	for role, c := range map[natsd.Role]Config{natsd.Detector: found, natsd.Guard: found.asGuard(), natsd.Operator: mine.asGuard()} {
		if c.NATS.NKey != seedFile(found.NATSPath(), role) {
			t.Errorf("the %s logs in with %q", role, c.NATS.NKey)
		}
		nc, err := c.ConnectNATS("test", c.Logger())
		if err != nil {
			t.Errorf("the %s: %v", role, err)
			continue
		}
		nc.Close()
	}
}

func TestAFoundNodeWithAPasswordTakesNoNKey(t *testing.T) {
	c := Default()
	c.NATS.NKey, c.NATS.Creds, c.NATS.TLS.CA = "mine.nk", "mine.creds", "ca.pem"
	n := c.loginTo(Endpoints{NATS: "nats://127.0.0.1:1", NATSUser: "detector", NATSSecret: "secret"})
	if n.NKey != "" || n.Creds != "" || n.Password != "secret" || n.TLS.set() {
		t.Errorf("it logs in with %+v", n)
	}
}

func TestASeedThatOthersCanReadIsRefused(t *testing.T) {
	made, err := MakeNATSLogins(t.TempDir(), false)
	if err != nil {
		t.Fatal(err)
	}
	file := made.Logins[0].Seed
	if public, err := publicNKey(file); err != nil || public != made.Logins[0].NKey {
		t.Errorf("%s, %v", public, err)
	}
	if err := os.Chmod(file, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := publicNKey(file); err == nil || !strings.Contains(err.Error(), "lets others read it") {
		t.Errorf("the mode: %v", err)
	}
	if _, err := publicNKey(file + ".none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	// The seed of an account, and something else: neither is said.
	for _, text := range []string{"SAAGOI6MYKS7KY4U5UBXNR6ZAQHHBCUR6HMGGHSNXSEWTIBXOZBVNMHFC4", "SUperSecret"} {
		other := filepath.Join(t.TempDir(), "other.nk")
		if err := os.WriteFile(other, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := publicNKey(other); err == nil || strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
