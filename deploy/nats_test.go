package deploy_test

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/conf"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	natsd "github.com/estop-project/estop/pipeline/embedded/nats"
	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/guard"
)

const (
	detectorPassword = "d0123456789abcdef"
	guestPassword    = "g0123456789abcdef"
)

// natsSecrets sets what the configuration takes from the environment.
func natsSecrets(t *testing.T) {
	t.Helper()
	t.Setenv("ESTOP_NATS_PASSWORD", detectorPassword)
	t.Setenv("ESTOP_NATS_GUEST_PASSWORD", guestPassword)
}

// startNATS runs nats-server on nats/estop.conf. Only the places where it listens and
// stores are the test's own.
func startNATS(t *testing.T) *server.Server {
	t.Helper()
	natsSecrets(t)
	return runNATS(t, inDeploy("nats/estop.conf"))
}

func runNATS(t *testing.T, file string) *server.Server {
	t.Helper()
	o, err := server.ProcessConfigFile(file)
	if err != nil {
		t.Fatal(err)
	}
	o.Host, o.Port, o.HTTPPort, o.StoreDir = "127.0.0.1", server.RANDOM_PORT, 0, t.TempDir()
	o.NoSigs, o.NoLog = true, true
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(20 * time.Second) {
		t.Fatal("nats-server does not start")
	}
	return s
}

func connectNATS(t *testing.T, s *server.Server, user, password string, o ...nats.Option) *nats.Conn {
	t.Helper()
	return connectNATSAt(t, s.ClientURL(), user, password, o...)
}

func connectNATSAt(t *testing.T, url, user, password string, o ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url, append(o, nats.UserInfo(user, password))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// The accounts come from the one list of permissions in the code.
func TestNATSAccountsAreThoseOfTheCode(t *testing.T) {
	want := natsd.AccountsFile("go test ./deploy -run NATSAccounts -update",
		natsd.Login{Role: natsd.Detector, User: natsd.DetectorUser, Variable: "ESTOP_NATS_PASSWORD"},
		natsd.Login{Role: natsd.Guard, User: natsd.GuestUser, Variable: "ESTOP_NATS_GUEST_PASSWORD"})
	if *update {
		if err := os.WriteFile(inDeploy("nats/accounts.conf"), []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(want, read(t, "nats/accounts.conf")); diff != "" {
		t.Errorf("accounts of the code (-) and of accounts.conf (+):\n%s", diff)
	}
}

func TestNATSAccountsAreThoseOfTheEmbeddedServer(t *testing.T) {
	natsSecrets(t)
	ours, err := conf.ParseFile(inDeploy("nats/estop.conf"))
	if err != nil {
		t.Fatal(err)
	}
	embedded, err := conf.Parse(natsd.Config(detectorPassword))
	if err != nil {
		t.Fatal(err)
	}
	// The one difference: guards of a deployment log in.
	guests := ours["accounts"].(map[string]any)["GUARDS"].(map[string]any)["users"].([]any)
	if p := guests[0].(map[string]any)["password"]; p != guestPassword {
		t.Errorf("the guests' password is %v, not the environment's", p)
	}
	guests[0].(map[string]any)["password"] = natsd.GuestUser
	if diff := cmp.Diff(embedded["accounts"], ours["accounts"]); diff != "" {
		t.Errorf("accounts of the embedded server (-) and of estop.conf (+):\n%s", diff)
	}
	if ours["no_auth_user"] != nil {
		t.Error("somebody may connect without logging in")
	}
	if js := ours["jetstream"].(map[string]any); js["sync_interval"] != "always" {
		t.Errorf("sync_interval is %v: a loss of power could forget a revocation", js["sync_interval"])
	}
}

func TestNATSCarriesAKillFromThePublisherToAGuardAndBack(t *testing.T) {
	s := startNATS(t)
	signer, err := revoke.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	client, err := revoke.NewClient(t.Context(), connectNATS(t, s, natsd.DetectorUser, detectorPassword),
		revoke.ClientOptions{Signer: signer, Expect: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	kill := func(agent string) {
		t.Helper()
		acks, err := client.Kill(t.Context(), revoke.Revocation{
			Tenant: "acme", Scope: revoke.Agent, Subject: agent, Action: revoke.Revoke,
			Until: time.Now().Add(time.Hour), Reason: "test",
		})
		if err != nil || len(acks) != 1 {
			t.Fatalf("acknowledgements %v, %v", acks, err)
		}
	}
	newGuard := func(name string) *guard.Guard {
		g, err := guard.New(guard.Options{
			Name: name, Conn: connectNATS(t, s, "guest", guestPassword), Verifier: signer.Verifier(), Tenants: []string{"acme"},
			Poll: time.Minute, // what arrives came as a message
		})
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
		return g
	}
	denied := func(g *guard.Guard, agent string) {
		t.Helper()
		if v := g.Check(&guard.Call{Tenant: "acme", Agent: agent}).Verdict; v != guard.Deny {
			t.Errorf("%s gets %v", agent, v)
		}
	}
	early := newGuard("early")
	kill("bot")
	denied(early, "bot")
	denied(newGuard("late"), "bot") // it reads the stream
	if v := early.Check(&guard.Call{Tenant: "acme", Agent: "honest"}).Verdict; v != guard.Allow {
		t.Errorf("an agent that did nothing gets %v", v)
	}
}

func TestNATSRefusesAGuestThatPublishesARevocation(t *testing.T) {
	s := startNATS(t)
	refused := make(chan error, 8)
	guest := connectNATS(t, s, "guest", guestPassword, nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err }))
	for _, subject := range []string{
		"estop.v1.revoke.acme.agent.bot", "estop.v1.beat", "estop.v1.risk.acme.bot.evidence", "_INBOX.x",
		"$JS.API.STREAM.PURGE." + revoke.RiskStream, "$JS.API.STREAM.DELETE." + revoke.RiskStream,
		"$JS.API.STREAM.PURGE." + revoke.Stream, "$JS.API.STREAM.DELETE." + revoke.Stream,
	} {
		if err := guest.Publish(subject, []byte("forged")); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-refused:
			if !errors.Is(err, nats.ErrPermissionViolation) {
				t.Errorf("%s: %v", subject, err)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("%s: not refused", subject)
		}
	}
}

func TestNATSWantsAPasswordOfEverybody(t *testing.T) {
	s := startNATS(t)
	for _, o := range [][]nats.Option{
		nil,
		{nats.UserInfo("guest", "guest")},
		{nats.UserInfo(natsd.DetectorUser, guestPassword)},
	} {
		if nc, err := nats.Connect(s.ClientURL(), o...); !errors.Is(err, nats.ErrAuthorization) {
			nc.Close()
			t.Errorf("%v, want ErrAuthorization", err)
		}
	}
}
