package plugin

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
)

func TestTheSettingsBoundWhatAnyQuerySees(t *testing.T) {
	for _, c := range []struct {
		settings Settings
		asked    []string
		want     []string
		all      bool
		refused  bool
	}{
		{settings: Settings{AllTenants: true}, all: true},
		{settings: Settings{AllTenants: true}, asked: []string{"zwei"}, want: []string{"zwei"}},
		{settings: Settings{Tenants: []string{"t1", "t3"}}, want: []string{"t1", "t3"}},
		{settings: Settings{Tenants: []string{"t1", "t3"}}, asked: []string{"t3"}, want: []string{"t3"}},
		{settings: Settings{Tenants: []string{"t1"}}, asked: []string{"zwei"}, refused: true},
		{settings: Settings{Tenants: []string{"t1"}}, asked: []string{"t1", "zwei"}, refused: true},
		{settings: Settings{}, refused: true},
		{settings: Settings{}, asked: []string{"t1"}, refused: true},
	} {
		got, all, err := c.settings.scope(c.asked)
		if !slices.Equal(got, c.want) || all != c.all || errors.Is(err, errScope) != c.refused {
			t.Errorf("%v of %+v: %v, %v, %v", c.asked, c.settings, got, all, err)
		}
	}
}

func TestSettingsThatContradictThemselvesAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		`{`: "cannot read", `{"tenants":["a"],"allTenants":true}`: "not both", `{"tenants":[""]}`: "no name",
	} {
		if _, err := New(t.Context(), backend.DataSourceInstanceSettings{JSONData: []byte(text)}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	s, err := parseSettings(backend.DataSourceInstanceSettings{JSONData: []byte(`{"rows":1000000000,"seconds":86400,"rate":-1,"wait":3600}`)})
	if err != nil || s.Rows != maxRows || s.timeout() != maxSeconds*time.Second || s.Rate != 100 || s.Wait != maxWait {
		t.Errorf("bounds: %+v, %v", s, err)
	}
}

func TestHealthSaysOfEachThingThatIsMissingWhatToDo(t *testing.T) {
	keys := t.TempDir()
	for name, c := range map[string]struct {
		settings Settings
		want     []string
	}{
		"nothing":   {Settings{}, []string{"settings name none", "ClickHouse: the settings have no address", "NATS: the settings have no URL", "Kafka: the settings have no brokers", "keys: the settings name no folder"}},
		"no answer": {Settings{AllTenants: true, ClickHouse: ClickHouse{Addr: "127.0.0.1:1"}}, []string{"ClickHouse at 127.0.0.1:1 does not answer"}},
		"no NATS":   {Settings{AllTenants: true, NATS: NATS{URL: "nats://127.0.0.1:1"}}, []string{"cannot connect to NATS"}},
		"no Kafka":  {Settings{AllTenants: true, Kafka: Kafka{Brokers: []string{"127.0.0.1:1"}}}, []string{"Kafka at 127.0.0.1:1 does not answer"}},
		"no keys":   {Settings{AllTenants: true, Keys: keys}, []string{"copy the guards' verifier.jwks"}},
	} {
		r, err := open(t, c.settings, nil).CheckHealth(t.Context(), nil)
		if err != nil || r.Status != backend.HealthStatusError {
			t.Errorf("%s: %v, %v", name, r, err)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(r.Message, want) {
				t.Errorf("%s: %q is not said in %q", name, want, r.Message)
			}
		}
	}
}
