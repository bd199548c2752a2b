package pipeline

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/models"
	"github.com/estop-project/estop/pipeline/graph"
	"github.com/estop-project/estop/pipeline/shard"
	"github.com/estop-project/estop/pipeline/telemetry"
)

// access is the access graph of a partition of calls. It explains detections, and has no say in
// whether something fires.
type access struct {
	recorder *graph.Recorder
	maxAhead time.Duration
	number   uint64          // of the last state that was saved
	chunks   [graphSlots]int // of the states in the state topic
	counted  graph.Stats
	asked    chan question
}

// question is a detection of a shard of the exchange that the graph of the calls is to explain.
type question struct {
	found detector.Detection
	at    graph.Place
	send  func(detector.Detection)
}

// maxQuestions bounds the questions that wait; what finds them full goes unexplained.
const maxQuestions = 256

func newAccess(opt graph.Options, maxAhead time.Duration) *access {
	return &access{recorder: graph.New(opt), maxAhead: maxAhead, asked: make(chan question, maxQuestions)}
}

// call takes in a call and returns its place.
func (a *access) call(c *telemetry.Call, src shard.Source) graph.Place {
	a.recorder.At = graph.Position{Offset: src.Offset, Index: src.Index}
	return a.recorder.Call(c, min(c.Time, src.Appended+int64(a.maxAhead)))
}

// The bounds of an explanation.
const (
	peersTold     = 3
	resourcesTold = 8
)

// explain returns what the graph knows of a detection whose call had that place. The snapshot
// that could be asked then is the only one that it asks.
func (a *access) explain(found *detector.Detection, at graph.Place) *detector.Graph {
	g := placeOf(at)
	s := a.recorder.Current()
	if at.Snapshot == 0 || s.Multiple() != at.Snapshot {
		return g
	}
	g.Taken, g.Group = s.Size().Taken, at.Group
	tenant := []byte(found.Tenant)
	if e, ok := s.Explain(tenant, []byte(found.Agent)); ok {
		g.GroupSize = e.GroupSize
		for _, p := range e.Peers[:min(peersTold, len(e.Peers))] {
			g.Peers = append(g.Peers, detector.Peer{Agent: p.Agent, Share: p.Share})
		}
		b := &e.Blast
		g.Reach = &detector.Reach{
			Agents: b.Agents, Identities: b.Identities, Resources: b.Resources, Share: b.Share,
			Nearest: b.Nearest[:min(resourcesTold, len(b.Nearest))], Partial: !b.Complete,
		}
	}
	if n := len(found.Chain); n > 1 {
		if x, ok := s.Excess(tenant, []byte(found.Chain[n-2]), []byte(found.Agent)); ok {
			g.Excess = &detector.Excess{Resources: x.Resources, Identities: x.Identities, Share: x.Share, Parent: x.Parent}
		}
	}
	if c, ok := s.Criticality(models.ResourceNode, tenant, []byte(found.Resource)); ok {
		g.Resource = &detector.Criticality{PageRank: c.PageRank, Below: c.Below, Betweenness: c.Betweenness, Agents: c.Agents, Identities: c.Identities}
	}
	return g
}

// placeOf is what a detection says of a place that no snapshot is there for.
func placeOf(at graph.Place) *detector.Graph {
	return &detector.Graph{
		Depth: at.Depth, Repeated: at.Repeated, FanOut: at.FanOut, Sharing: at.Sharing,
		ResourceBeyond: at.ResourceBeyond, IdentityBeyond: at.IdentityBeyond,
	}
}

// answer explains a detection of the exchange and sends it on.
func (a *access) answer(q question) {
	q.found.Graph = a.explain(&q.found, q.at)
	q.send(q.found)
}

// asks returns the questions, or nil where there is no graph.
func (w *worker) asks() <-chan question {
	if w.access == nil {
		return nil
	}
	return w.access.asked
}

// refuse sends the detections on that nobody explains any more.
func (w *worker) refuse() {
	for {
		select {
		case q := <-w.asks():
			q.send(q.found)
		default:
			return
		}
	}
}

// tell writes a detection out, explained. The graph of a detection of the exchange is with the
// worker of the partition that its call came from. Where this process has none, or too many ask
// it, the detection goes with no more than the call's place.
func (w *worker) tell(ctx context.Context, found detector.Detection) {
	switch {
	case w.access != nil:
		found.Graph = w.access.explain(&found, w.place)
	case w.placed && w.ask(ctx, found):
		return
	case w.placed:
		found.Graph = placeOf(w.place)
	}
	w.send(ctx, detectionRecord(found))
}

// ask hands a detection to the worker that can explain it, and reports whether that took it.
func (w *worker) ask(ctx context.Context, found detector.Detection) bool {
	found.Graph = placeOf(w.place)
	ack := w.outputs.add(ctx, w)
	q := question{found: found, at: w.place, send: func(explained detector.Detection) {
		w.detect.producer.Produce(w.detect.sending, detectionRecord(explained), ack)
	}}
	// A worker that is in the map has still to end, and then sends on what it was handed.
	w.detect.mu.Lock()
	defer w.detect.mu.Unlock()
	if there := w.detect.workers[source{found.Topic, found.Partition}]; there != nil && there.access != nil {
		select {
		case there.access.asked <- q:
			return true
		default:
		}
	}
	w.outputs.wg.Done()
	return false
}

// headerPlace says, in the exchange, where a call stands in the access graph.
const headerPlace = "place"

var errPlace = errors.New("garbled place in the access graph")

func appendPlace(b []byte, at graph.Place) []byte {
	flags := uint64(0)
	if at.ResourceBeyond {
		flags |= 1
	}
	if at.IdentityBeyond {
		flags |= 2
	}
	for _, v := range [...]uint64{uint64(at.Snapshot), uint64(at.Group), uint64(at.Depth), uint64(at.Repeated), uint64(at.FanOut), uint64(at.Sharing), flags} {
		b = binary.AppendUvarint(b, v)
	}
	return b
}

func parsePlace(b []byte) (at graph.Place, err error) {
	var v [7]uint64
	for i := range v {
		n := 0
		if v[i], n = binary.Uvarint(b); n <= 0 || v[i] > 1<<32-1 {
			return graph.Place{}, errPlace
		}
		b = b[n:]
	}
	if len(b) > 0 || v[6] > 3 {
		return graph.Place{}, errPlace
	}
	return graph.Place{
		Snapshot: uint32(v[0]), Group: uint32(v[1]), ChainShape: models.ChainShape{Depth: int(v[2]), Repeated: int(v[3])},
		FanOut: int(v[4]), Sharing: int(v[5]), ResourceBeyond: v[6]&1 != 0, IdentityBeyond: v[6]&2 != 0,
	}, nil
}

// placed returns the place that a record of the exchange carries, if it does.
func placed(r *kgo.Record) (graph.Place, bool) {
	for i := range r.Headers {
		if r.Headers[i].Key == headerPlace {
			at, err := parsePlace(r.Headers[i].Value)
			return at, err == nil
		}
	}
	return graph.Place{}, false
}
