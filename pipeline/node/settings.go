package node

import (
	"net/url"
	"strings"
	"time"
)

// Setting is one key of the configuration with its value.
type Setting struct {
	Key string `json:"key"`
	// Value is a text, a number, a bool or a list of texts; a time is the text of its
	// duration. For a secret it is the text "***", or empty if none is set.
	Value any `json:"value"`
	// From is where it was said: FILE:LINE:COLUMN, a variable or a flag; empty: nowhere.
	From   string `json:"from,omitempty"`
	Secret bool   `json:"secret,omitempty"`
}

// Settings lists the configuration by key. Secrets are starred out.
func (c Config) Settings() []Setting {
	var all []Setting
	for _, f := range fields(&c) {
		s := Setting{Key: f.key, Value: f.value.Interface(), From: c.from[f.key], Secret: strings.HasSuffix(f.key, "password")}
		switch v := s.Value.(type) {
		case time.Duration:
			s.Value = v.String()
		case string:
			s.Value = withoutPassword(v)
		case []string:
			if v == nil {
				s.Value = []string{}
			}
		}
		if s.Secret && s.Value != "" {
			s.Value = "***"
		}
		all = append(all, s)
	}
	return all
}

// withoutPassword stars out the password of a URL. Where it cannot be told which part that is (a token, several URLs, no
// right URL), all before the last @ is. Anything else is returned as it is.
func withoutPassword(text string) string {
	if u, err := url.Parse(text); err == nil && strings.Count(text, "@") == 1 {
		if _, ok := u.User.Password(); ok {
			return u.Redacted()
		}
	}
	begin, end := strings.Index(text, "://"), strings.LastIndexByte(text, '@')
	if begin < 0 || end < begin {
		return text
	}
	return text[:begin+len("://")] + "xxxxx" + text[end:]
}
