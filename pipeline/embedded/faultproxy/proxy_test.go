package faultproxy_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/estop-project/estop/pipeline/embedded/faultproxy"
	natsd "github.com/estop-project/estop/pipeline/embedded/nats"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	subject  = "estop.v1.beat"
	password = "0123456789abcdef"
)

// line is a subscriber behind a proxy, and who publishes to it.
type line struct {
	proxy *faultproxy.Proxy
	near  *nats.Conn
	far   *nats.Conn
	sub   *nats.Subscription
}

func newLine(t *testing.T, seed uint64) *line {
	t.Helper()
	server, err := natsd.Start(natsd.Options{Dir: t.TempDir(), Password: password})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	l := &line{}
	if l.proxy, err = faultproxy.Start(server.Addr(), seed); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.proxy.Close() })
	connect := func(url string) *nats.Conn {
		nc, err := nats.Connect(url, nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		return nc
	}
	l.near, l.far = connect(server.DetectorURL()), connect(l.proxy.URL())
	if l.sub, err = l.far.SubscribeSync(subject); err != nil {
		t.Fatal(err)
	}
	if err := l.far.Flush(); err != nil {
		t.Fatal(err)
	}
	return l
}

// send publishes n numbered messages and returns what arrives until it is silent.
func (l *line) send(t *testing.T, n int, silent time.Duration) []string {
	t.Helper()
	for i := range n {
		if err := l.near.Publish(subject, fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.near.Flush(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for {
		m, err := l.sub.NextMsg(silent)
		if err != nil {
			return got
		}
		got = append(got, string(m.Data))
	}
}

func TestAGoodNetworkChangesNothing(t *testing.T) {
	got := newLine(t, 1).send(t, 1000, 200*time.Millisecond)
	if len(got) != 1000 || got[0] != "0" || got[999] != "999" {
		t.Errorf("%d messages arrive", len(got))
	}
}

func TestMessagesAreLostRepeatedAndReorderedBySeed(t *testing.T) {
	run := func(seed uint64, f faultproxy.Faults) []string {
		l := newLine(t, seed)
		l.proxy.Set(f)
		return l.send(t, 1000, 200*time.Millisecond)
	}
	if n := len(run(1, faultproxy.Faults{Loss: 0.2})); n < 740 || n > 860 {
		t.Errorf("%d of 1000 arrive with a loss of a fifth", n)
	}
	if n := len(run(1, faultproxy.Faults{Duplicate: 0.2})); n < 1140 || n > 1260 {
		t.Errorf("%d of 1000 arrive with a fifth twice", n)
	}
	all := faultproxy.Faults{Loss: 0.2, Duplicate: 0.1, Reorder: 0.1}
	first, second, other := run(2, all), run(2, all), run(3, all)
	if fmt.Sprint(first) != fmt.Sprint(second) || fmt.Sprint(first) == fmt.Sprint(other) {
		t.Error("a seed does not say what happens")
	}
	behind := 0
	for i := range first[1:] {
		if len(first[i]) == len(first[i+1]) && first[i] > first[i+1] {
			behind++
		}
	}
	if behind < 20 {
		t.Errorf("%d messages come after a later one", behind)
	}
}

func TestAStallHoldsEverythingUpAndLosesNothing(t *testing.T) {
	l := newLine(t, 1)
	l.proxy.Stall(faultproxy.ToClient)
	if got := l.send(t, 100, 200*time.Millisecond); len(got) != 0 {
		t.Errorf("%d messages arrive during a stall", len(got))
	}
	l.proxy.Resume()
	if got := l.send(t, 0, 500*time.Millisecond); len(got) != 100 {
		t.Errorf("%d messages arrive after a stall, want 100", len(got))
	}
}

func TestClientsComeBackAfterABreak(t *testing.T) {
	l := newLine(t, 1)
	back := l.far.StatusChanged(nats.CONNECTED)
	defer l.far.RemoveStatusListener(back)
	l.proxy.Break()
	select {
	case <-back:
	case <-time.After(10 * time.Second):
		t.Fatal("no new connection")
	}
	if err := l.far.Flush(); err != nil {
		t.Fatal(err)
	}
	if got := l.send(t, 10, 500*time.Millisecond); len(got) != 10 {
		t.Errorf("%d messages arrive, want 10", len(got))
	}
}

func TestASlowLineTakesItsTime(t *testing.T) {
	l := newLine(t, 1)
	l.proxy.Set(faultproxy.Faults{Rate: 4 << 10})
	began := time.Now()
	if got := l.send(t, 100, time.Second); len(got) != 100 {
		t.Errorf("%d messages arrive, want 100", len(got))
	}
	if took := time.Since(began) - time.Second; took < 500*time.Millisecond {
		t.Errorf("about 3 KB took %v at 4 KB a second", took)
	}
}
