package shard

import "github.com/estop-project/estop/detector"

// Agents adds to known, by tenant, the agents that the shard met since the last call of Agents.
// After a restart those of the restored state are among them.
func (s *Shard) Agents(known map[string]int) {
	for _, e := range s.entities.byID[s.polled:] {
		if detector.Entity(e.key[0]) == detector.ByAgent {
			known[tenantOf(e.key)]++
		}
	}
	s.polled = len(s.entities.byID)
}
