package node

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
)

func TestNoPasswordOfAURLIsShown(t *testing.T) {
	for text, want := range map[string]string{
		"nats://host:4222":                             "nats://host:4222",
		"nats://user:secret@host:4222":                 "nats://user:xxxxx@host:4222",
		"nats://a:secret@one:4222,nats://b:secret@two": "nats://xxxxx@two",
		"nats://a:secret@one,nats://two":               "nats://a:xxxxx@one,nats://two",
		"nats://user:secret@host:port":                 "nats://xxxxx@host:port",
		"nats://token@host":                            "nats://xxxxx@host",
		"nats://user:sec/ret@host":                     "nats://xxxxx@host",
		"http://user:sec@ret@host":                     "http://xxxxx@host",
		"acme/ops@example.org":                         "acme/ops@example.org",
		"":                                             "",
	} {
		if got := withoutPassword(text); got != want {
			t.Errorf("%q is shown as %q, want %q", text, got, want)
		}
	}
}

func TestAnAddressOfNATSThatIsWrongIsSaidWithoutItsPassword(t *testing.T) {
	for _, url := range []string{"nats://user:secret@127.0.0.1:port", "nats://user:secret@127.0.0.1:1,nats://user:secret@127.0.0.1:port", "nats://user:secret/more@127.0.0.1"} {
		c := Default()
		c.NATS.URL = url
		_, err := c.ConnectNATS("test", slog.New(slog.DiscardHandler))
		if err == nil || errors.Is(err, ErrNoNode) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", url, err)
		}
	}
}
