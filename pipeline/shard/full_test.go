package shard_test

import (
	"strings"
	"testing"

	"github.com/estop-project/estop/detector"
)

// full is a catalogue of fourteen detectors, of every sort of evidence that the shipped one may
// use: what it costs is known before it ships, and does not jump when the catalogue changes.
func full(t testing.TB) *detector.Plan {
	t.Helper()
	const response = "\nmode: enforce\nresponse: {action: revoke, scope: agent, for: 15m}\n"
	var texts []string
	for text := range strings.SplitSeq(fullText, "\n---\n") {
		texts = append(texts, strings.TrimSpace(text)+response)
	}
	return plan(t, texts...)
}

const fullText = `
id: bulk-transfer
title: As its id says
baseline: [{feature: "sum(bytes_out, 1m)"}]
budget: 1 per 1000 agent-days
warmup: {calls: 200, slots: 20, time: 14d}
relearn: context.version
---
id: mass-deletion
title: As its id says
match:
  action|contains: [delete, remove, destroy, purge, terminate, drop, wipe]
baseline: [{feature: "count(calls, 1m)"}]
budget: 1 per 1000 agent-days
warmup: {calls: 200, slots: 0, time: 14d}
relearn: context.version
---
id: denials
title: As its id says
baseline: [{feature: "count(denied, 1m)"}]
budget: 1 per 1000 agent-days
warmup: {calls: 200, slots: 20, time: 14d}
relearn: context.version
---
id: rate-drift
title: As its id says
baseline: [{feature: "count(calls, 24h)", season: hour-of-week, memory: 200d}]
budget: 1 per 1000 agent-days
warmup: {calls: 200, slots: 14, time: 21d}
---
id: foreign-principal
title: As its id says
baseline: [{feature: surprise(chain_root)}, {feature: surprise(parent)}, {feature: new(chain)}]
slot: 10s
budget: 1 per 1000 agent-days
warmup: {calls: 200, slots: 20, time: 14d}
relearn: context.version
---
id: runaway-loop
title: As its id says
baseline: [{feature: repeats(call)}]
slot: 10s
budget: 1 per 1000 agent-days
warmup: {calls: 200, slots: 20, time: 14d}
relearn: context.version
---
id: new-identity
title: As its id says
baseline: [{feature: new(identity)}]
slot: 10s
budget: 1 per 1000 agent-days
warmup: {calls: 200, slots: 20, time: 14d}
relearn: context.version
---
id: off-task
title: As its id says
within: session
baseline: [{feature: sequence(call)}]
budget: 1 per 10000 sessions
warmup: {calls: 200, slots: 20, time: 14d}
relearn: context.version
---
id: call-rate-breach
title: As its id says
baseline: [{feature: "count(calls, 10s)"}]
budget: 1 per 1000 agent-days
warmup: {calls: 200, slots: 20, time: 14d}
relearn: context.version
---
id: slow-transfer
title: As its id says
baseline: [{feature: "sum(bytes_out, 1h)", memory: 42d}, {feature: "count(calls, 1h)", memory: 42d, season: hour-of-week}]
budget: 1 per 1000 agent-days
warmup: {calls: 200, slots: 20, time: 14d}
relearn: context.version
---
id: new-resource-spree
title: As its id says
match: {resource|exists: true}
baseline: [{feature: new(resource)}]
slot: 10s
budget: 1 per 1000 agent-days
warmup: {calls: 200, slots: 20, time: 14d}
relearn: context.version
---
id: stolen-identity
title: As its id says
group_by: identity
match: {identity|exists: true}
baseline: [{feature: surprise(agent)}, {feature: surprise(chain_root)}]
slot: 10s
budget: 1 per 1000 identity-days
warmup: {calls: 200, slots: 20, time: 14d}
---
id: new-territory
title: As its id says
baseline: [{feature: surprise(shape)}, {feature: surprise(action)}]
slot: 10s
budget: 1 per 1000 agent-days
warmup: {calls: 200, slots: 20, time: 14d}
relearn: context.version
---
id: new-call
title: As its id says
baseline: [{feature: new(call)}]
slot: 10s
budget: 1 per 1000 agent-days
warmup: {calls: 200, slots: 20, time: 14d}
relearn: context.version
`
