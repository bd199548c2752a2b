package pipeline

import (
	"sync"

	"github.com/estop-project/estop/pipeline/shard"
)

// Census knows how many agents of each tenant the shards of this process have met. Agents are spread over the
// partitions by a hash of their names, so a process that has half of them knows about half of the agents.
type Census struct {
	mu     sync.Mutex
	agents map[string]int
}

// NewCensus returns an empty census.
func NewCensus() *Census { return &Census{agents: map[string]int{}} }

// Known returns how many agents of a tenant the process knows.
func (c *Census) Known(tenant string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.agents[tenant]
}

func (c *Census) add(agents map[string]int, sign int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for tenant, n := range agents {
		if c.agents[tenant] += sign * n; c.agents[tenant] == 0 {
			delete(c.agents, tenant)
		}
	}
}

// counting is what one shard has told a census.
type counting struct {
	census *Census // nil: nobody asks
	told   map[string]int
}

// tell adds the agents that the shard met since the last time.
func (c *counting) tell(s *shard.Shard) {
	if c.census == nil {
		return
	}
	fresh := map[string]int{}
	if s.Agents(fresh); len(fresh) == 0 {
		return
	}
	if c.told == nil {
		c.told = map[string]int{}
	}
	for tenant, n := range fresh {
		c.told[tenant] += n
	}
	c.census.add(fresh, 1)
}

// end takes back what was told: the shard goes to another process.
func (c *counting) end() {
	if c.census != nil {
		c.census.add(c.told, -1)
	}
}
