package deploy_test

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/estop-project/estop/pipeline/node"
)

// compose is as much of compose.yaml as the tests look at.
type compose struct {
	Services map[string]service `yaml:"services"`
	Volumes  map[string]any     `yaml:"volumes"`
}

type service struct {
	Image string `yaml:"image"`
	Build struct {
		Context    string `yaml:"context"`
		Dockerfile string `yaml:"dockerfile"`
	} `yaml:"build"`
	Command     []string          `yaml:"command"`
	Environment map[string]string `yaml:"environment"`
	Ports       []string          `yaml:"ports"`
	Volumes     []string          `yaml:"volumes"`
	Healthcheck struct {
		Test    []string `yaml:"test"`
		Disable bool     `yaml:"disable"`
	} `yaml:"healthcheck"`
	DependsOn map[string]any `yaml:"depends_on"`
}

func readCompose(t *testing.T) compose {
	t.Helper()
	var c compose
	if err := yaml.Unmarshal([]byte(read(t, "compose.yaml")), &c); err != nil {
		t.Fatal(err)
	}
	if len(c.Services) == 0 {
		t.Fatal("compose.yaml has no services")
	}
	return c
}

// roles are the services that are estop itself.
func (c compose) roles() map[string]service {
	m := maps.Clone(c.Services)
	maps.DeleteFunc(m, func(_ string, s service) bool { return s.Image != "estop" })
	return m
}

func TestComposeRefersOnlyToWhatExists(t *testing.T) {
	c := readCompose(t)
	for name, s := range c.Services {
		if s.Build.Dockerfile != "" {
			exists(t, name, filepath.Join(s.Build.Context, s.Build.Dockerfile))
		}
		for _, v := range s.Volumes {
			from, _, _ := strings.Cut(v, ":")
			if strings.HasPrefix(from, ".") {
				exists(t, name, from)
			} else if _, ok := c.Volumes[from]; !ok {
				t.Errorf("%s: there is no volume %q", name, from)
			}
		}
		for other := range s.DependsOn {
			if _, ok := c.Services[other]; !ok {
				t.Errorf("%s depends on %q, which does not exist", name, other)
			}
		}
		if host, _, ok := strings.Cut(s.Image, "/"); ok && strings.ContainsAny(host, ".:") {
			t.Errorf("%s: image %q names a registry", name, s.Image)
		}
		if len(s.Healthcheck.Test) == 0 && !s.Healthcheck.Disable {
			t.Errorf("%s has no health check", name)
		}
	}
}

func exists(t *testing.T, service, path string) {
	t.Helper()
	if _, err := os.Stat(inDeploy(path)); err != nil {
		t.Errorf("%s: %v", service, err)
	}
}

var variable = regexp.MustCompile(`\$\{([A-Z_]+):\?[^}]*\}`)

// environ returns the environment of a service with the secrets filled in.
func (s service) environ() []string {
	var all []string
	for k, v := range s.Environment {
		all = append(all, k+"="+variable.ReplaceAllString(v, "secret"))
	}
	return all
}

func TestComposeSecretsAreThoseOfTheExample(t *testing.T) {
	var used, offered []string
	for _, m := range variable.FindAllStringSubmatch(read(t, "compose.yaml"), -1) {
		used = append(used, m[1])
	}
	for line := range strings.Lines(read(t, "env.example")) {
		if name, _, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(line, "#") {
			offered = append(offered, name)
		}
	}
	slices.Sort(used)
	slices.Sort(offered)
	if diff := cmp.Diff(slices.Compact(used), offered); diff != "" {
		t.Errorf("secrets of compose.yaml (-) and env.example (+):\n%s", diff)
	}
	for _, file := range []string{"nats/accounts.conf", "clickhouse/estop.xml"} {
		for _, m := range regexp.MustCompile(`ESTOP_[A-Z_]*PASSWORD`).FindAllString(read(t, file), -1) {
			if !slices.Contains(offered, m) {
				t.Errorf("%s wants %s, which env.example does not have", file, m)
			}
		}
	}
}

