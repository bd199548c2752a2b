package sigma_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/detector/sigma"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// rule is a rule of CloudTrail with some selections and a condition.
func rule(selections, condition string) string {
	return "title: A rule\nlogsource: {product: aws, service: cloudtrail}\ndetection:\n" + selections + "  condition: " + condition + "\n"
}

func importText(text string, mappings ...*sigma.Mapping) *sigma.Result {
	return sigma.Import([]sigma.File{{Name: "r.yml", Data: []byte(text)}}, mappings)
}

// imported returns the detector of the only rule.
func imported(t *testing.T, text string, mappings ...*sigma.Mapping) *detector.Plan {
	t.Helper()
	result := importText(text, mappings...)
	if len(result.Detectors) != 1 || len(result.Problems) > 0 {
		t.Fatalf("%d detectors, %v of\n%s", len(result.Detectors), result.Problems, text)
	}
	set, errs := detector.Load(fstest.MapFS{"d.yaml": {Data: []byte(result.Detectors[0].YAML)}})
	if len(errs) > 0 {
		t.Fatalf("%v in\n%s", errs, result.Detectors[0].YAML)
	}
	return set.Plan
}

// value returns a field of a call, as shards see it.
func value(c *telemetry.Call, p *detector.Plan, f detector.Field) (string, bool) {
	switch f {
	case detector.FieldTenant:
		return string(c.Tenant), true
	case detector.FieldAgent:
		return string(c.Agent), true
	case detector.FieldIdentity:
		return string(c.Identity), true
	case detector.FieldSession:
		return string(c.Session), true
	case detector.FieldAction:
		return string(c.Action), true
	case detector.FieldResource:
		return string(c.Resource), true
	case detector.FieldOutcome:
		return c.Outcome.String(), true
	}
	v, ok := c.Value(strings.TrimPrefix(p.FieldName(f), "context."))
	return string(v), ok
}

func matches(c *telemetry.Call, p *detector.Plan) bool {
	bits := make([]uint64, p.Words)
	for _, f := range p.Fields() {
		if v, ok := value(c, p, f); ok {
			p.Classify(f, v, bits)
		}
	}
	return p.Detectors[0].Match.Eval(bits)
}

// record decodes a CloudTrail record in which some members are as given.
func record(t *testing.T, members string) *telemetry.Call {
	t.Helper()
	var d telemetry.Decoder
	var c telemetry.Call
	d.Start(telemetry.CloudTrail, []byte(`{"eventVersion":"1.11","eventTime":"2026-11-20T08:00:00Z","eventID":"e","recipientAccountId":"111122223333",`+members+`}`))
	if err := d.Next(&c); err != nil {
		t.Fatalf("%v in %s", err, members)
	}
	return c.Clone()
}

