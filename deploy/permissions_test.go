package deploy_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	natsd "github.com/estop-project/estop/pipeline/embedded/nats"
	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/coverage"
)

// permission is who may publish on a subject and who may hear it.
type permission struct {
	subject         string
	publish, listen []natsd.Role
}

var (
	nobody  []natsd.Role
	node1   = []natsd.Role{natsd.Detector}
	guards  = []natsd.Role{natsd.Detector, natsd.Guard} // a node may say what a guard says: it does harm to nobody but itself
	killers = []natsd.Role{natsd.Detector, natsd.Operator}
	askers  = []natsd.Role{natsd.Detector, natsd.Operator, natsd.Monitor}
	all     = natsd.Roles()
)

// The functions that make subjects, each with one that it makes.
var subjectsOf = map[string]string{
	"Subject":        revoke.Subject(revoke.Revocation{Tenant: "acme", Scope: revoke.Agent, Subject: "bot"}),
	"AckSubject":     revoke.AckSubject("g1"),
	"GuardSubject":   revoke.GuardSubject("g1"),
	"RiskSubject":    revoke.RiskSubject(revoke.Risk{Tenant: "acme", Agent: "bot", Source: revoke.SourceEvidence}),
	"TenantSubjects": revoke.TenantSubjects("acme"),
	"RiskSubjects":   revoke.RiskSubjects("acme"),
}

// permissions is the one table of every subject. Those with a wildcard are heard, not published.
func permissions() []permission {
	table := []permission{
		{subjectsOf["Subject"], killers, all},
		{revoke.Subject(revoke.Revocation{Scope: revoke.Global}), killers, all},
		{revoke.RevokePrefix, node1, all}, // it stops nobody: the stream does not keep it and guards do not hear it
		{revoke.RevokePrefix + ".>", nil, all},
		{subjectsOf["TenantSubjects"], nil, all},
		{revoke.GlobalSubjects, nil, all},
		{revoke.BeatSubject, node1, all},
		{subjectsOf["RiskSubject"], node1, all},
		{subjectsOf["RiskSubjects"], nil, all},
		{subjectsOf["AckSubject"], guards, all},
		{subjectsOf["GuardSubject"], guards, all},
		{coverage.AskSubject, askers, all},
		{coverage.RaisedPrefix + ".r1", node1, all},
		{"estop.v1.new", node1, all},
		{"estop.v2.revoke.acme.agent.bot", nobody, nobody},
		{"estop", nobody, nobody},
		{">", nil, nobody},
		{"*.>", nil, nobody},
		{"estop.>", nil, nobody},
		{"other", nobody, nobody},
		{"_INBOX.a.b", node1, all},
		{"_R_.a.b", node1, nobody},
		{"$JS.API.INFO", node1, nobody},
		{"$JS.API.STREAM.LIST", node1, nobody},
		{"$JS.API.STREAM.NAMES", node1, nobody},
		{"$JS.API.STREAM.CREATE.OTHER", node1, nobody},
		{"$JS.API.DIRECT.GET.OTHER", node1, nobody},
		{"$JS.ACK.ESTOP_REVOKE.c.1.1.1.1.0", nobody, nobody},
		{"$JS.EVENT.ADVISORY.STREAM.DELETED.ESTOP_REVOKE", nobody, nobody},
		{"$JS.EVENT.>", nil, nobody},
		{"$KV.bucket.key", nobody, nobody},
		{"$SYS.REQ.SERVER.PING", nobody, nobody},
		{"$SYS.REQ.ACCOUNT.DETECTOR.CONNZ", nobody, nobody},
		{"$SYS.REQ.USER.INFO", nobody, nobody},
		{"$SYS.ACCOUNT.DETECTOR.CONNECT", nobody, nobody},
		{"$SYS.>", nil, nobody},
	}
	for _, stream := range []string{revoke.Stream, revoke.RiskStream} {
		for _, verb := range []string{
			"STREAM.CREATE", "STREAM.UPDATE", "STREAM.DELETE", "STREAM.PURGE", "STREAM.MSG.DELETE", "STREAM.MSG.GET", "STREAM.SNAPSHOT",
			"STREAM.RESTORE", "STREAM.LEADER.STEPDOWN", "STREAM.PEER.REMOVE", "CONSUMER.CREATE", "CONSUMER.DURABLE.CREATE", "CONSUMER.LIST",
		} {
			table = append(table, permission{"$JS.API." + verb + "." + stream, node1, nobody})
		}
		look := node1
		if stream == revoke.Stream {
			look = killers
		}
		table = append(table,
			permission{"$JS.API.STREAM.INFO." + stream, look, nobody},
			permission{"$JS.API.DIRECT.GET." + stream, all, nobody},
			permission{"$JS.API.DIRECT.GET." + stream + ".estop.v1.revoke.acme.agent.bot", node1, nobody},
			permission{"$JS.API.CONSUMER.CREATE." + stream + ".c.estop.v1.revoke.>", nil, nobody},
			permission{"$JS.API.CONSUMER.MSG.NEXT." + stream + ".c", node1, nobody},
			permission{"$JS.API.CONSUMER.DELETE." + stream + ".c", node1, nobody})
	}
	return table
}

