// Package chuser lets a test's ClickHouse engine hold to the rights of a user of
// deploy/clickhouse/estop.xml. The engine has its access control on but knows one user,
// default, so that one gets the profile and the grants of the user.
package chuser

import (
	_ "embed"
	"encoding/xml"
	"os"
	"path/filepath"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"

	engine "github.com/estop-project/estop/pipeline/embedded/clickhouse"
	"github.com/estop-project/estop/pipeline/embedded/clickhouse/chtest"
)

//go:embed estop.xml
var usersFile []byte

// file is as much of a ClickHouse users file as is needed.
type file struct {
	Profiles struct {
		All []inner `xml:",any"`
	} `xml:"profiles"`
	Users struct {
		All []user `xml:",any"`
	} `xml:"users"`
}

type inner struct {
	XMLName xml.Name
	Content string `xml:",innerxml"`
}

type user struct {
	XMLName xml.Name
	Profile string   `xml:"profile"`
	Grants  []string `xml:"grants>query"`
}

// machinery is what the embedded engine needs, and a ClickHouse server does not: it reads
// the rows of an insert from a file descriptor.
const machinery = "GRANT READ ON FILE"

// Start starts the engine on the data in dir, where everybody has the rights of the named
// user. It returns the server and how to reach its database estop. The test's TestMain must
// call chtest.Main.
func Start(t testing.TB, dir, name string) (*engine.Server, clickhouse.Options) {
	t.Helper()
	become(t, dir, name)
	s := chtest.StartWith(t, engine.Options{Dir: dir})
	return s, clickhouse.Options{Addr: []string{s.Addr()}, Protocol: clickhouse.HTTP, Auth: clickhouse.Auth{Database: "estop"}}
}

func become(t testing.TB, dir, name string) {
	t.Helper()
	f := read(t)
	for _, u := range f.Users.All {
		if u.XMLName.Local == name {
			write(t, dir, f.profile(t, u.Profile), append(u.Grants, machinery))
			return
		}
	}
	t.Fatalf("deploy/clickhouse/estop.xml has no user %q", name)
}

func read(t testing.TB) file {
	t.Helper()
	var f file
	if err := xml.Unmarshal(usersFile, &f); err != nil {
		t.Fatalf("deploy/clickhouse/estop.xml: %v", err)
	}
	return f
}

func (f file) profile(t testing.TB, name string) string {
	t.Helper()
	for _, p := range f.Profiles.All {
		if p.XMLName.Local == name {
			return p.Content
		}
	}
	t.Fatalf("deploy/clickhouse/estop.xml has no profile %q", name)
	return ""
}

// write puts the rights where ClickHouse looks for what is to be merged into its
// configuration.
func write(t testing.TB, dir, profile string, grants []string) {
	t.Helper()
	conf := filepath.Join(dir, "conf.d")
	if err := os.MkdirAll(conf, 0o700); err != nil {
		t.Fatal(err)
	}
	users := filepath.Join(dir, "rights.xml")
	text := `<clickhouse><profiles><default>` + profile + `</default></profiles><quotas><default/></quotas>
<users><default><password/><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota><grants>`
	for _, g := range grants {
		text += "<query>" + g + "</query>\n"
	}
	text += `</grants></default></users></clickhouse>`
	for path, text := range map[string]string{
		users:                             text,
		filepath.Join(conf, "rights.xml"): `<clickhouse><users_config>` + users + `</users_config></clickhouse>`,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
