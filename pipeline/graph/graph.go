// Package graph keeps the access graph of a shard's calls: who used what, with which
// identity, on whose behalf. Every few minutes of the calls' own time it takes a snapshot, and
// computes from it peer groups, criticality and blast radius, beside the way of the calls.
//
// The same calls in the same order give the same snapshots. One is taken when the calls' time
// crosses a multiple of the interval, and is asked from the next multiple on, however fast it
// was computed. Where it is not ready by then, as when calls of days pass in minutes, the shard
// does not wait: the snapshot before it goes on being asked, and the next is taken at a
// later multiple. Options.Wait makes it wait, so that the answers too are always the same.
//
// Tenants never mix: each has a graph of its own.
package graph

import (
	"time"

	"github.com/estop-project/estop/models"
)

// Options bound a Recorder. A zero field means its default.
type Options struct {
	// Interval is the time from one snapshot to the next. Default 5 minutes, at least 1 second.
	Interval time.Duration
	// HalfLife is how long it takes until a use counts half. Default 3 days: an edge that was used
	// once is then forgotten after 10 days, so a weekly job keeps its edges.
	HalfLife time.Duration
	// MaxNodes bounds the tenants, agents, identities, resources and actions. Default 1<<19.
	MaxNodes int
	// MaxEdges bounds the edges. Default 1<<20.
	MaxEdges int
	// MaxOut bounds the edges from one agent or identity, so that none can fill the graph.
	// Default 4096.
	MaxOut int
	// Run runs the computation of a snapshot, now or beside. The default starts a goroutine.
	Run func(compute func())
	// Wait makes calls wait at a multiple of the interval for a snapshot that is not computed.
	Wait bool
	// Keep makes each snapshot encode the state that Recorder.State returns.
	Keep bool
}

func (o Options) withDefaults() Options {
	if o.Interval == 0 {
		o.Interval = 5 * time.Minute
	}
	o.Interval = max(o.Interval, time.Second) // ticks are 32 bits
	if o.HalfLife <= 0 {
		o.HalfLife = 72 * time.Hour
	}
	if o.MaxNodes <= 0 {
		o.MaxNodes = 1 << 19
	}
	if o.MaxEdges <= 0 {
		o.MaxEdges = 1 << 20
	}
	if o.MaxOut <= 0 {
		o.MaxOut = 4096
	}
	if o.Run == nil {
		o.Run = func(compute func()) { go compute() }
	}
	return o
}

// leastWeight is what an edge must weigh to stay: one use, 3.3 half-lives old.
const leastWeight = 0.1

// What snapshots compute. The seed is fixed: the calls are to be the only input.
const (
	seed    = 1
	damping = 0.85
	rankTol = 1e-9

	// For betweenness a snapshot searches each tenant from at most mostPivots nodes, and visits
	// about pivotWork edges, but searches from leastPivots at the least.
	mostPivots  = 256
	leastPivots = 16
	pivotWork   = 1 << 26
)

// Bounds of one answer.
const (
	reachNodes = 1 << 16
	reachList  = 100
	peersList  = 8
)

// kindTenant is the kind of the nodes that are tenants; they are no part of any graph.
const kindTenant models.NodeKind = 255
