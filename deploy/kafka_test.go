package deploy_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/estop-project/estop/pipeline"
)

var update = flag.Bool("update", false, "write the tables that are made from the code")

func TestKafkaREADMEListsTheTopicsAsTheyAreMade(t *testing.T) {
	const begin, end = "<!-- topics -->\n", "<!-- end of topics -->"
	text := read(t, "kafka/README.md")
	before, rest, ok := strings.Cut(text, begin)
	table, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatal("kafka/README.md has no place for the table of topics")
	}
	want := topicTable()
	if *update {
		if err := os.WriteFile(inDeploy("kafka/README.md"), []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, table); diff != "" {
		t.Errorf("what the code makes (-) and kafka/README.md (+); -update writes it:\n%s", diff)
	}
}

func topicTable() string {
	var columns []string
	for _, spec := range pipeline.Topics() {
		for key := range spec.Config {
			if !slices.Contains(columns, key) {
				columns = append(columns, key)
			}
		}
	}
	slices.Sort(columns)
	table := "| topic | partitions | " + strings.Join(columns, " | ") + " |\n|---" + strings.Repeat("|---", len(columns)+1) + "|\n"
	for _, spec := range pipeline.Topics() {
		row := []string{spec.Name, "1"}
		if spec.Sharded {
			row[1] = "partitions"
		}
		for _, key := range columns {
			row = append(row, spec.Config[key])
		}
		table += "| " + strings.Join(row, " | ") + " |\n"
	}
	return table
}

// rule is one rule that acls.sh adds.
type rule struct {
	user string
	acl  kfake.ACL
}

// kafkaRules runs kafka/acls.sh with a kafka-acls.sh that writes its arguments down.
func kafkaRules(t *testing.T) []rule {
	t.Helper()
	dir := t.TempDir()
	arguments := filepath.Join(dir, "arguments")
	tool := "#!/bin/sh\nfor a in \"$@\"; do printf '%s\\n' \"$a\"; done >>\"$ARGUMENTS\"\necho -- >>\"$ARGUMENTS\"\n"
	if err := os.WriteFile(filepath.Join(dir, "kafka-acls.sh"), []byte(tool), 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", inDeploy("kafka/acls.sh"), "--command-config", "admin.properties")
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "ARGUMENTS="+arguments, "BOOTSTRAP=broker:1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("acls.sh: %v: %s", err, out)
	}
	b, err := os.ReadFile(arguments)
	if err != nil {
		t.Fatal(err)
	}
	var all []rule
	for _, call := range strings.Split(strings.TrimSuffix(string(b), "--\n"), "--\n") {
		rules, err := parseRules(strings.Split(strings.TrimSuffix(call, "\n"), "\n"))
		if err != nil {
			t.Fatalf("kafka-acls.sh %q: %v", call, err)
		}
		all = append(all, rules...)
	}
	return all
}

var kafkaOperations = map[string]kmsg.ACLOperation{
	"Read": kmsg.ACLOperationRead, "Write": kmsg.ACLOperationWrite,
	"Create": kmsg.ACLOperationCreate, "Describe": kmsg.ACLOperationDescribe,
}

// parseRules reads the arguments of one kafka-acls.sh, of which it knows what acls.sh uses.
func parseRules(args []string) ([]rule, error) {
	var r rule
	r.acl = kfake.ACL{Pattern: kmsg.ACLResourcePatternTypeLiteral, Allow: true}
	type resource struct {
		kind kmsg.ACLResourceType
		name string
	}
	var on []resource
	var add bool
	for i := 0; i < len(args); i++ {
		option := args[i]
		if option == "--add" {
			add = true
			continue
		}
		if i++; i == len(args) {
			return nil, fmt.Errorf("%s has no value", option)
		}
		switch value := args[i]; option {
		case "--bootstrap-server", "--command-config":
		case "--allow-principal":
			r.user = strings.TrimPrefix(value, "User:")
		case "--operation":
			op, ok := kafkaOperations[value]
			if !ok || r.acl.Operation != 0 {
				return nil, fmt.Errorf("operation %q", value)
			}
			r.acl.Operation = op
		case "--topic":
			on = append(on, resource{kmsg.ACLResourceTypeTopic, value})
		case "--group":
			on = append(on, resource{kmsg.ACLResourceTypeGroup, value})
		case "--resource-pattern-type":
			if value != "prefixed" {
				return nil, fmt.Errorf("pattern %q", value)
			}
			r.acl.Pattern = kmsg.ACLResourcePatternTypePrefixed
		default:
			return nil, fmt.Errorf("unknown option %q", option)
		}
	}
	if !add || r.user == "" || r.acl.Operation == 0 || len(on) == 0 {
		return nil, fmt.Errorf("adds nothing")
	}
	var all []rule
	for _, res := range on {
		r.acl.Resource, r.acl.Name = res.kind, res.name
		all = append(all, r)
	}
	return all, nil
}

func TestKafkaRulesNameOnlyTopicsAndGroupsThatExist(t *testing.T) {
	known := map[string]bool{pipeline.Group: true, "estop-archive": true, "estop-audit": true, "estop.": true, "estop-": true, "estop-notify-": true}
	for _, spec := range pipeline.Topics() {
		known[spec.Name] = true
	}
	// Only the roles that write decisions may, and only what sends calls may send calls, beside drills.
	writers := map[string][]string{}
	for _, r := range kafkaRules(t) {
		if !known[r.acl.Name] {
			t.Errorf("%s has a rule on %q, which does not exist", r.user, r.acl.Name)
		}
		if r.acl.Operation == kmsg.ACLOperationWrite {
			writers[r.acl.Name] = append(writers[r.acl.Name], r.user)
		}
	}
	want := map[string][]string{
		"estop.calls": {"estop-detect", "estop-operator", "estop-ingest"}, "estop.exchange": {"estop-detect"}, "estop.state": {"estop-detect"},
		"estop.features": {"estop-detect"}, "estop.detections": {"estop-detect"},
		"estop.revocations": {"estop-detect", "estop-operator"}, "estop.acks": {"estop-acks"},
		"estop.guards":    {"estop-acks"},
		"estop.decisions": {"estop-detect", "estop-acks", "estop-operator"},
		"estop.changes":   {"estop-detect"},
		"estop.calls.dlq": {"estop-detect", "estop-archive"}, "estop.notify.dlq": {"estop-notify"},
	}
	if diff := cmp.Diff(want, writers); diff != "" {
		t.Errorf("who may write what: wanted (-), got (+):\n%s", diff)
	}
}
