package plugin

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/experimental/datasourcetest"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/estop-project/estop/pipeline/embedded/freeport"
)

// overGRPC asks as Grafana does: in another process's words, with the settings and the user in each request.
func overGRPC(t *testing.T, d *Datasource) {
	port, err := freeport.Find()
	if err != nil {
		t.Fatal(err)
	}
	// The SDK registers its metrics with each server that it starts, and wants one in a process.
	before := prometheus.DefaultRegisterer
	prometheus.DefaultRegisterer = prometheus.NewRegistry()
	defer func() { prometheus.DefaultRegisterer = before }()
	p, err := datasourcetest.Manage(New, datasourcetest.ManageOpts{Address: fmt.Sprintf("127.0.0.1:%d", port)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.Shutdown(); err != nil {
			t.Error(err)
		}
	}()
	settings, err := json.Marshal(d.settings)
	if err != nil {
		t.Fatal(err)
	}
	about := backend.PluginContext{
		Namespace: "default", PluginID: ID, User: person("eve", "Viewer"),
		DataSourceInstanceSettings: &backend.DataSourceInstanceSettings{
			UID: "estop", JSONData: settings, DecryptedSecureJSONData: map[string]string{secretClickHouse: d.config.ClickHouse.Password},
		},
	}
	now := time.Now()
	r, err := p.Client.QueryData(t.Context(), &backend.QueryDataRequest{PluginContext: about, Queries: []backend.DataQuery{{
		RefID: "A", JSON: json.RawMessage(`{"kind":"calls","format":"timeseries"}`), Interval: time.Minute, TimeRange: backend.TimeRange{From: now.Add(-time.Hour), To: now},
	}}})
	if err != nil || r.Responses["A"].Error != nil || r.Responses["A"].Frames[0].Rows() == 0 {
		t.Errorf("a query: %v, %v", r, err)
	}
	health, err := p.Client.CheckHealth(t.Context(), &backend.CheckHealthRequest{PluginContext: about})
	if err != nil || health.Status != backend.HealthStatusOk {
		t.Errorf("health: %v, %v", health, err)
	}
	for role, want := range map[string]int{"Viewer": http.StatusForbidden, "Editor": http.StatusOK} {
		about.User = person("eve", role)
		status, body := 0, ""
		err := p.Client.CallResource(t.Context(), &backend.CallResourceRequest{
			PluginContext: about, Method: "POST", Path: "preview", URL: "preview", Body: []byte(`{"tenant":"t1","scope":"agent","subject":"bad-t1"}`),
			Headers: map[string][]string{"Content-Type": {"application/json"}, actHeader: {"1"}},
		}, backend.CallResourceResponseSenderFunc(func(r *backend.CallResourceResponse) error {
			status, body = r.Status, body+string(r.Body)
			return nil
		}))
		if err != nil || status != want {
			t.Errorf("%s: %d %s, %v", role, status, strings.TrimSpace(body), err)
		}
	}
}
