package node

import (
	"context"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/estop-project/estop/revoke"
	"github.com/estop-project/estop/revoke/gate/policy"
	"github.com/estop-project/estop/revoke/gate/risk"
)

// authorize makes the gate ask policies, and follow the risks that they are about.
func (g *Gate) authorize(ctx context.Context, o GateOptions, verifier revoke.Verifier) error {
	if o.Policy == "" {
		return nil
	}
	var err error
	g.risks, err = risk.New(risk.Options{Conn: g.nats, Verifier: verifier, Tenants: o.Tenants, MaxStale: o.MaxStale, Logger: g.log})
	if err != nil {
		return err
	}
	live, err := policy.LoadLive(o.Policy, g.risks.Of, g.log)
	if err != nil {
		return fmt.Errorf("%q: %w", o.Policy, err)
	}
	if err := g.risks.Start(ctx); err != nil {
		return err
	}
	g.Authorize = live.Authorize
	g.Registry.MustRegister(policyMetrics{live, g.risks})
	g.done.Go(func() { live.Watch(ctx, policy.ReloadEvery) })
	g.log.Info("policies decide", "policies", live.Set().Len())
	return nil
}

// policyMetrics collects what policies decided, and what is known of risks.
type policyMetrics struct {
	live  *policy.Live
	risks *risk.Follower
}

func policyDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("estop_policy_"+name, help, labels, nil)
}

var (
	descAsked     = policyDesc("decisions_total", "Calls that policies decided, after the guard let them pass.", "permitted")
	descPolicies  = policyDesc("policies", "Policies in force.")
	descWrong     = policyDesc("files_wrong", "1 while the files of policies are wrong and an older version of them is in force.")
	descReloads   = policyDesc("reloads_total", "Changes of the files that came into force.")
	descAgents    = policyDesc("risk_agents", "Agents of whose risk something is known.")
	descBadRisks  = policyDesc("risks_refused_total", "Messages about risks that were not believed.")
	descLostRisks = policyDesc("risks_dropped_total", "Risks for which there was no room.")
	descBlind     = policyDesc("risk_stale", "1 while nothing is heard of risks, so that all of them are unknown.")
)

// Describe sends the descriptions of all metrics.
func (policyMetrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descAsked, descPolicies, descWrong, descReloads, descAgents, descBadRisks, descLostRisks, descBlind} {
		to <- d
	}
}

// Collect sends the counts of now.
func (m policyMetrics) Collect(to chan<- prometheus.Metric) {
	p, r := m.live.Stats(), m.risks.Stats()
	count := func(d *prometheus.Desc, n uint64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	gauge := func(d *prometheus.Desc, v float64) { to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v) }
	count(descAsked, p.Permitted, "true")
	count(descAsked, p.Denied, "false")
	count(descReloads, p.Reloads)
	count(descBadRisks, r.Refused)
	count(descLostRisks, r.Dropped)
	gauge(descPolicies, float64(p.Policies))
	gauge(descWrong, flag(p.Wrong))
	gauge(descAgents, float64(r.Agents))
	gauge(descBlind, flag(r.Stale))
}

func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
