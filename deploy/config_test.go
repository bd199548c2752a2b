package deploy_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/estop-project/estop/pipeline/embedded/clickhouse/chtest"
	"github.com/estop-project/estop/pipeline/node"
)

func TestMain(m *testing.M) { chtest.Main(m) }

// here is this folder; some tests change the working directory.
var here, _ = os.Getwd()

// inDeploy returns the path of a file of this folder.
func inDeploy(name string) string { return filepath.Join(here, filepath.FromSlash(name)) }

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(inDeploy(name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// values are the settings without the places where they were said.
func values(c node.Config) map[string]any {
	m := map[string]any{}
	for _, s := range c.Settings() {
		m[s.Key] = s.Value
	}
	return m
}

func TestTheConfigurationFileHasEveryKeyAtItsDefault(t *testing.T) {
	c, err := node.Load(inDeploy("estop.yaml"), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(values(node.Default()), values(c)); diff != "" {
		t.Errorf("defaults (-) and estop.yaml (+):\n%s", diff)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(read(t, "estop.yaml")), &doc); err != nil {
		t.Fatal(err)
	}
	said := leaves("", doc.Content[0])
	var keys []string
	for _, s := range c.Settings() {
		keys = append(keys, s.Key)
	}
	slices.Sort(said)
	slices.Sort(keys)
	if diff := cmp.Diff(keys, said); diff != "" {
		t.Errorf("keys (-) and those that estop.yaml says (+):\n%s", diff)
	}
}

func leaves(prefix string, n *yaml.Node) []string {
	if n.Kind != yaml.MappingNode {
		return []string{prefix}
	}
	if prefix != "" {
		prefix += "."
	}
	var all []string
	for i := 0; i < len(n.Content); i += 2 {
		all = append(all, leaves(prefix+n.Content[i].Value, n.Content[i+1])...)
	}
	return all
}
