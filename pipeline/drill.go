package pipeline

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/estop-project/estop/detector"
	"github.com/estop-project/estop/pipeline/shard"
	"github.com/estop-project/estop/pipeline/telemetry"
	"github.com/estop-project/estop/revoke"
)

const (
	// DrillTenant has the marked calls of drills. Whom they stop is of the tenant whose guards are tried.
	DrillTenant = "estop-drill"
	// headerDrill of a record of calls marks the call of a drill: the signed order of a stop that stops nobody.
	headerDrill = "estop-drill"
	drillAction = "estop.drill"
	// maxDrills bounds how many drills a partition answers in drillWindow: who may send calls could send marks too, and
	// each takes a signature to refuse.
	maxDrills   = 100
	drillWindow = time.Second
)

// DrillCall is the marked call of a drill as a record of the topic of calls. The detect role that reads it judges it by a
// detector and in a shard of its own, which it forgets, and stops what the order says.
func DrillCall(signed revoke.Record, now time.Time) *kgo.Record {
	c := &telemetry.Call{
		ID: []byte(signed.ID), Time: now.UnixNano(), Tenant: []byte(DrillTenant), Agent: []byte(signed.Subject), Session: []byte(signed.Subject),
		Action: []byte(drillAction),
	}
	return &kgo.Record{
		Topic: TopicCalls, Key: telemetry.Key(c), Value: telemetry.AppendJSON(nil, c),
		Headers: []kgo.RecordHeader{
			{Key: telemetry.HeaderContentType, Value: []byte(telemetry.ContentTypeJSON)}, {Key: headerDrill, Value: []byte(signed.SET)},
		},
	}
}

// drillToken returns the mark of a record, if it has one.
func drillToken(r *kgo.Record) (token []byte, ok bool) {
	for i := range r.Headers {
		if r.Headers[i].Key == headerDrill {
			return r.Headers[i].Value, true
		}
	}
	return nil, false
}

//go:embed drill/drill.yaml
var drillFiles embed.FS

// drillPlan is the plan of the one detector that judges the calls of drills.
var drillPlan = sync.OnceValue(func() *detector.Plan {
	files, err := fs.Sub(drillFiles, "drill")
	if err != nil {
		panic("pipeline: " + err.Error()) // the files are ours
	}
	set, errs := detector.Load(files)
	if err := errs.Err(); err != nil {
		panic("pipeline: the detector of drills: " + err.Error())
	}
	return set.Plan
})

// drills counts how many a worker has answered since a time, and how many it ever refused.
type drills struct {
	since      time.Time
	n, refused int
}

// room reports whether one more may be answered.
func (d *drills) room(now time.Time) bool {
	if now.Sub(d.since) >= drillWindow {
		d.since, d.n = now, 0
	}
	d.n++
	return d.n <= maxDrills
}

var (
	errNoDrill    = errors.New("what is signed is not the order of a drill")
	errManyDrills = fmt.Errorf("more than %d drills within %v", maxDrills, drillWindow)
	errUnlike     = errors.New("the call is not the one that the order is for")
	errNotFound   = errors.New("the detector of drills does not find the call")
)

// drill answers the marked call of a drill: all that happens to a call that is stopped happens to it, and nothing that is
// known of agents changes. It reports whether the record is one: whoever marks a call without right does not hide it.
func (w *worker) drill(ctx context.Context, r *kgo.Record, token []byte) bool {
	d := w.detect
	now := d.opt.Now()
	stop, err := w.readDrill(r, token, now)
	if err != nil {
		d.metrics.drillsRefused.Inc()
		// The 1st, 2nd, 4th, 8th …: a flood of forgeries must not become a flood of lines.
		if w.drills.refused++; w.drills.refused&(w.drills.refused-1) == 0 {
			w.log.Warn("a call is marked as that of a drill, and is none", "offset", r.Offset, "count", w.drills.refused, "err", err)
		}
		return false
	}
	if !now.Before(stop.Until) {
		return true // who judged this partition then has answered it
	}
	if err := d.stop(ctx, w, stop); err != nil {
		w.log.Error("a drill is not answered", "offset", r.Offset, "err", err)
		return true
	}
	d.metrics.drills.Inc()
	return true
}

// readDrill returns the stop that answers a marked call. It ends when the drill does.
func (w *worker) readDrill(r *kgo.Record, token []byte, now time.Time) (revoke.Revocation, error) {
	if !w.drills.room(now) {
		return revoke.Revocation{}, errManyDrills
	}
	signed, err := w.detect.opt.Publisher.Verifier().Genuine(token)
	if err != nil {
		return signed, err
	}
	if !revoke.IsDrill(signed) || signed.Action != revoke.Revoke {
		return signed, errNoDrill
	}
	w.decoder.Start(FormatOf(r), r.Value)
	if err := w.decoder.Next(&w.call); err != nil {
		return signed, err
	}
	if string(w.call.Session) != signed.Subject || string(w.call.Tenant) != DrillTenant || !w.keyed(r) {
		return signed, errUnlike
	}
	plan := drillPlan()
	s := shard.New(plan, shard.Options{MaxEntities: 16, MaxAhead: w.detect.opt.Shard.MaxAhead})
	s.Call(&w.call, SourceOf(r))
	if len(s.Detections) != 1 {
		return signed, errNotFound
	}
	found := &s.Detections[0]
	e, ok := plan.EnforcerOf(found.Index, &found.Detection)
	if !ok {
		return signed, errNotFound
	}
	stop := order(e, &found.Detection, now)
	stop.Until = signed.Until
	// The id is known to whoever waits for acknowledgements, and the guards to be tried may be those of any tenant.
	stop.ID, stop.Tenant, stop.Subject, stop.Detector, stop.Reason = signed.ID, signed.Tenant, signed.Subject, revoke.DrillDetector, signed.Reason
	return stop, nil
}
