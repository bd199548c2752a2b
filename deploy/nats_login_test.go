package deploy_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	natsd "github.com/estop-project/estop/pipeline/embedded/nats"
	"github.com/estop-project/estop/pipeline/node"
	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/coverage"
	"github.com/estop-project/estop/revoke/guard"
)

// authority issues certificates, and keeps its own in a file.
type authority struct {
	dir, file string
	cert      *x509.Certificate
	key       *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.cert, a.key = template, newKey(t)
	a.file, _ = a.issue(t, "ca", template)
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// leaf issues a certificate for a server or a client and returns its files.
func (a *authority) leaf(t *testing.T, name string) (cert, key string) {
	t.Helper()
	return a.issue(t, name, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
}

func (a *authority) issue(t *testing.T, name string, template *x509.Certificate) (cert, key string) {
	t.Helper()
	own := a.key
	if !template.IsCA {
		own = newKey(t)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &own.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(own)
	if err != nil {
		t.Fatal(err)
	}
	if template.IsCA {
		if a.cert, err = x509.ParseCertificate(der); err != nil {
			t.Fatal(err)
		}
	}
	write := func(suffix, kind string, b []byte) string {
		file := filepath.Join(a.dir, name+suffix)
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	return write(".crt", "CERTIFICATE", der), write(".key", "EC PRIVATE KEY", private)
}

// secured is a server on estop.conf with the logins of 'estop keys nats' and certificates of both sides.
type secured struct {
	*server.Server
	dir string // of the logins
	ca  *authority
}

func startSecured(t *testing.T) secured {
	t.Helper()
	x := secured{dir: t.TempDir(), ca: newAuthority(t, "the authority of a test")}
	if _, err := node.MakeNATSLogins(x.dir, false); err != nil {
		t.Fatal(err)
	}
	cert, key := x.ca.leaf(t, "nats.example")
	text := read(t, "nats/estop.conf") + fmt.Sprintf("\ntls { cert_file: %q, key_file: %q, ca_file: %q, verify: true }\n", cert, key, x.ca.file)
	file := filepath.Join(x.dir, "estop.conf")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	x.Server = runNATS(t, file)
	return x
}

// config is the configuration of whoever logs in with a role.
func (x secured) config(t *testing.T, role natsd.Role, change map[string]string) node.Config {
	t.Helper()
	cert, key := x.ca.leaf(t, string(role))
	settings := map[string]string{
		"URL": x.ClientURL(), "NKEY": filepath.Join(x.dir, string(role)+".nk"), "TLS_CA": x.ca.file, "TLS_CERT": cert, "TLS_KEY": key,
	}
	maps.Copy(settings, change)
	var environ []string
	for name, value := range settings {
		if value != "" {
			environ = append(environ, "ESTOP_NATS_"+name+"="+value)
		}
	}
	c, err := node.Load("", environ, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (x secured) connect(t *testing.T, role natsd.Role) *nats.Conn {
	t.Helper()
	nc, err := x.config(t, role, nil).ConnectNATS("test", quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

var quiet = slog.New(slog.DiscardHandler)

func TestStrangersDoNotGetIn(t *testing.T) {
	x := startSecured(t)
	other := newAuthority(t, "another authority")
	otherCert, otherKey := other.leaf(t, "stranger")
	elsewhere := t.TempDir()
	others, err := node.MakeNATSLogins(elsewhere, false)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := natsd.Start(natsd.Options{Dir: t.TempDir(), Logins: []natsd.Login{{Role: natsd.Detector, NKey: others.Logins[0].NKey}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(plain.Stop)
	passwords := startNATS(t)
	named := x.config(t, natsd.Guard, map[string]string{"TLS_SERVER_NAME": "nats.example"})
	if nc, err := named.ConnectNATS("test", quiet); err != nil {
		t.Errorf("the server's other name: %v", err)
	} else {
		nc.Close()
	}
	for name, c := range map[string]struct {
		change map[string]string
		want   string
	}{
		"no login":                       {map[string]string{"NKEY": ""}, "the server does not know whoever does not log in"},
		"a password":                     {map[string]string{"NKEY": "", "PASSWORD": detectorPassword}, `the server does not know the user "detector" with this password`},
		"an nkey of another server":      {map[string]string{"NKEY": filepath.Join(elsewhere, "detector.nk")}, "the server does not know the nkey U"},
		"no certificate":                 {map[string]string{"TLS_CERT": "", "TLS_KEY": ""}, ""},
		"no TLS":                         {map[string]string{"TLS_CA": "", "TLS_CERT": "", "TLS_KEY": ""}, "nats.tls.ca"},
		"a certificate of another":       {map[string]string{"TLS_CERT": otherCert, "TLS_KEY": otherKey}, ""},
		"a server of another authority":  {map[string]string{"TLS_CA": other.file}, "the server's certificate is not of the authority in nats.tls.ca"},
		"a server of another name":       {map[string]string{"TLS_SERVER_NAME": "kafka.example"}, "nats.tls.server_name"},
		"a server without nkeys":         {map[string]string{"URL": passwords.ClientURL(), "TLS_CA": "", "TLS_CERT": "", "TLS_KEY": ""}, "nats.nkey is set, and the server knows none"},
		"a server that does not encrypt": {map[string]string{"URL": plain.URL()}, "nats.tls is set, and the server does not encrypt"},
	} {
		t.Run(name, func(t *testing.T) {
			nc, err := x.config(t, natsd.Detector, c.change).ConnectNATS("test", quiet)
			if err == nil {
				nc.Close()
				t.Fatal("connected")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %s", err, c.want)
			}
			if seed, err2 := os.ReadFile(filepath.Join(x.dir, "detector.nk")); err2 != nil || strings.Contains(err.Error(), strings.TrimSpace(string(seed))) {
				t.Errorf("the error tells the seed, %v", err2)
			}
		})
	}
}

func TestEachRoleDoesItsWorkWithItsLogin(t *testing.T) {
	x := startSecured(t)
	detector, operator, monitor := x.connect(t, natsd.Detector), x.connect(t, natsd.Operator), x.connect(t, natsd.Monitor)
	signer, err := revoke.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	publisher, err := revoke.NewPublisher(t.Context(), detector, revoke.PublisherOptions{Verifier: signer.Verifier()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(publisher.Close)
	register := coverage.NewRegister()
	if _, err := detector.Subscribe(coverage.AskSubject, func(m *nats.Msg) {
		if err := coverage.Answer(register, m, time.Now()); err != nil {
			t.Error(err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	flushNATS(t, detector)

	g, err := guard.New(guard.Options{Name: "g1", Conn: x.connect(t, natsd.Guard), Verifier: signer.Verifier(), Tenants: []string{"acme"}, Poll: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	if err := g.WaitSynced(t.Context()); err != nil {
		t.Fatal(err)
	}

	heard, err := monitor.SubscribeSync(revoke.RevokePrefix + ".>")
	if err != nil {
		t.Fatal(err)
	}
	confirmed, err := monitor.SubscribeSync(revoke.AckPrefix + ".>")
	if err != nil {
		t.Fatal(err)
	}
	flushNATS(t, monitor)
	client, err := revoke.NewClient(t.Context(), operator, revoke.ClientOptions{Signer: signer, Expect: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	if acks, err := client.Kill(t.Context(), revoke.Revocation{
		Tenant: "acme", Scope: revoke.Agent, Subject: "bot", Action: revoke.Revoke, Until: time.Now().Add(time.Hour), Reason: "test",
	}); err != nil || len(acks) != 1 {
		t.Fatalf("the operator's kill: %v, %v", acks, err)
	}
	for _, sub := range []*nats.Subscription{heard, confirmed} {
		if _, err := sub.NextMsg(time.Minute); err != nil {
			t.Errorf("the monitor does not hear %s: %v", sub.Subject, err)
		}
	}
	brief, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := revoke.NewClient(brief, monitor, revoke.ClientOptions{Signer: signer}); !errors.Is(err, nats.ErrPermissionViolation) {
		t.Errorf("the monitor kills: %v", err)
	}
	for name, nc := range map[string]*nats.Conn{"operator": operator, "monitor": monitor} {
		active, err := revoke.Active(t.Context(), nc, signer.Verifier(), time.Now())
		if err != nil || len(active) != 1 {
			t.Errorf("the %s reads %v, %v", name, active, err)
		}
		if _, err := coverage.Ask(t.Context(), nc, ""); err != nil {
			t.Errorf("the %s asks for the guards: %v", name, err)
		}
	}
}

// A request whose answer is to go to the subject of a revocation makes the server itself publish, past
// every permission: so monitors and guards are not in the detector's account.
func TestNobodyHasTheServerPublish(t *testing.T) {
	x := startSecured(t)
	detector := x.connect(t, natsd.Detector)
	signer, err := revoke.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	client, err := revoke.NewClient(t.Context(), detector, revoke.ClientOptions{Signer: signer})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	if _, err := client.Kill(t.Context(), revoke.Revocation{
		Tenant: "acme", Scope: revoke.Agent, Subject: "bot", Action: revoke.Revoke, Until: time.Now().Add(time.Hour), Reason: "test",
	}); err != nil {
		t.Fatal(err)
	}
	heard, err := detector.SubscribeSync("estop.v1.>")
	if err != nil {
		t.Fatal(err)
	}
	flushNATS(t, detector)
	for _, role := range []natsd.Role{natsd.Monitor, natsd.Guard} {
		nc := x.connect(t, role)
		for _, reply := range []string{"estop.v1.revoke.acme.agent.bot", revoke.BeatSubject} {
			for _, request := range []string{`{"seq":999}`, `{"seq":1}`, `{"seq":1,"batch":5,"next_by_subj":">"}`, `broken`} {
				if err := nc.PublishRequest("$JS.API.DIRECT.GET."+revoke.Stream, reply, []byte(request)); err != nil {
					t.Fatal(err)
				}
			}
		}
		// A reading on the same connection comes after them: when it is answered, they were.
		if active, err := revoke.Active(t.Context(), nc, signer.Verifier(), time.Now()); err != nil || len(active) != 1 {
			t.Errorf("the %s reads %v, %v", role, active, err)
		}
	}
	flushNATS(t, detector)
	if m, err := heard.NextMsg(10 * time.Millisecond); !errors.Is(err, nats.ErrTimeout) {
		t.Errorf("the detector's account hears %v, %v", m, err)
	}
}

func flushNATS(t *testing.T, nc *nats.Conn) {
	t.Helper()
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
}