// An imported selection holds for the records that the rule means, as our decoder reads them.
func TestSelectionsHoldForTheRecordsTheyMean(t *testing.T) {
	const (
		user  = `"userIdentity":{"type":"IAMUser","userName":"bob","arn":"arn:aws:iam::111122223333:user/bob","accessKeyId":"AKIA1"},`
		root  = `"userIdentity":{"type":"Root","arn":"arn:aws:iam::111122223333:root"},`
		put   = user + `"eventSource":"s3.amazonaws.com","eventName":"PutBucketPolicy","awsRegion":"eu-west-1","userAgent":"aws-cli/2 (Windows)"`
		login = `"eventSource":"signin.amazonaws.com","eventName":"ConsoleLogin","sourceIPAddress":"203.0.113.7","additionalEventData":{"MFAUsed":"No"},"responseElements":{"ConsoleLogin":"%s"}`
	)
	failed, succeeded := user+fmt.Sprintf(login, "Failure"), user+fmt.Sprintf(login, "Success")
	for _, c := range []struct {
		selection string
		yes, no   []string
	}{
		{"eventName: putbucketpolicy", []string{put}, []string{failed}},
		{"eventName: [ConsoleLogin, Put*]", []string{put, failed}, []string{user + `"eventSource":"s3.amazonaws.com","eventName":"GetObject"`}},
		{"eventName: BucketPolicy", nil, []string{put}},
		{"eventName|startswith: Put", []string{put}, []string{failed}},
		{"eventName|startswith: s3", nil, []string{put}},
		{"eventName|endswith: policy", []string{put}, []string{failed}},
		{"eventName|contains: Bucket", []string{put}, []string{failed}},
		{"eventName|contains: s3", nil, []string{put}},
		{"eventName|contains|all: [Bucket, Policy]", []string{put}, []string{user + `"eventSource":"s3.amazonaws.com","eventName":"PutBucketAcl"`}},
		{"eventName|contains|cased: bucket", nil, []string{put}},
		{"eventName|neq: ConsoleLogin", []string{put}, []string{failed}},
		{"eventSource: s3.amazonaws.com", []string{put}, []string{failed, user + `"eventSource":"s3express.amazonaws.com","eventName":"X"`}},
		{"eventSource|startswith: s3", []string{put, user + `"eventSource":"s3express.amazonaws.com","eventName":"X"`}, []string{failed}},
		{"eventSource|endswith: in.amazonaws.com", []string{failed}, []string{put}},
		{"{eventSource: s3.amazonaws.com, eventName: [PutBucketPolicy, PutBucketAcl]}", []string{put}, []string{failed, user + `"eventSource":"s4.amazonaws.com","eventName":"PutBucketAcl"`}},
		{"{eventSource: [s3.amazonaws.com, signin.amazonaws.com], eventName|startswith: Put}", []string{put}, []string{failed}},
		{"userIdentity.type: Root", []string{root + `"eventName":"X"`}, []string{put}},
		{"userIdentity.arn|endswith: ':user/bob'", []string{put}, []string{root + `"eventName":"X"`}},
		{"userIdentity.accessKeyId: AKIA1", []string{put}, []string{root + `"eventName":"X"`}},
		{"recipientAccountId: 111122223333", []string{put}, nil},
		{"recipientAccountId: '999'", nil, []string{put}},
		{"errorCode: '*'", []string{put + `,"errorCode":"AccessDenied"`}, []string{put}},
		{"errorCode: null", []string{put}, []string{put + `,"errorCode":"AccessDenied"`}},
		{"errorCode: ['', NoSuchBucket]", []string{put, put + `,"errorCode":"NoSuchBucket"`}, []string{put + `,"errorCode":"AccessDenied"`}},
		{"errorCode|exists: false", []string{put}, []string{put + `,"errorCode":"AccessDenied"`}},
		{"errorCode|re: '^Access(Denied|Refused)'", []string{put + `,"errorCode":"AccessDenied"`}, []string{put, put + `,"errorCode":"accessdenied"`}},
		{"errorCode|re|i: '^accessd'", []string{put + `,"errorCode":"AccessDenied"`}, []string{put}},
		{"userAgent|contains: ' (windows)'", []string{put}, []string{failed}},
		{`userAgent|contains: 'a\'`, []string{user + `"eventName":"X","userAgent":"x a\\b"`}, []string{put, user + `"eventName":"X","userAgent":"a*"`}},
		{"sourceIPAddress|cidr: 203.0.113.0/24", []string{failed}, []string{put}},
		{"additionalEventData.MFAUsed: 'No'", []string{failed}, []string{put}},
		{"responseElements.ConsoleLogin: Failure", []string{failed}, []string{succeeded, put}},
		{"responseElements.ConsoleLogin: [Success, Failure]", []string{failed, succeeded}, []string{put}},
		{"awsRegion: $home", nil, []string{put}},
		{"[{eventName: ConsoleLogin}, {awsRegion|startswith: eu-}]", []string{put, failed}, []string{root + `"eventName":"X"`}},
	} {
		selection := "\n    " + c.selection
		p := imported(t, rule("  selection:"+selection+"\n", "selection"))
		for want, records := range map[bool][]string{true: c.yes, false: c.no} {
			for _, members := range records {
				if matches(record(t, members), p) != want {
					t.Errorf("%s: want %v for %s", c.selection, want, members)
				}
			}
		}
	}
}

