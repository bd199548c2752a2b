package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/nats-io/nkeys"

	natsd "github.com/estop-project/estop/pipeline/embedded/nats"
)

// NATSLogin is a login to NATS that was made, and what it may do.
type NATSLogin struct {
	Role      natsd.Role `json:"role"`
	Account   string     `json:"account"`
	NKey      string     `json:"nkey"` // the public half
	Seed      string     `json:"seed"` // file of the private half
	Publish   []string   `json:"publish"`
	Subscribe []string   `json:"subscribe"`
}

// NATSLogins are the logins of an installation, and the file that tells the server of them.
type NATSLogins struct {
	Accounts string      `json:"accounts"`
	Logins   []NATSLogin `json:"logins"`
}

// accountsFile is what nats-server's configuration includes.
const accountsFile = "accounts.conf"

// NATSPath returns the folder of the seeds that log in to NATS.
func (c Config) NATSPath() string { return filepath.Join(c.Dir, "keys", "nats") }

func seedFile(dir string, r natsd.Role) string { return filepath.Join(dir, string(r)+".nk") }

// MakeNATSLogins makes an nkey for each role in a folder, and the file of accounts for the server. What is there it
// overwrites only with force: the old ones get in no more once the server has the new file.
func MakeNATSLogins(dir string, force bool) (NATSLogins, error) {
	if !force {
		for _, file := range natsFiles(dir) {
			if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
				return NATSLogins{}, fmt.Errorf("%q is there already: it is not overwritten without --force", file)
			}
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return NATSLogins{}, fmt.Errorf("cannot make the folder of the seeds: %w", err)
	}
	for _, r := range natsd.Roles() {
		if err := makeSeed(seedFile(dir, r)); err != nil {
			return NATSLogins{}, fmt.Errorf("cannot make the login of the %s: %w", r, err)
		}
	}
	made, users, err := readNATSLogins(dir)
	if err != nil {
		return NATSLogins{}, err
	}
	if err := writeFile(made.Accounts, []byte(natsd.AccountsFile("estop keys nats", users...)), 0o644); err != nil {
		return NATSLogins{}, fmt.Errorf("cannot write the accounts: %w", err)
	}
	return made, nil
}

func natsFiles(dir string) []string {
	files := []string{filepath.Join(dir, accountsFile)}
	for _, r := range natsd.Roles() {
		files = append(files, seedFile(dir, r))
	}
	return files
}

func makeSeed(file string) error {
	pair, err := nkeys.CreateUser()
	if err != nil {
		return err
	}
	defer pair.Wipe()
	seed, err := pair.Seed()
	if err != nil {
		return err
	}
	return writeFile(file, append(seed, '\n'), 0o600)
}

// writeFile puts a file in its place all at once, never readable for more than mode says.
func writeFile(path string, b []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	if err := errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// readNATSLogins reads which logins the seeds of a folder are.
func readNATSLogins(dir string) (NATSLogins, []natsd.Login, error) {
	all := NATSLogins{Accounts: filepath.Join(dir, accountsFile)}
	var users []natsd.Login
	for _, r := range natsd.Roles() {
		file := seedFile(dir, r)
		public, err := publicNKey(file)
		if err != nil {
			return all, nil, fmt.Errorf("cannot read the login of the %s: %w", r, err)
		}
		p := natsd.PermissionsOf(r)
		all.Logins = append(all.Logins, NATSLogin{r, p.Account, public, file, p.Publish, p.Subscribe})
		users = append(users, natsd.Login{Role: r, NKey: public})
	}
	return all, users, nil
}

// embeddedLogins returns who may log in to the embedded server; none: it has guests.
func (c Config) embeddedLogins() ([]natsd.Login, error) {
	if c.NATS.Guests {
		return nil, nil
	}
	dir := c.NATSPath()
	if _, err := os.Stat(seedFile(dir, natsd.Detector)); errors.Is(err, fs.ErrNotExist) {
		if _, err := MakeNATSLogins(dir, false); err != nil {
			return nil, err
		}
	}
	_, users, err := readNATSLogins(dir)
	return users, err
}

// loginTo returns c with the login to the node that wrote e, unless it has one that the node knows.
func (c Config) loginTo(e Endpoints) NATS {
	n := c.NATS
	n.URL, n.TLS = e.NATS, NATSTLS{}
	if !e.NATSNKeys { // the node knows a password, and no nkey
		n.User, n.Password, n.NKey, n.Creds = e.NATSUser, e.NATSSecret, "", ""
		return n
	}
	n.Password, n.Creds = "", ""
	if n.NKey == "" {
		n.NKey = seedFile(c.NATSPath(), natsd.Detector)
	}
	n.Guests = false
	return n
}

// asGuard returns c, which leads to a node on this machine, with no more rights than a guard needs.
func (c Config) asGuard() Config {
	c.NATS.Password = ""
	if detector := seedFile(filepath.Dir(c.NATS.NKey), natsd.Detector); c.NATS.NKey == detector {
		c.NATS.NKey = seedFile(filepath.Dir(c.NATS.NKey), natsd.Guard)
	}
	return c
}
