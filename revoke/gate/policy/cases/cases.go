// Package cases tests policies: calls in, decisions and the policies behind them out.
package cases

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/gate"
	"github.com/estop-project/estop/revoke/gate/policy"
	"github.com/estop-project/estop/revoke/guard"
)

// Suffix ends the names of files of tests. They stand beside the policies.
const Suffix = "_test.yaml"

const maxFile = 4 << 20 // bytes

// Case is one test.
type Case struct {
	File string
	Line int

	Name     string
	Request  gate.Request
	Risk     policy.Risk
	Want     bool     // permitted
	Policies []string // that decide it, in any order; nil: whichever
	Reason   string   // a part of the reason
}

// noTime is when a call comes that says nothing of it: a Monday at noon, so that a test does not depend on the day it runs.
var noTime = time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC)

// written is a test as it stands in YAML.
type written struct {
	Name string `yaml:"name"`
	Call struct {
		Tenant   string   `yaml:"tenant"`
		Agent    string   `yaml:"agent"`
		Identity string   `yaml:"identity"`
		Session  string   `yaml:"session"`
		Chain    []string `yaml:"chain"`
		Action   string   `yaml:"action"`
		Resource string   `yaml:"resource"`
	} `yaml:"call"`
	Risk     string            `yaml:"risk"`
	Score    *int              `yaml:"score"`
	Time     time.Time         `yaml:"time"`
	Reads    *bool             `yaml:"reads"`
	Gate     string            `yaml:"gate"`
	Verdict  string            `yaml:"verdict"`
	Context  map[string]string `yaml:"context"`
	Want     string            `yaml:"want"`
	Policies []string          `yaml:"policies"`
	Reason   string            `yaml:"reason"`
}

// scores are what a level counts as where a test names no score: the middle of what it stands for.
var scores = map[revoke.Level]int{revoke.RiskLow: 25, revoke.RiskMedium: 70, revoke.RiskHigh: 100, revoke.RiskUnknown: policy.Unknown.Score}

// Load reads the tests beside the policies of a folder, or of one file of policies: those of a.cedar are in a_test.yaml. The error is
// policy.Errors where a file is wrong.
func Load(name string) ([]Case, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("cannot read tests: %w", err)
	}
	if !info.IsDir() {
		base := strings.TrimSuffix(filepath.Base(name), policy.Suffix) + Suffix
		return LoadFS(os.DirFS(filepath.Dir(name)), base)
	}
	return LoadFS(os.DirFS(name), ".")
}

// LoadFS is Load in a file system: of the file root, or of all files below the folder root.
func LoadFS(files fs.FS, root string) ([]Case, error) {
	var all []Case
	var errs policy.Errors
	err := fs.WalkDir(files, root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() || !strings.HasSuffix(path.Base(name), Suffix) || strings.HasPrefix(path.Base(name), ".") {
			return nil
		}
		some, wrong := read(files, name)
		all, errs = append(all, some...), append(errs, wrong...)
		return nil
	})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("cannot read tests: %w", err)
	case len(errs) > 0:
		return nil, errs
	}
	return all, nil
}

func read(files fs.FS, name string) ([]Case, policy.Errors) {
	bad := func(format string, args ...any) policy.Errors {
		return policy.Errors{{File: name, Text: fmt.Sprintf(format, args...)}}
	}
	f, err := files.Open(name)
	if err != nil {
		return nil, bad("%v", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return nil, bad("%v", err)
	case len(b) > maxFile:
		return nil, bad("more than %d bytes", maxFile)
	}
	var nodes []yaml.Node
	if err := yaml.Unmarshal(b, &nodes); err != nil {
		return nil, bad("it is not a list of tests: %s", plain(err))
	}
	var all []Case
	var errs policy.Errors
	for i := range nodes {
		c, err := parse(&nodes[i])
		if err != nil {
			errs = append(errs, policy.Error{File: name, Line: nodes[i].Line, Column: nodes[i].Column, Text: err.Error()})
			continue
		}
		c.File, c.Line = name, nodes[i].Line
		all = append(all, c)
	}
	return all, errs
}

// plain takes the decoder's name off its errors.
func plain(err error) string {
	return strings.Join(strings.Fields(strings.TrimPrefix(strings.TrimPrefix(err.Error(), "yaml: "), "unmarshal errors:")), " ")
}

// parse reads one test, strictly. A node cannot be read strictly, so its text is.
func parse(n *yaml.Node) (Case, error) {
	text, err := yaml.Marshal(n)
	if err != nil {
		return Case{}, err
	}
	var w written
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&w); err != nil {
		return Case{}, errors.New(withoutLine(plain(err)))
	}
	return w.test()
}