// A condition that is imported is true of the same records as its own words, whatever holds of them.
func TestConditionsHoldAsTheyAreWritten(t *testing.T) {
	fields := []string{"awsRegion", "userAgent", "errorCode"}
	var selections strings.Builder
	for i, name := range []string{"a", "b", "c"} {
		fmt.Fprintf(&selections, "  %s: {%s: x}\n", name, fields[i])
	}
	rapid.Check(t, func(rt *rapid.T) {
		text, holds := drawCondition(rt, 4)
		result := importText(rule(selections.String(), text))
		if len(result.Detectors) != 1 {
			rt.Fatalf("%s: %v", text, result.Problems)
		}
		set, errs := detector.Load(fstest.MapFS{"d.yaml": {Data: []byte(result.Detectors[0].YAML)}})
		if len(errs) > 0 {
			rt.Fatal(errs)
		}
		for world := range 8 {
			c := &telemetry.Call{}
			for i, f := range fields {
				if world>>i&1 == 1 {
					c.Context = append(c.Context, telemetry.Pair{Key: []byte(f), Value: []byte("x")})
				}
			}
			if got := matches(c, set.Plan); got != holds(world) {
				rt.Fatalf("%s is %v in world %03b:\n%s", text, got, world, result.Detectors[0].YAML)
			}
		}
	})
}

// drawCondition draws a condition over the selections a, b and c, and what it means: bit i of a world says
// whether selection i holds.
func drawCondition(t *rapid.T, depth int) (string, func(world int) bool) {
	kind := 0
	if depth > 0 {
		kind = rapid.IntRange(0, 5).Draw(t, "kind")
	}
	switch kind {
	case 1:
		text, holds := drawCondition(t, depth-1)
		return "not (" + text + ")", func(w int) bool { return !holds(w) }
	case 2, 3:
		left, l := drawCondition(t, depth-1)
		right, r := drawCondition(t, depth-1)
		if kind == 2 {
			return "(" + left + ") and (" + right + ")", func(w int) bool { return l(w) && r(w) }
		}
		return "(" + left + ") or (" + right + ")", func(w int) bool { return l(w) || r(w) }
	case 4:
		return "1 of them", func(w int) bool { return w != 0 }
	case 5:
		return "all of them", func(w int) bool { return w == 7 }
	}
	i := rapid.IntRange(0, 2).Draw(t, "name")
	return "abc"[i : i+1], func(w int) bool { return w>>i&1 == 1 }
}

const denied = "title: Denied\nname: denied\nlogsource: {product: aws, service: cloudtrail}\ndetection:\n  s: {errorCode: AccessDenied}\n  condition: s\n---\n"

func correlation(lines ...string) string {
	return denied + "title: Many\ncorrelation:\n  rules: [denied]\n  " + strings.Join(lines, "\n  ") + "\n"
}

func TestCorrelationsCount(t *testing.T) {
	action := func(name, event string) string {
		return "title: " + name + "\nname: " + name + "\nlogsource: {product: aws, service: cloudtrail}\ndetection:\n  s: {eventSource: iam.amazonaws.com, eventName: " + event + "}\n  condition: s\n---\n"
	}
	for name, c := range map[string]struct {
		text, when string
		by         detector.Entity
	}{
		"plain":        {rule("  s: {errorCode: x}\n", "s"), "count(calls, 1m) >= 1", detector.ByAgent},
		"event_count":  {correlation("type: event_count", "group-by: [userIdentity.arn]", "timespan: 10m", "condition: {gte: 20}"), "count(calls, 10m) >= 20", detector.ByIdentity},
		"a range":      {correlation("type: event_count", "group-by: [userIdentity.accessKeyId]", "timespan: 1h", "condition: {gt: 100, lte: 200}"), "count(calls, 1h) > 100 and count(calls, 1h) <= 200", detector.BySession},
		"no group":     {correlation("type: event_count", "timespan: 30s", "condition: {eq: 5}"), "count(calls, 30s) == 5", detector.ByTenant},
		"tenant too":   {correlation("type: event_count", "group-by: [recipientAccountId, userIdentity.arn]", "timespan: 1d", "condition: {gt: 9}"), "count(calls, 1d) > 9", detector.ByIdentity},
		"value_count":  {correlation("type: value_count", "group-by: [userIdentity.arn]", "timespan: 10m", "condition: {field: awsRegion, gte: 3}"), "distinct(context.awsRegion, 10m) >= 3", detector.ByIdentity},
		"event names":  {correlation("type: value_count", "group-by: userIdentity.arn", "timespan: 10m", "condition: {field: eventName, gte: 3}"), "distinct(action, 10m) >= 3", detector.ByIdentity},
		"temporal":     {action("one", "ListUsers") + action("two", "ListRoles") + "title: Both\ncorrelation: {type: temporal, rules: [one, two], group-by: [userIdentity.arn], timespan: 5m}\n", "distinct(action, 5m) >= 2", detector.ByIdentity},
		"old count":    {rule("  s: {errorCode: x}\n  timeframe: 5m\n", "s | count() by userIdentity.arn > 10"), "count(calls, 5m) > 10", detector.ByIdentity},
		"old distinct": {rule("  s: {errorCode: x}\n  timeframe: 5m\n", "s | count(eventName) > 10"), "distinct(action, 5m) > 10", detector.ByTenant},
	} {
		result := importText(c.text)
		if len(result.Detectors) != 1 {
			t.Errorf("%s: %v", name, result.Problems)
			continue
		}
		set, errs := detector.Load(fstest.MapFS{"d.yaml": {Data: []byte(result.Detectors[0].YAML)}})
		if len(errs) > 0 {
			t.Fatal(errs)
		}
		d := set.Plan.Detectors[0]
		if d.WhenText != c.when || d.GroupBy != c.by || d.Mode != detector.Observe {
			t.Errorf("%s: when %s by %s in mode %s, want %s by %s", name, d.WhenText, d.GroupBy, d.Mode, c.when, c.by)
		}
	}
}