func TestComposeRunsEveryRoleOnceWithSettingsThatEstopKnows(t *testing.T) {
	c := readCompose(t)
	var run []node.Role
	for name, s := range c.roles() {
		if s.Command[0] != "run" {
			continue
		}
		roles, err := node.ParseRoles(strings.Split(s.Command[len(s.Command)-1], ","))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		run = append(run, roles...)
		loaded, err := node.Load("", s.environ(), nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		said := map[string]bool{}
		for _, setting := range loaded.Settings() {
			said[setting.From] = true
		}
		for v := range s.Environment {
			if !said[v] {
				t.Errorf("%s: %s is no setting", name, v)
			}
		}
		if err := loaded.CheckRemote(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		checkAddresses(t, c, loaded)
	}
	slices.Sort(run)
	want := slices.Sorted(slices.Values(node.Roles()))
	if diff := cmp.Diff(want, run); diff != "" {
		t.Errorf("roles there are (-) and run (+):\n%s", diff)
	}
}

// checkAddresses holds that each server listens where the roles look for it.
func checkAddresses(t *testing.T, c compose, cfg node.Config) {
	t.Helper()
	kafka := c.Services["kafka"].Environment
	if !strings.Contains(kafka["KAFKA_ADVERTISED_LISTENERS"], "PLAINTEXT://"+cfg.Kafka.Brokers[0]) {
		t.Errorf("Kafka does not advertise %s", cfg.Kafka.Brokers[0])
	}
	_, port, _ := net.SplitHostPort(cfg.Kafka.Brokers[0])
	if !strings.Contains(kafka["KAFKA_LISTENERS"], "PLAINTEXT://:"+port+",") {
		t.Errorf("Kafka does not listen on %s", port)
	}
	u, err := url.Parse(cfg.NATS.URL)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := c.Services[u.Hostname()]; !ok || !strings.Contains(read(t, "nats/estop.conf"), fmt.Sprintf("listen: \"0.0.0.0:%s\"", u.Port())) {
		t.Errorf("NATS does not listen at %s", cfg.NATS.URL)
	}
	if cfg.ClickHouse.Addr == "" {
		return
	}
	host, port, _ := net.SplitHostPort(cfg.ClickHouse.Addr)
	if _, ok := c.Services[host]; !ok || port != "8123" || cfg.ClickHouse.Protocol != "http" {
		t.Errorf("ClickHouse's HTTP port is 8123 of clickhouse, not %s", cfg.ClickHouse.Addr)
	}
	if cfg.ClickHouse.User != "estop" {
		t.Errorf("the archive logs in as %q, not as the user of clickhouse/estop.xml", cfg.ClickHouse.User)
	}
}

func TestTheImageIsBuiltByTheMakefile(t *testing.T) {
	docker := read(t, "Dockerfile")
	if !strings.Contains(docker, "\nRUN make build VERSION=\"$VERSION\"\n") {
		t.Error("the Dockerfile does not build with 'make build'")
	}
	makefile, err := os.ReadFile(inDeploy("../Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	bin := regexp.MustCompile(`(?m)^BIN +:= (\S+)$`).FindSubmatch(makefile)
	if bin == nil || !strings.Contains(docker, "COPY --from=build /src/"+string(bin[1])+" ") {
		t.Errorf("the image does not take what the Makefile builds (%s)", bin)
	}
	mod, err := os.ReadFile(inDeploy("../go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	minor := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindSubmatch(mod)
	if !strings.Contains(docker, "FROM golang:"+string(minor[1])+"-") {
		t.Errorf("the Dockerfile does not build with Go %s of go.mod", minor[1])
	}
	for _, m := range regexp.MustCompile(`(?m)^FROM (\S+)`).FindAllStringSubmatch(docker, -1) {
		if host, _, ok := strings.Cut(m[1], "/"); ok && strings.ContainsAny(host, ".:") {
			t.Errorf("base %q names a registry", m[1])
		}
	}
	user := regexp.MustCompile(`(?m)^USER (\d+):\d+$`).FindStringSubmatch(docker)
	if user == nil || user[1] == "0" {
		t.Errorf("the image runs as %v", user)
	}
	environ := regexp.MustCompile(`(?m)^ENV (.+)$`).FindStringSubmatch(docker)
	if environ == nil {
		t.Fatal("the image sets nothing")
	}
	c, err := node.Load("", strings.Fields(environ[1]), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(c.HTTP.Addr)
	if c.Dir != "/var/lib/estop" || !strings.Contains(docker, "\nEXPOSE "+port+"\n") {
		t.Errorf("data in %q, metrics at %q", c.Dir, c.HTTP.Addr)
	}
}