// checkPermissions compares what the server lets a login do with the table. It publishes in the order of the table, so what would
// delete a stream comes where nothing needs the stream any more.
func checkPermissions(t *testing.T, role natsd.Role, nc *nats.Conn) {
	t.Helper()
	violation := func(kind, subject string) bool {
		t.Helper()
		// The server refuses before it answers the ping of Flush.
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
		err := nc.LastError()
		return err != nil && strings.Contains(err.Error(), fmt.Sprintf("Permissions Violation for %s to %q", kind, subject))
	}
	for _, p := range permissions() {
		if !strings.ContainsAny(p.subject, "*>") {
			if err := nc.Publish(p.subject, []byte("by "+role)); err != nil {
				t.Fatal(err)
			}
			if may := !violation("Publish", p.subject); may != slices.Contains(p.publish, role) {
				t.Errorf("the %s may publish %s: %v", role, p.subject, may)
			}
		}
		sub, err := nc.SubscribeSync(p.subject)
		if err != nil {
			t.Fatal(err)
		}
		if may := !violation("Subscription", p.subject); may != slices.Contains(p.listen, role) {
			t.Errorf("the %s may hear %s: %v", role, p.subject, may)
		}
		_ = sub.Unsubscribe() // one that was refused is gone already
	}
}

// silent keeps refusals out of the output: LastError has them.
var silent = nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})

func TestNobodyPublishesWithoutPermission(t *testing.T) {
	t.Run("nkeys and TLS", func(t *testing.T) {
		x := startSecured(t)
		for _, role := range natsd.Roles() {
			t.Run(string(role), func(t *testing.T) { checkPermissions(t, role, x.connect(t, role)) })
		}
	})
	t.Run("estop.conf", func(t *testing.T) {
		s := startNATS(t)
		checkPermissions(t, natsd.Detector, connectNATS(t, s, natsd.DetectorUser, detectorPassword, silent))
		checkPermissions(t, natsd.Guard, connectNATS(t, s, natsd.GuestUser, guestPassword, silent))
	})
	t.Run("estop up", func(t *testing.T) {
		s, err := natsd.Start(natsd.Options{Dir: t.TempDir(), Password: detectorPassword})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Stop)
		checkPermissions(t, natsd.Detector, connectNATSAt(t, s.URL(), natsd.DetectorUser, detectorPassword, silent))
		nc, err := nats.Connect(s.URL(), silent) // whoever does not log in
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		checkPermissions(t, natsd.Guard, nc)
	})
}

// A subject of the code that the table lacks is one of which nobody has said who may publish it.
func TestTheTableOfPermissionsHasEverySubjectOfTheProtocol(t *testing.T) {
	var subjects []string
	for _, p := range permissions() {
		subjects = append(subjects, p.subject)
	}
	found := 0
	for _, dir := range []string{"../revoke", "../revoke/coverage", "../revoke/guard", "../revoke/gate/risk"} {
		for _, file := range parseFolder(t, filepath.Join(here, dir)) {
			ast.Inspect(file, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.BasicLit:
					text, err := strconv.Unquote(n.Value)
					if n.Kind != token.STRING || err != nil || strings.ContainsAny(text, " /") {
						return true
					}
					if strings.HasPrefix(text, "estop.v") || strings.HasPrefix(text, "$JS.") || strings.HasPrefix(text, "ESTOP_") {
						found++
						if !slices.ContainsFunc(subjects, func(s string) bool { return strings.HasPrefix(s, text) || strings.HasSuffix(s, "."+text) }) {
							t.Errorf("%s: no row of the table is of %q", dir, text)
						}
					}
				case *ast.FuncDecl:
					name := n.Name.Name
					makes := strings.HasSuffix(name, "Subject") || strings.HasSuffix(name, "Subjects")
					if n.Recv == nil && n.Name.IsExported() && makes {
						found++
						if !slices.Contains(subjects, subjectsOf[name]) {
							t.Errorf("%s: no row of the table is of what %s makes", dir, name)
						}
					}
				}
				return true
			})
		}
	}
	if found < 14 {
		t.Errorf("%d subjects found in the code, fewer than there were", found)
	}
}

// parseFolder reads the Go files of a folder that are no tests.
func parseFolder(t *testing.T, dir string) []*ast.File {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	return files
}

// Every role and every server name one list of permissions; here it is seen that no role has more than is written above.
func TestNoRoleButTheDetectorPublishesHeartbeatsOrRisks(t *testing.T) {
	for _, role := range natsd.Roles() {
		for _, subject := range natsd.PermissionsOf(role).Publish {
			told := server.SubjectsCollide(subject, revoke.BeatSubject) || server.SubjectsCollide(subject, revoke.RiskPrefix+".>")
			if told && role != natsd.Detector {
				t.Errorf("the %s publishes %s", role, subject)
			}
		}
	}
}