func TestACorrelationWantsItsRulesAloneOnlyWhereItSaysSo(t *testing.T) {
	lines := []string{"type: event_count", "timespan: 1m", "condition: {gte: 2}"}
	if r := importText(correlation(lines...)); len(r.Detectors) != 1 || len(r.Problems) != 1 || !strings.Contains(r.Problems[0].Reason, `a part of the correlation "Many"`) {
		t.Errorf("%+v", r)
	}
	if r := importText(correlation(append(lines, "generate: true")...)); len(r.Detectors) != 2 || len(r.Problems) != 0 {
		t.Errorf("%+v", r)
	}
}

// Each rule that does not map says where, why and what to do.
func TestWhatDoesNotMapIsNamed(t *testing.T) {
	one := func(entry string) string { return rule("  s:\n    "+entry+"\n", "s") }
	count := func(lines ...string) string {
		return correlation(append([]string{"group-by: [userIdentity.arn]"}, lines...)...)
	}
	for name, c := range map[string]struct{ text, want string }{
		"not YAML":           {"title: x\ny: [x", "2:1: not YAML: did not find expected ',' or ']' (close the bracket [, and quote texts with a comma or a bracket)"},
		"empty":              {"---\n", "1:1: the file holds no rule"},
		"bomb":               {"a: &a [x]\nb: *a", "1:4: anchors and aliases are not allowed (write the value out)"},
		"no mapping":         {"- x", "1:1: a rule must be a mapping"},
		"no title":           {"logsource: {}", "1:1: the rule has no title (add title:)"},
		"collection":         {"title: x\naction: global", "2:9: collections with action: are not part of Sigma 2 (write the whole rule)"},
		"filter":             {"title: x\nfilter: {rules: any}", "2:9: a Sigma filter is no rule (write it under exceptions: of the detectors)"},
		"unsupported":        {"title: x\nstatus: unsupported", "2:9: its author calls the rule unsupported"},
		"other product":      {"title: x\nlogsource: {product: windows}", "2:12: there is no field mapping for product windows (write one for --map)"},
		"no detection":       {"title: x\nlogsource: {product: aws, service: cloudtrail}", "1:1: the rule has no detection"},
		"no condition":       {"title: x\nlogsource: {product: aws, service: cloudtrail}\ndetection: {s: {errorCode: x}}", "3:12: the detection has no condition (add condition: selection)"},
		"no conditions":      {rule("  s: {errorCode: x}\n", "[]"), "5:14: the condition is an empty list (add condition: selection)"},
		"condition":          {rule("  s: {errorCode: x}\n", "s and or s"), `5:20: "or" cannot stand here (wanted: a selection, not, 1 of, all of or ()`},
		"no selection":       {rule("  s: {errorCode: x}\n", "s and not t"), `5:24: there is no selection "t" (did you mean "s"?)`},
		"no pattern":         {rule("  s: {errorCode: x}\n", "s and not 1 of filter*"), `5:29: no selection fits "filter*" (known: s)`},
		"keyword":            {rule("  s: [mimi, katz]\n", "s"), "4:7: a keyword is looked for in the whole event, of which calls keep fields alone (name the field that the text is looked for in); 4:13: a keyword is looked for in the whole event, of which calls keep fields alone (name the field that the text is looked for in)"},
		"keywords":           {one("'|all': [a, b]"), "5:5: a keyword is looked for in the whole event, of which calls keep fields alone (name the field that the text is looked for in)"},
		"field":              {one("sourceIPAdress: x"), "5:5: no field of calls is known for sourceIPAdress (did you mean sourceIPAddress? Else name it in a file for --map)"},
		"request":            {one("requestParameters.x.y: x"), "5:5: calls do not keep requestParameters.x.y (of the request a call keeps the resource alone; where that is meant, map the field to resource with --map and compare a part of it)"},
		"assumed role":       {one("userIdentity.arn|contains: ':assumed-role/admin/'"), `5:32: no identity of a call holds "assumed-role" (match the role's own ARN, arn:aws:iam::ACCOUNT:role/NAME)`},
		"modifier":           {one("errorCode|cotains: x"), `5:15: unknown modifier "cotains" (did you mean "contains"?)`},
		"base64":             {one("errorCode|base64offset|contains: x"), "5:15: the modifier base64offset has no counterpart: values are compared as they are, not encoded"},
		"expand":             {one("errorCode|expand: '%x%'"), "5:15: the modifier expand has no counterpart: placeholders are not known here"},
		"two modifiers":      {one("errorCode|contains|endswith: x"), "5:24: modifiers contains and endswith exclude each other (use one of them)"},
		"look-around":        {one("errorCode|re: 'a(?!b)'"), "5:19: not an RE2 expression: invalid or unsupported Perl syntax: `(?!` (RE2 knows no look-around and no back-references)"},
		"long expression":    {one("errorCode|re: " + strings.Repeat("a", 1025)), "1:1: the detector would be wrong: context.errorCode|re: the expression is longer than 1024 bytes; it must be split into a list of shorter ones"},
		"event by re":        {one("eventName|re: '^Put'"), "5:5: re on eventName cannot be moved to the action, which is service:eventName (write a match on action by hand)"},
		"source":             {one("eventSource: s3"), `5:18: the eventSource "s3" cannot be moved to the action, which is service:eventName (write the whole source, as in s3.amazonaws.com)`},
		"network":            {one("sourceIPAddress|cidr: 10.0.0.0/33"), `1:1: the detector would be wrong: context.sourceIPAddress|cidr: "10.0.0.0/33" is not a network such as 10.0.0.0/8`},
		"empty list":         {one("errorCode: []"), "5:16: errorCode is an empty list"},
		"nested":             {one("errorCode: {a: b}"), "5:16: errorCode must be a value or a list of values"},
		"empty with all":     {one("errorCode|contains: ''"), "5:25: errorCode|contains compares with an empty value, which says nothing"},
		"login":              {one("responseElements.ConsoleLogin: Maybe"), `5:36: the outcome of a login cannot be "Maybe" (write Failure or Success)`},
		"value":              {one("additionalEventData.MFAUsed: perhaps"), `5:34: the value "perhaps" of additionalEventData.MFAUsed has no counterpart (add it to values: of the field mapping)`},
		"exists":             {one("errorCode|exists: maybe"), "5:23: errorCode|exists must be true or false"},
		"old sum":            {rule("  s: {errorCode: x}\n", "s | sum(x) > 1"), `5:18: the aggregation "sum" of Sigma 1 has no counterpart (only count is known)`},
		"old count, endless": {rule("  s: {errorCode: x}\n", "s | count() > 1"), "5:18: the condition counts, but there is no timeframe (add timeframe: 5m)"},

		"type":             {count("type: temporal_ordered", "timespan: 1m"), `12:9: a correlation of type temporal_ordered has no counterpart (known: event_count, value_count, temporal)`},
		"timespan":         {count("type: event_count", "timespan: 1w", "condition: {gte: 2}"), `13:13: the timespan cannot be "1w" (write 90s, 5m, 1h or 1d)`},
		"long timespan":    {count("type: event_count", "timespan: 30d", "condition: {gte: 2}"), `13:13: a window of 30d: it must be from 1s to 7d`},
		"few":              {count("type: event_count", "timespan: 1m", "condition: {lt: 2}"), `14:14: the condition holds for few calls, and would fire on the first one (a detector is asked at each call, so it cannot wait for calls that do not come; write gt, gte or eq)`},
		"threshold":        {count("type: event_count", "timespan: 1m", "condition: {gte: many}"), `14:20: the threshold must be a whole number, not "many"`},
		"no field":         {count("type: value_count", "timespan: 1m", "condition: {gte: 2}"), `14:14: value_count needs the field whose values it counts (add field: to the condition)`},
		"no rule":          {"title: x\ncorrelation: {type: event_count, rules: [gone], timespan: 1m, condition: {gte: 2}}", `2:42: there is no rule with the id or name "gone" (give its file too)`},
		"group":            {correlation("type: event_count", "group-by: [sourceIPAddress]", "timespan: 1m", "condition: {gte: 2}"), `12:13: a detector does not group by context.sourceIPAddress, which sourceIPAddress is (group by a field that is an agent, identity, session, tenant or resource)`},
		"two groups":       {correlation("type: event_count", "group-by: [userIdentity.arn, userIdentity.accessKeyId]", "timespan: 1m", "condition: {gte: 2}"), `12:13: a detector groups by one entity, not by userIdentity.arn and userIdentity.accessKeyId (leave one out)`},
		"temporal of what": {count("type: temporal", "timespan: 1m"), `12:9: a temporal correlation maps only where each rule is one action of its own; "Denied" is not (give each rule one eventSource and one eventName)`},
		"wide":             {rule("  s: ["+strings.Repeat("{errorCode: a},", 300)+"{errorCode: b}]\n", strings.Repeat("s and ", 20)+"s"), `5:110: the match has more than 5000 conditions`},
	} {
		t.Run(name, func(t *testing.T) {
			result := importText(c.text)
			var got []string
			for _, p := range result.Problems {
				if !strings.Contains(p.Reason, "it is a part of the correlation") {
					got = append(got, strings.TrimPrefix(p.String(), "r.yml:"))
				}
			}
			if diff := cmp.Diff(c.want, strings.Join(got, "; ")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestMappingsOfOneFileAreUsed(t *testing.T) {
	mappings, errs := sigma.ReadMappings("m.yaml", []byte(`
logsource: {product: acme, service: gateway}
fields:
  user: agent
  tool: action
  place: context.region
  status: {field: outcome, values: {Success: ok, failure: error}}
---
logsource: {product: aws, service: cloudtrail}
fields: {requestParameters.bucketName: resource, awsRegion: context.where}
`))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	gateway := "title: A\nlogsource: {product: acme, service: gateway, category: tools}\ndetection:\n  s: {user: bot, tool|startswith: sh, status: SUCCESS, place: eu}\n  condition: s\n"
	p := imported(t, gateway, mappings...)
	c := &telemetry.Call{Agent: []byte("bot"), Action: []byte("shell"), Context: []telemetry.Pair{{Key: []byte("region"), Value: []byte("eu")}}}
	if !matches(c, p) {
		t.Error("the call does not match")
	}
	if c.Outcome = telemetry.OutcomeError; matches(c, p) {
		t.Error("an error matches")
	}
	// The user's mapping goes before the built-in one, which stays beside it.
	p = imported(t, rule("  s: {requestParameters.bucketName|contains: ':::prod', eventName: PutObject, awsRegion: eu}\n", "s"), mappings...)
	c = &telemetry.Call{Action: []byte("s3:PutObject"), Resource: []byte("arn:aws:s3:::prod-1"), Context: []telemetry.Pair{{Key: []byte("where"), Value: []byte("eu")}}}
	if !matches(c, p) {
		t.Error("the call does not match")
	}
}

func TestWrongMappingsNameTheirPlace(t *testing.T) {
	for text, want := range map[string]string{
		"":                                  `m.yaml:1:1: the file holds no mapping (write fields: {user: agent})`,
		"- a":                               "m.yaml:1:1: a field mapping must be a mapping\nm.yaml:1:1: the mapping names no fields (write fields: {user: agent})",
		"fields: {user: agnet}":             `m.yaml:1:16: a call has no field "agnet" (did you mean "agent"?)`,
		"fields: {user: chain}":             `m.yaml:1:16: a call has no field "chain" (known: tenant, agent, identity, session, chain_root, action, resource, outcome, parent, context.KEY)`,
		"fields: {user: context.}":          `m.yaml:1:16: a call has no field "context." (did you mean "context.KEY"?)`,
		"fields: {u: {filed: agent}}":       "m.yaml:1:14: a field has no key \"filed\" (did you mean \"field\"?)\nm.yaml:1:13: a call has no field \"\" (known: tenant, agent, identity, session, chain_root, action, resource, outcome, parent, context.KEY)",
		"logsuorce: {}\nfields: {u: agent}": `m.yaml:1:1: a field mapping has no key "logsuorce" (did you mean "logsource"?)`,
		"logsource: {produkt: x}\nfields: {u: agent}": `m.yaml:1:13: logsource has no key "produkt" (did you mean "product"?)`,
	} {
		_, errs := sigma.ReadMappings("m.yaml", []byte(text))
		if diff := cmp.Diff(want, errs.Error()); diff != "" {
			t.Error(diff)
		}
	}
}

func TestADetectorSaysWhereItComesFrom(t *testing.T) {
	result := importText("title: Größe\n  & more\nid: 0e95725d\nauthor: A. Nalyst\nlicense: MIT\nlevel: informational\ntags: [attack.t1, Bad Tag]\nreferences: [https://example.com/a]\n" +
		"description: |\n  One\n  two.\nfalsepositives: [a, b]\nlogsource: {product: aws, service: cloudtrail}\ndetection: {s: {errorCode: x}, condition: s}\n---\n" + rule("  s: {errorCode: x}\n", "s") + "---\n" + rule("  s: {errorCode: y}\n", "s"))
	if len(result.Detectors) != 3 {
		t.Fatal(result.Problems)
	}
	d := result.Detectors[0]
	want := `id: sigma-gr-e-more
title: Größe & more
description: |-
  One two.
  Known false alarms: a; b
  Imported from a Sigma rule 0e95725d, by A. Nalyst, license MIT.
severity: low
tags: [attack.t1]
references:
  - https://example.com/a
mode: observe
match:
  context.errorCode: x
group_by: agent
when: count(calls, 1m) >= 1
`
	if diff := cmp.Diff(want, d.YAML); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{`the tag "bad tag" is left out: it is not well formed`}, d.Notes); diff != "" {
		t.Error(diff)
	}
	if a, b := result.Detectors[1].ID, result.Detectors[2].ID; a != "sigma-a-rule" || b != "sigma-a-rule-2" {
		t.Errorf("ids %s and %s", a, b)
	}
}

// Whatever a file holds: each rule is a detector that loads, or has a problem with a place.
func FuzzImport(f *testing.F) {
	for _, seed := range []string{
		rule("  s: {eventName|startswith: Put, eventSource: s3.amazonaws.com, errorCode: [null, x]}\n", "s and not 1 of s*"),
		correlation("type: value_count", "group-by: [userIdentity.arn]", "timespan: 10m", "condition: {field: awsRegion, gte: 3}"),
		correlation("type: temporal", "timespan: 10m"), rule("  s: {errorCode: x}\n  timeframe: 5m\n", "s | count(eventName) by recipientAccountId >= 1"),
		rule("  s: [{userAgent|re|i: '(', sourceIPAddress|cidr: ::/0}, [x]]\n", "[s, all of them]"), "title: x\ncorrelation: x", "- a", "\xff",
		rule("  s: {errorCode: $x, awsRegion: '\\', readOnly|gte: 1e3, responseElements.ConsoleLogin: [Failure]}\n", "not s"),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		result := importText(text)
		for _, p := range result.Problems {
			if p.Reason == "" || p.File != "r.yml" {
				t.Errorf("problem without place or reason: %+v", p)
			}
		}
		if len(result.Detectors) == 0 && len(result.Problems) == 0 {
			t.Error("neither a detector nor a problem")
		}
		var all strings.Builder
		for _, d := range result.Detectors {
			fmt.Fprintf(&all, "---\n%s", d.YAML)
		}
		if set, errs := detector.Load(fstest.MapFS{"d.yaml": {Data: []byte(all.String())}}); len(result.Detectors) > 0 && all.Len() < 1<<20 && len(result.Detectors) <= 1000 && (len(errs) > 0 || len(set.Plan.Detectors) != len(result.Detectors)) {
			t.Errorf("%v in\n%s", errs, all.String())
		}
	})
}
