package notify

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/revoke"
)

func TestAFileThatSaysEverything(t *testing.T) {
	f := mustLoad(t, `
transmitter:
  issuer: https://estop.example.com
  verify: 1h
sinks:
  - name: chat
    type: slack
    url: {env: CHAT_URL}
    filter: {kinds: [detection, release], tenants: ["acme*", beta], severity: high, modes: enforce, canaries: true}
    retry: {first: 1s, longest: 2m, for: 1h30m}
    timeout: 3s
    lanes: 9
  - {name: idp, type: caep, url: "https://idp.example.com/events", audience: a, filter: {tenants: [acme]}, subjects: {agent: {format: email, email: "{subject}@x.example"}}}
`, map[string]string{"CHAT_URL": "https://chat.example.com/hook"})
	s := f.Sinks[0]
	if s.url != "https://chat.example.com/hook" || s.Host() != "chat.example.com" || s.Timeout != 3*time.Second || s.Lanes != 9 || f.Verify != time.Hour {
		t.Errorf("%+v", s)
	}
	if diff := cmp.Diff(Filter{Kinds: []Kind{Detection, Release}, Tenants: []string{"acme*", "beta"}, Severity: "high", Modes: []string{"enforce"}, Canaries: true}, s.Filter); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(Retry{First: time.Second, Longest: 2 * time.Minute, For: 90 * time.Minute}, s.Retry); diff != "" {
		t.Error(diff)
	}
	if _, err := f.Sink("ihp"); err == nil || !strings.Contains(err.Error(), `(did you mean "idp"?)`) {
		t.Errorf("%v", err)
	}
}