// withoutLine takes off a line number that counts from the test's own beginning.
func withoutLine(text string) string {
	if rest, ok := strings.CutPrefix(text, "line "); ok {
		if _, after, ok := strings.Cut(rest, ": "); ok {
			text = after
		}
	}
	text, _, _ = strings.Cut(text, " in type ")
	return text
}

func (w written) test() (Case, error) {
	c := Case{Name: w.Name, Policies: w.Policies, Reason: w.Reason, Risk: policy.Risk{Level: revoke.Level(w.Risk)}}
	if w.Risk == "" {
		c.Risk.Level = revoke.RiskUnknown
	}
	score, ok := scores[c.Risk.Level]
	switch {
	case w.Name == "":
		return c, errors.New("a test without a name")
	case !ok:
		return c, fmt.Errorf("%q: risk: %q is none of low, medium, high, unknown", w.Name, w.Risk)
	case w.Score != nil && (*w.Score < 0 || *w.Score > 100):
		return c, fmt.Errorf("%q: score: %d is not between 0 and 100", w.Name, *w.Score)
	case w.Want != "allow" && w.Want != "deny":
		return c, fmt.Errorf("%q: want: %q is neither allow nor deny", w.Name, w.Want)
	case w.Call.Tenant == "" || w.Call.Agent == "":
		return c, fmt.Errorf("%q: call: a tenant and an agent are needed", w.Name)
	}
	if c.Risk.Score = score; w.Score != nil {
		c.Risk.Score = *w.Score
	}
	c.Want = w.Want == "allow"
	verdict, ok := map[string]guard.Verdict{"": guard.Allow, "allow": guard.Allow, "throttle": guard.Throttle, "restrict": guard.Restrict}[w.Verdict]
	if !ok {
		return c, fmt.Errorf("%q: verdict: %q is none of allow, throttle, restrict; what a guard denies no policy is asked about", w.Name, w.Verdict)
	}
	c.Request = gate.Request{
		Call: guard.Call{
			Tenant: w.Call.Tenant, Agent: w.Call.Agent, Identity: w.Call.Identity, Session: w.Call.Session, Chain: w.Call.Chain,
			Action: w.Call.Action, Resource: w.Call.Resource,
		},
		Time: w.Time, Verdict: verdict, Reads: gate.Reads(w.Call.Action), Gate: w.Gate, Context: w.Context,
	}
	if w.Reads != nil {
		c.Request.Reads = *w.Reads
	}
	if w.Gate == "" {
		c.Request.Gate = "http"
	}
	if w.Time.IsZero() {
		c.Request.Time = noTime
	}
	return c, nil
}

// Result is how a test ended.
type Result struct {
	Name    string `json:"name"`
	File    string `json:"file"`
	Line    int    `json:"line"`
	Failure string `json:"failure,omitempty"` // what was not as wanted
}

// Run runs the tests, and returns the ids of the policies that decided none of them.
func Run(s *policy.Set, all []Case) (results []Result, untested []string) {
	untested = s.IDs()
	for _, c := range all {
		p := s.Authorize(&c.Request, c.Risk)
		untested = slices.DeleteFunc(untested, func(id string) bool { return slices.Contains(p.Policies, id) })
		results = append(results, Result{Name: c.Name, File: c.File, Line: c.Line, Failure: c.unmet(p)})
	}
	return results, untested
}

func (c Case) unmet(p gate.Permission) string {
	word := map[bool]string{true: "allow", false: "deny"}
	by := func(ids []string) string {
		if len(ids) == 0 {
			return "no policy"
		}
		return strings.Join(slices.Sorted(slices.Values(ids)), ", ")
	}
	switch {
	case p.Allowed != c.Want:
		why := ""
		if p.Reason != "" {
			why = ": " + p.Reason
		}
		return fmt.Sprintf("want %s, got %s by %s%s", word[c.Want], word[p.Allowed], by(p.Policies), why)
	case c.Policies != nil && by(c.Policies) != by(p.Policies):
		return fmt.Sprintf("want it decided by %s, got %s", by(c.Policies), by(p.Policies))
	case !strings.Contains(p.Reason, c.Reason):
		return fmt.Sprintf("the reason is %q, without %q", p.Reason, c.Reason)
	}
	return ""
}
