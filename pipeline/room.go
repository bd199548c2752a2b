package pipeline

import (
	"math"
	"time"
)

// room is what a worker has told of the memory that its entities take. Options.Memory is for all workers together:
// where they take more, each gives back the same share of what it has.
type room struct {
	told    int64 // bytes that are counted in Detect.used
	checked int64 // bytes when they were last held against the bound
	evicted uint64
	logged  time.Time // when the log last had that agents are put away
}

// leastGrowth is by how much a worker's entities must grow before it begins a checkpoint before its time.
const leastGrowth = 1 << 20

// tellRoom counts what the worker's entities take now.
func (w *worker) tellRoom() {
	used := w.shard.Used()
	w.detect.used.Add(used - w.room.told)
	w.detect.metrics.entityBytes.Add(float64(used - w.room.told))
	w.room.told = used
}

// giveRoom takes back what the worker told: its shard ends.
func (w *worker) giveRoom() {
	w.detect.used.Add(-w.room.told)
	w.detect.metrics.entityBytes.Sub(float64(w.room.told))
	w.room.told = 0
}

// crowded reports whether memory is beyond its bound, and so much has come since it was last looked at that the next
// checkpoint is not to be waited for.
func (w *worker) crowded() bool {
	bound := w.detect.opt.Memory
	if bound == 0 || w.local == nil || w.local.broken {
		return false
	}
	used := w.shard.Used()
	return used-w.room.checked > max(leastGrowth, bound/64) && w.detect.used.Load()+used-w.room.told > bound
}

// allowed is how many bytes the worker's entities may take.
func (w *worker) allowed() int64 {
	bound, all := w.detect.opt.Memory, w.detect.used.Load()
	if bound == 0 || all <= bound {
		return math.MaxInt64
	}
	return int64(float64(w.room.told) * float64(bound) / float64(all))
}

// evict puts idle entities away where memory is beyond its bound.
func (w *worker) evict() {
	w.tellRoom()
	defer func() { w.room.checked = w.room.told }()
	limit := w.allowed()
	if limit == math.MaxInt64 {
		return
	}
	w.shard.Evict(limit)
	w.tellRoom()
	n := w.shard.Stats.Evicted - w.room.evicted
	if n == 0 {
		return
	}
	w.room.evicted = w.shard.Stats.Evicted
	w.detect.metrics.evicted.Add(float64(n))
	if time.Since(w.room.logged) > time.Minute {
		w.room.logged = time.Now()
		w.log.Warn("memory is at its bound: those idle longest are put away, and read back at their next call",
			"bound", w.detect.opt.Memory, "now", n, "in memory", w.shard.Resident(), "all", w.shard.Stats.Evicted)
	}
}
