package node

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

func (n NATS) check(found *problems) {
	found.port("nats.port", n.Port)
	found.between("nats.replicas", int64(n.Replicas), 1, 5)
	switch {
	case n.NKey != "" && n.Creds != "":
		found.add("nats.nkey", "is set, and so is nats.creds: one logs in")
	case n.NKey != "" && n.Password != "":
		found.add("nats.nkey", "is set, and so is nats.password: one logs in")
	case n.Creds != "" && n.Password != "":
		found.add("nats.creds", "is set, and so is nats.password: one logs in")
	}
	if n.NKey != "" {
		if _, err := publicNKey(n.NKey); err != nil {
			found.add("nats.nkey", err.Error())
		}
	}
	if n.Creds != "" {
		if err := checkCreds(n.Creds); err != nil {
			found.add("nats.creds", err.Error())
		}
	}
	n.TLS.check(found)
}

func (t NATSTLS) check(found *problems) {
	if (t.Cert == "") != (t.Key == "") {
		found.add("nats.tls.cert", "needs nats.tls.key, and the other way round")
		return
	}
	if key, _, err := t.config(); err != nil {
		found.add(key, err.Error())
	}
}

// set reports whether the connection must be encrypted.
func (t NATSTLS) set() bool { return t != NATSTLS{} }

// config reads the files. Its error is about the key that it names.
func (t NATSTLS) config() (key string, conf *tls.Config, err error) {
	if _, err = (TLS{CA: t.CA}).config(); err != nil {
		return "nats.tls.ca", nil, err
	}
	if conf, err = (TLS{CA: t.CA, Cert: t.Cert, Key: t.Key}).config(); err != nil {
		return "nats.tls.cert", nil, err
	}
	conf.ServerName = t.ServerName
	return "", conf, nil
}

// maxSeedFile bounds a file with a seed or credentials, in bytes.
const maxSeedFile = 64 << 10

// publicNKey returns the public half of the user's seed in a file. No error says what is in the file.
func publicNKey(path string) (string, error) {
	b, err := readSecret(path)
	if err != nil {
		return "", err
	}
	pair, err := nkeys.ParseDecoratedUserNKey(b)
	if err != nil {
		return "", fmt.Errorf("there is no seed of an nkey user in %q ('estop keys nats' makes some)", path)
	}
	defer pair.Wipe()
	return pair.PublicKey()
}

func checkCreds(path string) error {
	b, err := readSecret(path)
	if err != nil {
		return err
	}
	pair, err := nkeys.ParseDecoratedUserNKey(b)
	if err != nil {
		return fmt.Errorf("there is no seed of a user in %q", path)
	}
	pair.Wipe()
	if jwt, err := nkeys.ParseDecoratedJWT(b); err != nil || !strings.HasPrefix(jwt, "ey") { // a header in base64url
		return fmt.Errorf("there is no JWT of a user in %q", path)
	}
	return nil
}

