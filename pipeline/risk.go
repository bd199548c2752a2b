package pipeline

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/shard"
	"github.com/estop-project/estop/revoke"
)

const (
	// riskFor is for how long a level of evidence holds. An agent that calls has it told again once a day; one that makes no call
	// gives no evidence either, until it is forgotten.
	riskFor = 7 * 24 * time.Hour
	// riskLeast is for how long a detection is a high risk at least.
	riskLeast = time.Minute
	// riskEvery is the least time between two risks of one agent and source.
	riskEvery = time.Second
	riskTick  = 50 * time.Millisecond
	// riskBatch bounds how many are sent in one tick, the highest first: the others wait. A fleet that is met for the first time must not
	// take the processor from the calls.
	riskBatch = 50
)

// risks sends how high the risks of agents are to the gates. What waits is one risk for each agent and source, the last
// one, so it is bounded by the agents of the process.
type risks struct {
	publisher *revoke.RiskPublisher
	now       func() time.Time
	log       *slog.Logger
	metrics   *metrics

	mu   sync.Mutex
	due  map[riskKey]revoke.Risk
	sent map[riskKey]time.Time // within riskEvery
}

type riskKey struct{ tenant, agent, source string }

func newRisks(opt Options, m *metrics) *risks {
	return &risks{publisher: opt.Risks, now: opt.Now, log: opt.Log, metrics: m, due: map[riskKey]revoke.Risk{}, sent: map[riskKey]time.Time{}}
}

var levels = map[shard.Band]revoke.Level{shard.Low: revoke.RiskLow, shard.Medium: revoke.RiskMedium, shard.High: revoke.RiskHigh}

// evidence takes in what a shard tells.
func (b *risks) evidence(told []shard.Risk) {
	if len(told) == 0 {
		return
	}
	now := b.now()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range told {
		b.put(revoke.Risk{
			Tenant: r.Tenant, Agent: r.Agent, Source: revoke.SourceEvidence, Level: levels[r.Band], Score: int(100 * r.Share),
			IssuedAt: now, Until: now.Add(riskFor), Reason: r.Detector,
		})
	}
}

// detected takes in a detection: while the agent is quiet after it, its risk is high.
func (b *risks) detected(d *detector.Compiled, found *detector.Detection) {
	if found.Canary || found.Agent == "" || found.Mode == detector.Observe.String() {
		return
	}
	quiet := d.For(found.Tenant).QuietAt(found.Time.UnixNano(), max(found.Step-1, 0))
	now := b.now()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.put(revoke.Risk{
		Tenant: found.Tenant, Agent: found.Agent, Source: revoke.SourceOf(found.Detector), Level: revoke.RiskHigh, Score: 100,
		IssuedAt: now, Until: now.Add(min(max(quiet, riskLeast), revoke.MaxRiskFor)), Reason: found.Detector,
	})
}

func (b *risks) put(r revoke.Risk) {
	b.due[riskKey{r.Tenant, r.Agent, r.Source}] = r
}

// run sends until ctx ends.
func (b *risks) run(ctx context.Context) {
	t := time.NewTicker(riskTick)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			b.send(ctx)
		}
	}
}

// send sends what is due. What is not stored is sent again, unless something newer has come.
func (b *risks) send(ctx context.Context) {
	batch := b.take()
	if len(batch) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	unstored, err := b.publisher.Publish(ctx, batch)
	if err != nil {
		b.metrics.risksFailed.Add(float64(len(unstored)))
		b.log.Warn("risks of agents are not all sent", "again", len(unstored), "err", err)
	}
	for _, r := range batch {
		b.metrics.risks.WithLabelValues(string(r.Level)).Inc()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range unstored {
		if k := (riskKey{r.Tenant, r.Agent, r.Source}); b.due[k].Level == "" {
			b.due[k] = r
		}
	}
}

// take takes out what may be sent now, the highest risks first.
func (b *risks) take() []revoke.Risk {
	now := b.now()
	b.mu.Lock()
	defer b.mu.Unlock()
	for k, at := range b.sent {
		if now.Sub(at) >= riskEvery {
			delete(b.sent, k)
		}
	}
	var batch []revoke.Risk
	for k, r := range b.due {
		if _, soon := b.sent[k]; !soon {
			batch = append(batch, r)
		}
	}
	if len(batch) > riskBatch {
		slices.SortFunc(batch, func(a, b revoke.Risk) int { return cmp.Compare(b.Level.Rank(), a.Level.Rank()) })
		batch = batch[:riskBatch]
	}
	for _, r := range batch {
		k := riskKey{r.Tenant, r.Agent, r.Source}
		delete(b.due, k)
		b.sent[k] = now
	}
	return batch
}