func TestAMistakeIsNamedWithItsPlaceAndTheRightWord(t *testing.T) {
	env := map[string]string{"SHORT": "short", "LONG": "0123456789abcdef", "EMPTY": "", "LINE": "a\nb", "BAD": "whsec_***", "HTTP": "http://secret.example/x"}
	head := "sinks:\n  - name: a\n    type: webhook\n    url: https://x.example\n"
	caepHead := transmitter + "  - name: a\n    type: caep\n    url: https://x.example\n    audience: b\n    subjects:\n"
	for name, c := range map[string]struct{ text, want string }{
		"an empty file":          {"", "sinks.yaml: the file is empty"},
		"broken YAML":            {"sinks: [", "sinks.yaml:1: "},
		"two documents":          {head + "---\n", "begins a second one"},
		"a list":                 {"- a\n", "1:1: a file of sinks is a mapping"},
		"no sinks":               {"sinks: []\n", "1:1: sinks is a list of at least one sink"},
		"a near key":             {"sink: []\n", `1:1: unknown key "sink" of a file of sinks (did you mean "sinks"?)`},
		"a near type":            {"sinks:\n  - {name: a, type: slak}\n", `2:21: "slak" is not known (did you mean "slack"?)`},
		"no type":                {"sinks:\n  - {name: a}\n", "2:5: a sink has a type: webhook, slack, siem, caep"},
		"no name":                {"sinks:\n  - {type: slack, url: \"https://x.example\"}\n", "2:5: a sink has a name"},
		"a name":                 {"sinks:\n  - {name: A_b, type: slack, url: \"https://x.example\"}\n", "2:12: a sink has a name of lower-case"},
		"the same name":          {head + "  - {name: a, type: slack, url: \"https://x.example\"}\n", `5:5: a sink is called "a" already`},
		"no url":                 {"sinks:\n  - {name: a, type: slack}\n", "2:5: a sink has a url"},
		"a key of another type":  {head + "    audience: b\n", `5:5: unknown key "audience" of a sink of type webhook; known: ca, filter, headers`},
		"said twice":             {head + "    name: b\n", "5:5: name was said before"},
		"http":                   {strings.Replace(head, "https", "http", 1), "4:10: http is not encrypted"},
		"a secret url is http":   {"sinks:\n  - {name: a, type: slack, url: {env: HTTP}}\n", "http is not encrypted"},
		"a password":             {strings.Replace(head, "x.example", "u:hunter2@x.example", 1), "4:10: a url carries no user and no password"},
		"no host":                {strings.Replace(head, "https://x.example", "x.example/hook", 1), "4:10: the url is not https://HOST/PATH"},
		"a secret in the file":   {head + "    secret: hunter2hunter2hunter2\n", "5:13: a secret does not belong into this file: write {env: NAME} or {file: PATH}"},
		"a secret that is short": {head + "    secret: {env: SHORT}\n", "5:13: the secret is not at least 16 bytes"},
		"a secret of no base64":  {head + "    secret: {env: BAD}\n", "5:13: the secret is not at least 16 bytes, or has whsec_ in front and no base64 behind it"},
		"a secret not there":     {head + "    secret: {env: NOBODY}\n", "5:13: the environment has no NOBODY"},
		"an empty secret":        {head + "    secret: {env: EMPTY}\n", "5:13: the environment has no EMPTY"},
		"no such file":           {head + "    secret: {file: nothing-here}\n", "5:13: cannot read the secret"},
		"neither":                {head + "    secret: {evn: LONG}\n", `5:14: unknown key "evn" of a secret (did you mean "env"?)`},
		"a header of ours":       {head + "    headers: {webhook-id: x}\n", "5:15: the header Webhook-Id is not free"},
		"a header's value":       {head + "    headers: {X-A: {env: LINE}}\n", "has signs that a header cannot have"},
		"a time":                 {head + "    timeout: 10\n", `5:14: "10" is not a time such as 500ms`},
		"a long time":            {head + "    timeout: 10h\n", "5:14: 10h0m0s is not between 10ms and 5m0s"},
		"lanes":                  {head + "    lanes: 0\n", `5:12: "0" is not a whole number between 1 and 64`},
		"a kind":                 {head + "    filter: {kinds: [detections]}\n", `5:22: "detections" is not known (did you mean "detection"?)`},
		"a severity":             {head + "    filter: {severity: hihg}\n", `5:24: "hihg" is not known (did you mean "high"?)`},
		"a mode":                 {head + "    filter: {modes: [enforced]}\n", `(did you mean "enforce"?)`},
		"an empty list":          {head + "    filter: {tenants: []}\n", "5:23: the list is empty; leave it out"},
		"no authority":           {head + "    ca: nothing-here\n", "5:9: cannot read the authority"},
		"an index without hec":   {"sinks:\n  - {name: a, type: siem, url: \"https://x.example\", index: b}\n", "an index is of the format hec"},
		"no issuer":              {strings.TrimPrefix(caepHead, strings.SplitAfter(transmitter, "\n")[0]) + "      agent: {format: iss_sub, iss: i, sub: \"{tenant}/{subject}\"}\n", "needs 'transmitter: {issuer:"},
		"an issuer":              {strings.Replace(caepHead, "https://estop", "http://estop", 1) + "      agent: {format: iss_sub, iss: i, sub: \"{tenant}/{subject}\"}\n", "1:23: the issuer is an https URL"},
		"no subject in a sub":    {caepHead + "      agent: {format: iss_sub, iss: i, sub: \"{tenant}\"}\n", "8:7: the subject of agent does not hold {subject}: one kill would stop them all"},
		"no tenant in a sub":     {caepHead + "      agent: {format: iss_sub, iss: i, sub: \"{subject}\"}\n", "agents of two tenants would be one"},
		"nothing in between":     {caepHead + "      agent: {format: iss_sub, iss: i, sub: \"{tenant}{subject}\"}\n", "nothing between two names"},
		"a placeholder":          {caepHead + "      agent: {format: iss_sub, iss: i, sub: \"{tenant}/{agent}\"}\n", "{agent} is neither {tenant} nor {subject}"},
		"a scope":                {caepHead + "      agnet: {format: email, email: x}\n", `unknown key "agnet" of subjects (did you mean "agent"?)`},
		"half a subject":         {caepHead + "      agent: {format: iss_sub, sub: \"{tenant}/{subject}\"}\n", "has iss and sub, and nothing else"},
		"a weak algorithm":       {caepHead + "      agent: {format: iss_sub, iss: i, sub: \"{tenant}/{subject}\"}\n    alg: HS256\n", `"HS256" is not known (did you mean "RS256"?)`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := load(t, c.text, env)
			if !errors.Is(err, ErrFile) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v\nwant %s", err, c.want)
			}
			if err != nil && (strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "secret.example")) {
				t.Errorf("a secret is shown: %v", err)
			}
		})
	}
}

