package shard

import "github.com/estop-project/estop/detector"

// Agents adds to known, by tenant, the agents that the shard met since the last call of Agents.
// After a restart those of the restored state are among them.
func (s *Shard) Agents(known map[string]int) {
	for ; s.polled < s.entities.ids.Len(); s.polled++ {
		if key := s.entities.ids.String(uint32(s.polled)); detector.Entity(key[0]) == detector.ByAgent {
			known[tenantOf(key)]++
		}
	}
}
