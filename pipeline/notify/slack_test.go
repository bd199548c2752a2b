package notify

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"

	"pgregory.net/rapid"

	"github.com/estop-project/estop/revoke"
)

func slackOf(t require, e *Event) slackBody {
	m, err := slack{}.message(e, noon)
	if err != nil {
		t.Fatal(err)
	}
	var b slackBody
	if err := json.Unmarshal(m.body, &b); err != nil {
		t.Fatal(err)
	}
	return b
}

// require is what tests and properties have in common.
type require interface {
	Fatal(...any)
	Fatalf(string, ...any)
}

func TestAMessageTellsWhatAPersonNeeds(t *testing.T) {
	held := revoke.Decision{Verdict: revoke.Held, At: noon, Why: "held back by the interlock", Order: stopped("d9", "acme", "bot").Revocation}
	for name, c := range map[string]struct {
		event *Event
		want  []string
	}{
		"detection":  {detected(), []string{"high detection: loop, agent bot of tenant acme", "Resource: customer-7", "Identity: role/bot", "detection-d1", "Stopped by: d1"}},
		"revocation": {revoked(nil), []string{"revoke agent bot of tenant acme", "Until: 2026-11-24T12:15:00Z", "Why: loop: evidence"}},
		"everything": {revoked(func(e *Event) { e.Revocation.Scope = revoke.Global }), []string{"revoke everything, of all tenants"}},
		"decision":   {&Event{ID: "decision-d9-held", Kind: Decision, Tenant: "acme", Time: noon, Decision: &held}, []string{"held: revoke agent bot of tenant acme", "To stop it: estop queue approve d9"}},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Join(allTexts(slackOf(t, c.event)), "\n")
			for _, want := range c.want {
				if !strings.Contains(text, want) {
					t.Errorf("no %q in\n%s", want, text)
				}
			}
		})
	}
}

func allTexts(b slackBody) []string {
	var all []string
	for _, block := range b.Blocks {
		if block.Text != nil {
			all = append(all, block.Text.Text)
		}
		for _, f := range append(block.Fields, block.Elements...) {
			all = append(all, f.Text)
		}
	}
	return all
}

func TestWhatAnAgentIsCalledMarksNothingUp(t *testing.T) {
	name := "<!channel> *bold* _x_ ~s~ `code` [click](https://evil.example) @here &amp; :skull: line\nbreak \u202egnp.exe"
	e := detected()
	e.Detection.Agent = name
	b := slackOf(t, e)
	if want := "high detection： loop, agent ＜！channel＞ ＊bold＊ _x_ ～s～ ｀code｀ ［click］（https：//evil.\u2060example）" +
		" ＠here ＆amp; ：skull： line break \ufffdgnp.\u2060exe of tenant acme"; b.Text != want {
		t.Errorf("got\n%q\nwant\n%q", b.Text, want)
	}
	if want := "Agent: &lt;!channel&gt; *bold* _x_ ~s~ `code` [click](https://evil.example) @here &amp;amp; :skull: line break \ufffdgnp.exe"; allTexts(b)[1] != want {
		t.Errorf("got\n%q\nwant\n%q", allTexts(b)[1], want)
	}
}

func TestNoNameReachesMarkup(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.OneOf(rapid.String(), rapid.StringOf(rapid.SampledFrom([]rune("<>&*_~`[]()!@#|:.\\/ \n\r\t\u202e\u200baé漢")))).Draw(t, "name")
		e := detected()
		e.Detection.Agent, e.Detection.Resource, e.Detection.Tenant = name, name, name
		b := slackOf(t, e)
		if b.Mrkdwn || strings.ContainsAny(b.Text, "*~`[](){}!@#|\\<>&:$^\n") {
			t.Fatalf("the text is %q", b.Text)
		}
		if len(b.Blocks) > 50 || len(b.Blocks[1].Fields) > 10 {
			t.Fatalf("Slack does not take %d blocks, %d fields", len(b.Blocks), len(b.Blocks[1].Fields))
		}
		for _, block := range b.Blocks {
			for _, text := range append(append(block.Fields, block.Elements...), notNil(block.Text)...) {
				checkPlain(t, text)
			}
		}
		if n := len([]rune(b.Blocks[0].Text.Text)); n > maxHeading*len("&lt;") {
			t.Fatalf("a heading of %d characters", n)
		}
	})
}

func notNil(t *slackText) []slackText {
	if t == nil {
		return nil
	}
	return []slackText{*t}
}

func checkPlain(t require, text slackText) {
	if text.Type != "plain_text" || text.Emoji || text.Text == "" {
		t.Fatalf("%+v", text)
	}
	if strings.ContainsAny(text.Text, "<>") || strings.ContainsFunc(text.Text, func(r rune) bool { return r != ' ' && !unicode.IsPrint(r) }) {
		t.Fatalf("%q has signs that Slack reads or nobody sees", text.Text)
	}
}