func TestFilter(t *testing.T) {
	detection := func(change func(*detector.Detection)) *Event {
		e := detected()
		change(e.Detection)
		return e
	}
	low := detection(func(d *detector.Detection) { d.Severity = "low" })
	observed := detection(func(d *detector.Detection) { d.Mode = "observe" })
	canary := detection(func(d *detector.Detection) { d.Canary = true })
	strange := detection(func(d *detector.Detection) { d.Severity = "apocalyptic" })
	global := revoked(func(e *Event) {
		e.Revocation.Scope, e.Revocation.Subject, e.Tenant = revoke.Global, revoke.Everything, revoke.Everything
	})
	with := func(change func(*Filter)) Filter {
		f := defaultFilter()
		change(&f)
		return f
	}
	high := with(func(f *Filter) { f.Severity = "high" })
	for name, c := range map[string]struct {
		f    Filter
		e    *Event
		want bool
	}{
		"a detection":             {defaultFilter(), detected(), true},
		"a revocation":            {defaultFilter(), revoked(nil), true},
		"one that observes":       {defaultFilter(), observed, false},
		"a canary":                {defaultFilter(), canary, false},
		"a canary that is wanted": {with(func(f *Filter) { f.Canaries = true }), canary, true},
		"observers are wanted":    {with(func(f *Filter) { f.Modes = []string{"observe"} }), observed, true},
		"too low":                 {high, low, false},
		"high enough":             {high, detected(), true},
		"a severity to come":      {high, strange, true},
		"severity is of no stop":  {high, revoked(nil), true},
		"another kind":            {with(func(f *Filter) { f.Kinds = []Kind{Release} }), revoked(nil), false},
		"another tenant":          {with(func(f *Filter) { f.Tenants = []string{"beta", "acme-*"} }), detected(), false},
		"all tenants":             {with(func(f *Filter) { f.Tenants = []string{"beta"} }), global, true},
		"a tenant by its pattern": {with(func(f *Filter) { f.Tenants = []string{"beta", "ac*"} }), detected(), true},
	} {
		if got := c.f.passes(c.e); got != c.want {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"acme", "acme", true}, {"acme", "acme2", false}, {"acme", "acm", false}, {"*", "", true}, {"*", "a/b", true},
		{"a*c", "abc", true}, {"a*c", "ac", true}, {"a*c", "ab", false}, {"a*a", "a", false}, {"*b*", "abc", true}, {"*b*b", "ab", false},
		{"a*b*c", "a-b-c", true}, {"a*b*c", "a-c-b", false}, {"[a]", "a", false}, {"?", "a", false}, {"", "", true}, {"", "a", false},
	} {
		if got := matches(c.pattern, c.name); got != c.want {
			t.Errorf("%q of %q: %v", c.pattern, c.name, got)
		}
	}
}

// What is in Kafka was written by estop, but the names in it were not.
func FuzzReadEvent(f *testing.F) {
	for _, seed := range []string{
		`{"id":"d1","ts":"2026-11-24T12:00:00Z","detector":"loop","mode":"enforce","severity":"high","tenant":"acme","agent":"bot"}`,
		`{"id":"k1","tenant":"acme","scope":"agent","subject":"bot","action":"revoke","issued_at":"2026-11-24T12:00:00Z","reason":"r","initiator":"policy"}`,
		`{"verdict":"held","order":{"id":"k1","tenant":"acme","scope":"agent","subject":"bot","action":"revoke"}}`, `null`, `[]`,
	} {
		f.Add([]byte(seed))
	}
	file, err := Load("testdata/all.yaml", LoadOptions{KeysDir: f.TempDir(), Lookup: func(string) (string, bool) { return "0123456789abcdef", true }})
	if err != nil {
		f.Fatal(err)
	}
	if _, err := file.OpenKeys(); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, topic := range Topics() {
			e, err := readEvent(topic, b)
			if err != nil {
				continue
			}
			if len(e.ID) > 220 || !plainID.MatchString(e.ID) {
				t.Fatalf("id %q", e.ID)
			}
			for _, s := range file.Sinks {
				if !s.wants(e) {
					continue
				}
				if m, err := s.form.message(e, noon); err == nil && len(m.body) == 0 {
					t.Fatalf("%s says nothing", s.Name)
				}
			}
		}
	})
}