// readSecret reads a file that only its owner may read.
func readSecret(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	switch {
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("the mode %v of %q lets others read it; 'chmod 600' takes that from them", info.Mode().Perm(), path)
	case info.Size() > maxSeedFile:
		return nil, fmt.Errorf("%q is larger than %d bytes: it is something else", path, maxSeedFile)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	return b, nil
}

// ConnectNATS connects with the login of the configuration, and goes on trying when the
// connection is lost.
func (c Config) ConnectNATS(name string, log *slog.Logger) (*nats.Conn, error) {
	return c.connectNATS(name, log)
}

func (c Config) connectNATS(name string, log *slog.Logger, more ...nats.Option) (*nats.Conn, error) {
	opts, err := c.natsOptions(name, log)
	if err != nil {
		return nil, fmt.Errorf("cannot connect to NATS at %q: %w", withoutPassword(c.NATS.URL), err)
	}
	nc, err := nats.Connect(c.NATS.URL, append(opts, more...)...)
	if err != nil {
		return nil, fmt.Errorf("cannot connect to NATS at %q: %w", withoutPassword(c.NATS.URL), c.NATS.explain(err))
	}
	return nc, nil
}

// explain says which setting an error of a connection is about.
func (n NATS) explain(err error) error {
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var alert tls.AlertError
	var address *url.Error
	switch {
	case errors.As(err, &address): // it quotes what may have a password in it
		return errors.New("nats.url is not a list of addresses such as nats://HOST:4222; what is special in a password is written as %XX")
	case errors.Is(err, nats.ErrNoServers), errors.Is(err, nats.ErrTimeout):
		return fmt.Errorf("%w: %w", ErrNoNode, err)
	case errors.Is(err, nats.ErrAuthorization):
		return fmt.Errorf("the server does not know %s: %w", n.login(), err)
	case errors.As(err, &unknown):
		return fmt.Errorf("the server's certificate is not of the authority in nats.tls.ca (%q; empty: those of the system): %w", n.TLS.CA, err)
	case errors.As(err, &name):
		return fmt.Errorf("the server's certificate is of another name; nats.tls.server_name says which one it has: %w", err)
	case errors.As(err, &alert):
		return fmt.Errorf("the server does not take the client's certificate in nats.tls.cert (%q; empty: none): %w", n.TLS.Cert, err)
	case errors.Is(err, nats.ErrNkeysNotSupported):
		return fmt.Errorf("nats.nkey is set, and the server knows none; 'estop keys nats' writes the accounts that it needs: %w", err)
	case errors.Is(err, nats.ErrSecureConnWanted):
		return fmt.Errorf("nats.tls is set, and the server does not encrypt: %w", err)
	}
	return err
}

// login says how the process logs in, without secrets.
func (n NATS) login() string {
	switch {
	case n.NKey != "":
		if public, err := publicNKey(n.NKey); err == nil {
			return fmt.Sprintf("the nkey %s (nats.nkey, %q)", public, n.NKey)
		}
		return fmt.Sprintf("the nkey of %q (nats.nkey)", n.NKey)
	case n.Creds != "":
		return fmt.Sprintf("the credentials of %q (nats.creds)", n.Creds)
	case n.Password != "":
		return fmt.Sprintf("the user %q with this password (nats.user, nats.password)", n.User)
	}
	return "whoever does not log in: set nats.nkey, nats.creds or nats.password"
}

// silence is how long a NATS server may leave a ping without an answer; after the second one the connection goes to another.
const silence = time.Second

// natsOptions are the options of every NATS connection: how to log in, and that it comes back.
func (c Config) natsOptions(name string, log *slog.Logger) ([]nats.Option, error) {
	opts := []nats.Option{
		nats.Name("estop " + name),
		nats.MaxReconnects(-1),
		// A server that is frozen or cut off says nothing, and kills wait in the connection to it until that is noticed.
		nats.PingInterval(silence),
		nats.MaxPingsOutstanding(2),
		nats.ReconnectWait(100 * time.Millisecond),
		nats.ReconnectJitter(50*time.Millisecond, 100*time.Millisecond),
		nats.DisconnectErrHandler(func(nc *nats.Conn, err error) {
			if !nc.IsClosed() && err != nil {
				log.Warn("NATS connection lost", "err", err)
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { log.Info("NATS connection back") }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { log.Error("NATS", "err", err) }),
	}
	if c.NATS.TLS.set() {
		key, conf, err := c.NATS.TLS.config()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		opts = append(opts, nats.Secure(conf))
	}
	switch {
	case c.NATS.NKey != "":
		if _, err := publicNKey(c.NATS.NKey); err != nil {
			return nil, fmt.Errorf("nats.nkey: %w", err)
		}
		nkey, err := nats.NkeyOptionFromSeed(c.NATS.NKey)
		if err != nil {
			return nil, fmt.Errorf("nats.nkey: cannot read %q: %w", c.NATS.NKey, err)
		}
		opts = append(opts, nkey)
	case c.NATS.Creds != "":
		if err := checkCreds(c.NATS.Creds); err != nil {
			return nil, fmt.Errorf("nats.creds: %w", err)
		}
		opts = append(opts, nats.UserCredentials(c.NATS.Creds))
	case c.NATS.Password != "":
		opts = append(opts, nats.UserInfo(c.NATS.User, c.NATS.Password))
	}
	return opts, nil
}
