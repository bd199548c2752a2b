package node

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// listening returns an address where connections are taken until the test ends.
func listening(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

func TestFindReadsWhatTheNodeWrote(t *testing.T) {
	c := Default()
	c.Dir = t.TempDir()
	e := Endpoints{
		PID: 7, Kafka: []string{"127.0.0.1:1"}, NATS: "nats://" + listening(t), NATSUser: "u", NATSSecret: "s",
		ClickHouse: "127.0.0.1:2",
	}
	if err := e.save(c.Dir); err != nil {
		t.Fatal(err)
	}
	got, err := c.Find()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(e.Kafka, got.Kafka.Brokers); diff != "" || got.NATS.URL != e.NATS || got.NATS.User != "u" || got.NATS.Password != "s" || got.ClickHouse.Addr != e.ClickHouse {
		t.Errorf("got %+v %+v %+v", got.Kafka, got.NATS, got.ClickHouse)
	}
	info, err := os.Stat(filepath.Join(c.Dir, endpointsFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others can read the password: %v %v", info.Mode(), err)
	}
}

func TestFindPrefersWhatTheConfigurationSays(t *testing.T) {
	c := Default()
	c.Dir = t.TempDir()
	if err := (Endpoints{Kafka: []string{"embedded:1"}}).save(c.Dir); err != nil {
		t.Fatal(err)
	}
	c.Kafka.Brokers, c.NATS.URL = []string{"mine:1"}, "nats://mine:2"
	got, err := c.Find()
	if err != nil || got.Kafka.Brokers[0] != "mine:1" {
		t.Errorf("%v %v", got.Kafka.Brokers, err)
	}
	c.NATS.URL = ""
	if _, err := c.Find(); err == nil || !strings.Contains(err.Error(), "nats.url") {
		t.Errorf("half of the addresses: %v", err)
	}
}

func TestFindSaysWhatToDoWithoutANode(t *testing.T) {
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	for name, c := range map[string]struct {
		endpoints *Endpoints
		want      []string
	}{
		"never started": {nil, []string{"estop up", "--dir"}},
		"killed":        {&Endpoints{PID: 7, NATS: "nats://" + gone.Addr().String()}, []string{"process 7", "estop up --dir"}},
	} {
		t.Run(name, func(t *testing.T) {
			conf := Default()
			conf.Dir = t.TempDir()
			if c.endpoints != nil {
				if err := c.endpoints.save(conf.Dir); err != nil {
					t.Fatal(err)
				}
			}
			_, err := conf.Find()
			if !errors.Is(err, ErrNoNode) {
				t.Fatal(err)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v does not say %s", err, want)
				}
			}
		})
	}
}

func TestFindRefusesABrokenFile(t *testing.T) {
	c := Default()
	c.Dir = t.TempDir()
	path := filepath.Join(c.Dir, endpointsFile)
	if err := os.WriteFile(path, []byte(`{"kafka": 3}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Find(); err == nil || !strings.Contains(err.Error(), path) {
		t.Error(err)
	}
}
