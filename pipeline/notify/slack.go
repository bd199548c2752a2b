package notify

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/estop-project/estop/revoke"
)

// slack sends events to an incoming webhook of Slack, or of what takes the same.
//
// Agents choose their names. So no name is ever a part of text that is marked up: blocks are plain
// text, and the text for notifications and for receivers without blocks has nothing left that means
// something in Slack's or in Markdown's way of writing.
type slack struct{}

// Slack's own bounds are 150 characters of a header, 2000 of a field and 10 fields.
const (
	maxHeading = 140
	maxField   = 500
)

type slackBody struct {
	Text   string       `json:"text"`
	Mrkdwn bool         `json:"mrkdwn"`
	Blocks []slackBlock `json:"blocks"`
}

type slackBlock struct {
	Type     string      `json:"type"`
	Text     *slackText  `json:"text,omitempty"`
	Fields   []slackText `json:"fields,omitempty"`
	Elements []slackText `json:"elements,omitempty"`
}

type slackText struct {
	Type  string `json:"type"` // always plain_text
	Text  string `json:"text"`
	Emoji bool   `json:"emoji"`
}

func (slack) fits(*Event) bool { return true }

func (slack) message(e *Event, _ time.Time) (message, error) {
	heading, facts := story(e)
	b := slackBody{
		Text:   plain(heading),
		Blocks: []slackBlock{{Type: "header", Text: plainText(heading, maxHeading)}},
	}
	section := slackBlock{Type: "section"}
	for _, f := range facts {
		if f.value != "" {
			section.Fields = append(section.Fields, *plainText(f.name+": "+f.value, maxField))
		}
	}
	if len(section.Fields) > 0 {
		b.Blocks = append(b.Blocks, section)
	}
	b.Blocks = append(b.Blocks, slackBlock{Type: "context", Elements: []slackText{*plainText(e.Time.UTC().Format(time.RFC3339)+" "+e.ID, maxField)}})
	body, err := json.Marshal(b)
	return message{"application/json", nil, body}, err
}

func (slack) taken(status int, body []byte) error { return takenOK(status, body) }

type fact struct{ name, value string }

// story tells an event to people: what happened, and at most ten facts.
func story(e *Event) (string, []fact) {
	switch {
	case e.Detection != nil:
		d := e.Detection
		return fmt.Sprintf("%s detection: %s, agent %s of tenant %s", d.Severity, d.Detector, d.Agent, d.Tenant), []fact{
			{"Agent", d.Agent}, {"Tenant", d.Tenant}, {"Found for " + d.EntityBy, d.Entity}, {"Identity", d.Identity},
			{"Action", d.Action}, {"Resource", d.Resource}, {"Why", d.Reason}, {"Mode", d.Mode}, {"Stopped by", d.Revocation},
		}
	case e.Decision != nil:
		d := e.Decision
		facts := []fact{{"What", target(&d.Order)}, {"Tenant", d.Order.Tenant}, {"Why", d.Why}, {"By", d.By}, {"Detector", d.Order.Detector}}
		if d.Verdict == revoke.Held {
			facts = append(facts, fact{"Waits until", d.Order.Until.UTC().Format(time.RFC3339)}, fact{"To stop it", "estop queue approve " + d.Order.ID})
		}
		return string(d.Verdict) + ": " + whom(&d.Order), facts
	case e.Revocation != nil:
		r := e.Revocation
		facts := []fact{{"What", target(r)}, {"Tenant", r.Tenant}, {"Why", r.Reason}, {"By", r.By}, {"Detector", r.Detector}}
		if e.Kind == Revocation {
			facts = append(facts, fact{"Until", r.Until.UTC().Format(time.RFC3339)})
		}
		return whom(r), facts
	}
	return string(e.Kind), nil
}

func whom(r *revoke.Revocation) string {
	if r.Scope == revoke.Global {
		return target(r)
	}
	return fmt.Sprintf("%s of tenant %s", target(r), r.Tenant)
}

func target(r *revoke.Revocation) string {
	if r.Scope == revoke.Global {
		return string(r.Action) + " everything, of all tenants"
	}
	return fmt.Sprintf("%s %s %s", r.Action, r.Scope, r.Subject)
}

// plainText is text that Slack shows as it is. It still reads &, < and > as signs of its own.
func plainText(text string, longest int) *slackText {
	return &slackText{Type: "plain_text", Text: escapeSlack.Replace(shorten(visible(text), longest))}
}

var escapeSlack = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// plain replaces each character that marks something up by its full-width twin, which looks like it
// and means nothing. A dot gets a mark that is not seen behind it, so that no name becomes a link.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune("*~`[](){}!@#|\\<>&:$^", r) {
			return r + 0xFEE0
		}
		return r
	}, strings.ReplaceAll(shorten(visible(text), maxField), ".", ".\u2060"))
}

// visible makes one line of a text, in which nothing is hidden or runs backwards.
func visible(text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r), unicode.Is(unicode.Variation_Selector, r):
			return unicode.ReplacementChar
		}
		return r
	}, text)
	return strings.Join(strings.Fields(text), " ")
}

func shorten(text string, longest int) string {
	runes := []rune(text)
	if len(runes) <= longest {
		return text
	}
	return string(runes[:longest-1]) + "…"
}
