// Package chuser lets a test's ClickHouse engine hold to the rights of a user of
// deploy/clickhouse/estop.xml. The engine has its access control on but knows one user,
// default, so that one gets the profile and the grants of the user.
package chuser

import (
	_ "embed"
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/estop-project/estop/pipeline/embedded/clickhouse"
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

// Become makes every engine that the test starts from now on hold to the rights of the
// named user and to the further grants, those that the embedded engine's own machinery
// needs. It changes the working directory for the rest of the test: the engine reads its
// configuration from there.
func Become(t testing.TB, name string, further ...string) {
	t.Helper()
	f := read(t)
	for _, u := range f.Users.All {
		if u.XMLName.Local == name {
			enter(t, f.profile(t, u.Profile), append(u.Grants, further...))
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

func enter(t testing.TB, profile string, grants []string) {
	t.Helper()
	t.Setenv(clickhouse.LibraryVariable, chtest.Library(t))
	dir := t.TempDir()
	users := `<clickhouse><profiles><default>` + profile + `</default></profiles><quotas><default/></quotas>
<users><default><password/><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota><grants>`
	for _, g := range grants {
		users += fmt.Sprintf("<query>%s</query>\n", g)
	}
	users += `</grants></default></users></clickhouse>`
	for name, text := range map[string]string{
		"users.xml":  users,
		"config.xml": `<clickhouse><users_config>` + filepath.Join(dir, "users.xml") + `</users_config></clickhouse>`,
		"go.mod":     "module here\n", // chtest wants to be inside a module
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
}
