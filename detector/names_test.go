package detector_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/estop-project/estop/detector"
)

// held says for which of some calls the match of the first detector holds, and its first exception.
func held(t *testing.T, set *detector.Set, calls ...call) (matched, excused []bool) {
	t.Helper()
	p := set.Plan
	for _, c := range calls {
		bits := make([]uint64, p.Words)
		for _, f := range p.Fields() {
			if v, ok := c[p.FieldName(f)]; ok {
				p.Classify(f, v, bits)
			}
		}
		d := p.Detectors[0]
		matched = append(matched, d.Match.Eval(bits))
		excused = append(excused, len(d.Exceptions) > 0 && d.Exceptions[0].Match.Eval(bits))
	}
	return matched, excused
}

const named = head + `conditions:
  exports: {action|startswith: [crm.export, "s3:Get"]}
  office: {context.ip|cidr: 10.0.0.0/8}
  trusted_a: {agent: a}
  trusted_b: [{agent: b}, {agent: c}]
  _rare: {outcome: error}
match: `

func TestAMatchIsAnExpressionOverNamedConditions(t *testing.T) {
	calls := []call{
		{"agent": "x", "action": "crm.export"},
		{"agent": "x", "action": "crm.export", "context.ip": "10.1.2.3"},
		{"agent": "a", "action": "s3:GetObject"},
		{"agent": "c", "action": "s3:GetObject", "outcome": "error"},
		{"agent": "x", "action": "read", "context.ip": "10.1.2.3"},
	}
	const rest = " or office and exports and 1 of trusted_* and _rare and (office)" // uses all, and adds nothing
	for text, want := range map[string]string{
		"exports":                                  "11110",
		"exports and not office":                   "10110",
		"exports and not (office or trusted_a)":    "10010",
		"exports and not office and not not _rare": "00010",
		"exports AND NOT 1 of trusted_*":           "11000",
		"exports and any of trusted_*":             "00110",
		"all of trusted_*":                         "00000",
		"not all of *":                             "11111",
		"1 of them":                                "11111",
		"exports and _rare or trusted_a or exports and office": "01110",
		"not exports or\n  office":                             "01001",
		"exports and (office or trusted_b)":                    "01010",
	} {
		matched, _ := held(t, load(t, named+"("+text+")"+rest+"\n"), calls...)
		got := ""
		for _, m := range matched {
			got += map[bool]string{true: "1", false: "0"}[m]
		}
		if got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

func TestConstantsAndListsStandForTheirValues(t *testing.T) {
	files := files("sub/f.yaml", head+`constants: {users: [a, "b-*"], one: c, price: $$9, dollar: 5}
lists: {crown: lists/crown.txt}
match:
  agent: [$users, z, $one]
  resource: $crown
  context.price: [$price, $$dollar, $LATEST, cost$dollar]
exceptions: {match: {agent: $one}, reason: x}
when: count(calls, 1m) > $dollar
`)
	text := files["sub/f.yaml"].Data
	files["sub/f.yaml"].Data = []byte(strings.Replace(string(text), "when: count(calls, 1m) > 1\n", "", 1))
	files["sub/lists/crown.txt"] = &fstest.MapFile{Data: []byte("\ufeff# the crown\r\ns3://pay\r\n\n  s3://cust*  # all of them\r\ns3://x#y\n")}
	set, errs := detector.Load(files)
	if errs.Err() != nil {
		t.Fatal(errs)
	}
	is := func(agent, resource, price string) call {
		return call{"agent": agent, "resource": resource, "context.price": price}
	}
	matched, excused := held(t, set,
		is("a", "S3://PAY", "$$9"), is("b-1", "s3://customers", "$dollar"), is("z", "s3://x#y", "$LATEST"), is("c", "s3://pay", "cost$dollar"),
		is("$users", "s3://pay", "$$9"), is("a", "s3://pay ", "$$9"), is("a", "s3://x", "$$9"), is("a", "s3://pay", "5"), is("a", "# the crown", "$$9"))
	if got := fmt.Sprint(matched); got != "[true true true true false false false false false]" {
		t.Errorf("matched %s", got)
	}
	if got := fmt.Sprint(excused); got != "[false false false true false false false false false]" {
		t.Errorf("excused %s", got)
	}
}

func TestALimitIsSpelledOutWhereItBreaks(t *testing.T) {
	d := load(t, "id: x\ntitle: x\nconstants: {limit: 1_000, size: 2MiB, window: 5m}\nwhen: count(calls, $window) > $limit\n  or sum(bytes_out, $window) / 2 > $size\n").Plan.Detectors[0]
	if want := "count(calls, 5m) > 1_000 or sum(bytes_out, 5m) / 2 > 2MiB"; d.WhenText != want {
		t.Errorf("text %q, want %q", d.WhenText, want)
	}
	for values, want := range map[[2]float64]bool{{1000, 0}: false, {1001, 0}: true, {0, 4 << 20}: false, {0, 4<<20 + 1}: true} {
		if got := d.When.Eval(values[:]); got != want {
			t.Errorf("%v: %v, want %v", values, got, want)
		}
	}
}

func TestErrorsOfNamesSayWhereAndWhy(t *testing.T) {
	const body = "id: x\ntitle: x\n"
	for name, c := range map[string]struct{ text, want string }{
		"unknown condition":    {named + "exports and ofice", `f.yaml:10:20: no condition is named "ofice" (did you mean "office"?)`},
		"unknown pattern":      {named + "exports and 1 of trustet_*", `f.yaml:10:25: no condition has a name like "trustet_*" (did you mean "trusted_a"?)`},
		"unknown, folded":      {named + ">-\n  exports and\n  not (office or\n  trused_a)", `f.yaml:13:3: no condition is named "trused_a" (did you mean "trusted_a"?)`},
		"unused condition":     {named + "exports and 1 of trusted_* and _rare", `f.yaml:6:3: nothing uses the condition "office" (take it out, or name it in match:)`},
		"two of":               {named + "2 of trusted_*", `f.yaml:10:8: "2" of conditions cannot be asked for (write 1 of or all of)`},
		"no operator":          {named + "exports office", `f.yaml:10:16: "office" is not expected here (join conditions with and or or)`},
		"ends early":           {named + "exports and", `f.yaml:10:18: the expression ends too early (name a condition)`},
		"two operators":        {named + "exports and or office", `f.yaml:10:20: "or" is not expected here (name a condition)`},
		"open parenthesis":     {named + "exports and (office", `f.yaml:10:20: this parenthesis is never closed`},
		"closed parenthesis":   {named + "exports) and office", `f.yaml:10:15: ")" is not expected here (join conditions with and or or)`},
		"a mapping":            {named + "{agent: a}", `f.yaml:10:8: with conditions, match must be an expression over their names, not a mapping (write match: exports and not office)`},
		"no match":             {head + "conditions: {a: {agent: a}}", `f.yaml:4:1: conditions mean nothing without a match that names them (add match: NAME, as in match: exports and not office)`},
		"word as a name":       {head + "conditions: {of: {agent: a}}\nmatch: of", `f.yaml:4:14: "of" is a word of the expression (choose another name); f.yaml:5:8: "of" is not expected here (name a condition)`},
		"name of a condition":  {head + "conditions: {Of-Us: {agent: a}}\nmatch: 1 of *", `f.yaml:4:14: a condition cannot be named "Of-Us" (small letters, digits and underscores, as in crown_jewels); f.yaml:5:13: no condition has a name like "*"`},
		"empty condition":      {head + "conditions: {a: {}}\nmatch: a", `f.yaml:4:17: a condition is empty (name what the calls must have)`},
		"no conditions":        {head + "conditions: {}\nmatch: a", `f.yaml:4:13: conditions is empty (leave it out); f.yaml:5:8: no condition is named "a"`},
		"condition twice":      {head + "conditions: {a: {agent: a}, a: {agent: b}}\nmatch: a", `f.yaml:4:29: a condition is named "a" twice`},
		"field in a condition": {head + "conditions: {a: {agnet: a}}\nmatch: a", `f.yaml:4:18: a call has no field "agnet" (did you mean "agent"?)`},
		"deep":                 {named + strings.Repeat("(", 33) + "office" + strings.Repeat(")", 33), `f.yaml:10:40: match nests deeper than 32`},
		"steps":                {head + "conditions: {a: [" + strings.Repeat("{agent: a},", 600) + "]}\nmatch: " + strings.Repeat("a or ", 20) + "a", `f.yaml:5:48: written out, match has more than 10000 steps (name each condition once)`},
		"long expression":      {head + "conditions: {a: {agent: a}}\nmatch: a" + strings.Repeat(" or a", 1000), `f.yaml:5:8: match is longer than 4096 bytes`},

		"unknown constant":      {head + "constants: {users: [a]}\nmatch: {agent: $usres}", `f.yaml:5:16: no constant and no list is $usres (did you mean "$users"?)`},
		"no constants":          {head + "match: {agent: $users}", `f.yaml:4:16: no constant and no list is $users (name it under constants: or lists:; for a value that begins with $, write $$users)`},
		"unused constant":       {head + "constants: {users: [a]}\nmatch: {agent: b}", `f.yaml:4:13: nothing uses the constant "users" (take it out, or write $users where it is meant)`},
		"name of a constant":    {head + "constants: {Users: [a]}\nmatch: {agent: b}", `f.yaml:4:13: a constant cannot be named "Users" (small letters, digits and underscores, as in crown_jewels)`},
		"constant of constants": {head + "constants: {users: [a], all_of: $users}\nmatch: {agent: [$users, $all_of]}", `f.yaml:4:33: a constant cannot stand for another (write its value)`},
		"empty constant":        {head + "constants: {users: []}\nmatch: {agent: $users}", `f.yaml:4:20: a constant is an empty list (write a value, or leave it out); f.yaml:4:20: a constant is an empty list (write a value, or leave it out)`},
		"in with one constant":  {head + "constants: {user: a}\nmatch: {agent|in: $user}", `f.yaml:5:19: agent|in needs a list (write [a, b])`},
		"constant not a net":    {head + "constants: {net: [10.0.0.0/8, ten]}\nmatch: {context.ip|cidr: $net}", `f.yaml:4:31: context.ip|cidr: "ten" is not a network such as 10.0.0.0/8`},
		"unknown limit":         {body + "constants: {limit: 5}\nwhen: count(calls, 1m) > $limti", `f.yaml:4:26: no constant and no list is $limti (did you mean "$limit"?)`},
		"list as limit":         {body + "constants: {limit: [5]}\nwhen: count(calls, 1m) > $limit", `f.yaml:4:26: $limit is a list; here a number is wanted`},
		"text as limit":         {body + "constants: {limit: high}\nwhen: count(calls, 1m) > $limit", `f.yaml:4:26: $limit is "high"; here a number is wanted`},
		"duration as limit":     {body + "constants: {limit: 5m}\nwhen: count(calls, 1m) > $limit", `f.yaml:4:26: ">" wants a plain number here, this is a time (a number without a unit goes with everything)`},
		"number as window":      {body + "constants: {limit: 5}\nwhen: count(calls, $limit) > $limit", `f.yaml:4:20: the window must be a duration with its unit (write 10s, 5m or 1d)`},
		"infinite limit":        {body + "constants: {limit: .inf}\nwhen: count(calls, 1m) > $limit", `f.yaml:4:26: $limit is ".inf"; here a number is wanted`},

		"list outside":         {head + "lists: {crown: ../crown.txt}\nmatch: {agent: $crown}", `f.yaml:4:16: a list cannot be read from "../crown.txt" (write the name of a file beside the detector, as in crown-jewels.txt)`},
		"list of a detector":   {head + "lists: {crown: f.yaml}\nmatch: {agent: $crown}", `f.yaml:4:16: a list cannot be read from "f.yaml" (write the name of a file beside the detector, as in crown-jewels.txt)`},
		"list missing":         {head + "lists: {crown: jewel.txt}\nmatch: {agent: $crown}", `f.yaml:4:16: the list jewel.txt cannot be read: there is no such file beside the detector (did you mean "jewels.txt"?)`},
		"list is a folder":     {head + "lists: {crown: dir.txt}\nmatch: {agent: $crown}", `f.yaml:4:16: the list dir.txt cannot be read: it is not a regular file`},
		"list without value":   {head + "lists: {crown: none.txt}\nmatch: {agent: $crown}", `f.yaml:4:16: the list none.txt has no value (empty never means all)`},
		"list named twice":     {head + "constants: {crown: a}\nlists: {crown: jewels.txt}\nmatch: {agent: $crown}", `f.yaml:5:9: the list "crown" is named like a constant`},
		"list unused":          {head + "lists: {crown: jewels.txt}", `f.yaml:4:9: nothing uses the list "crown" (take it out, or write $crown where it is meant)`},
		"wrong line":           {head + "lists: {nets: jewels.txt}\nmatch: {context.ip|cidr: $nets}", `f.yaml:4:15: a line of the list jewels.txt is wrong; jewels.txt:3:2: context.ip|cidr: "ten" is not a network such as 10.0.0.0/8`},
		"odd bytes":            {head + "lists: {odd: odd.txt}\nmatch: {agent: $odd}", `f.yaml:4:14: 2 lines of the list odd.txt are wrong; odd.txt:1:1: the line is not UTF-8; odd.txt:2:1: the value "a\tb" holds a control character (write one value a line)`},
		"many patterns":        {head + "lists: {many: many.txt}\nmatch: {agent|contains: $many}", `f.yaml:5:25: agent|contains has 3000 patterns, more than 2000 (whole values may be more)`},
		"values written often": {head + "lists: {long: long.txt}\nmatch: [" + strings.Repeat("{agent: $long},", 26) + "]", `f.yaml:5:392: written out, the lists of the file have more than 1000000 values (write them once, under conditions:)`},
		"large list":           {head + "lists: {large: large.txt}\nmatch: {agent: $large}", `f.yaml:4:16: the list large.txt cannot be read: it has more than 4194304 bytes`},
	} {
		t.Run(name, func(t *testing.T) {
			fs := files("f.yaml", c.text, "jewels.txt", "10.0.0.0/8\n#\n ten\n", "none.txt", "# nothing\n", "dir.txt/x.txt", "a", "odd.txt", "\xff\na\tb\nc\n",
				"many.txt", strings.Repeat("a\n", 3000), "large.txt", strings.Repeat("#", 4<<20+1), "long.txt", strings.Repeat("a\n", 40_000))
			_, errs := detector.Load(fs)
			if diff := cmp.Diff(c.want, strings.ReplaceAll(errs.Error(), "\n", "; ")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAWrongLineOfAListIsReportedOnce(t *testing.T) {
	_, errs := detector.Load(files("a.yaml", strings.Replace(head, "id: x", "id: a", 1)+"lists: {nets: nets.txt, same: nets.txt}\nmatch: [{context.ip|cidr: $nets}, {context.b|cidr: $nets, context.c: $same}]",
		"b.yaml", head+"lists: {nets: nets.txt}\nmatch: {context.ip|cidr: $nets}", "nets.txt", "ten\n"))
	want := `a.yaml:4:15: 2 lines of the list nets.txt are wrong
b.yaml:4:15: a line of the list nets.txt is wrong
nets.txt:1:1: context.b|cidr: "ten" is not a network such as 10.0.0.0/8
nets.txt:1:1: context.ip|cidr: "ten" is not a network such as 10.0.0.0/8`
	if got := strings.Split(errs.Error(), "\n"); cmp.Diff(strings.Split(want, "\n"), slices.Sorted(slices.Values(got))) != "" {
		t.Errorf("errors\n%s", errs)
	}
}

func TestAListMayBeALinkAsInAConfigMap(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"..data/crown.txt": "s3://pay\n", "f.yaml": head + "lists: {crown: crown.txt}\nmatch: {resource: $crown}\n"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join("..data", "crown.txt"), filepath.Join(dir, "crown.txt")); err != nil {
		t.Fatal(err)
	}
	set, errs := detector.LoadDir(dir)
	if errs.Err() != nil {
		t.Fatal(errs)
	}
	if matched, _ := held(t, set, call{"resource": "s3://pay"}); !matched[0] {
		t.Error("the list is not read")
	}
}

func TestALongListIsLookedUpAtOnce(t *testing.T) {
	var list strings.Builder
	for i := range 50_000 {
		fmt.Fprintf(&list, "agent-%d\n", i)
	}
	set, errs := detector.Load(files("f.yaml", head+"lists: {crown: crown.txt}\nmatch: {agent: $crown}\n", "crown.txt", list.String()))
	if errs.Err() != nil {
		t.Fatal(errs)
	}
	bits := make([]uint64, set.Plan.Words)
	at := testing.Benchmark(func(b *testing.B) {
		for range b.N {
			set.Plan.Classify(detector.FieldAgent, "agent-x", bits)
		}
	})
	if at.NsPerOp() > 50_000 { // one by one takes far longer
		t.Errorf("%d ns for each value", at.NsPerOp())
	}
	matched, _ := held(t, set, call{"agent": "AGENT-49999"}, call{"agent": "agent-50000"})
	if !matched[0] || matched[1] {
		t.Errorf("matched %v", matched)
	}
}

func TestAChangedListIsLoadedLiveAndAWrongOneIsRefused(t *testing.T) {
	var r detector.Reloader
	const text = head + "lists: {nets: nets.txt}\nmatch: {context.ip|cidr: $nets}\n"
	holds := func(set *detector.Set, ip string) bool {
		matched, _ := held(t, set, call{"context.ip": ip})
		return matched[0]
	}
	first := reload(t, &r, files("f.yaml", text, "nets.txt", "10.0.0.0/8\n"), []string{"x"}, nil)
	if _, _, changed := r.Reload(files("f.yaml", text, "nets.txt", "10.0.0.0/8\n")); changed {
		t.Error("nothing changed")
	}
	second := reload(t, &r, files("f.yaml", text, "nets.txt", "11.0.0.0/8\n"), []string{"x"}, nil)
	if holds(second, "10.0.0.1") || !holds(second, "11.0.0.1") || !holds(first, "10.0.0.1") {
		t.Error("the changed list is not in force")
	}
	if first.Plan.Detectors[0].Version == second.Plan.Detectors[0].Version {
		t.Error("another list is another version")
	}
	third := reload(t, &r, files("f.yaml", text, "nets.txt", "11.0.0.0/8\n12.0.0\n"), []string{"x"}, []string{"f.yaml", "nets.txt"})
	if !holds(third, "11.0.0.1") || third.Plan.Detectors[0].Version != second.Plan.Detectors[0].Version {
		t.Error("the list that was right is not in force")
	}
	// Nor does one that is gone take it away.
	if fourth := reload(t, &r, files("f.yaml", text), []string{"x"}, []string{"f.yaml"}); !holds(fourth, "11.0.0.1") {
		t.Error("the list that was right is not in force")
	}
	reload(t, &r, files("f.yaml", text, "nets.txt", "12.0.0.0/8\n"), []string{"x"}, nil)
}
