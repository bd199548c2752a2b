package archive

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// errStopped says that the worker must end and leave its batch to the successor.
var errStopped = errors.New("stopped")

// worker archives one partition, batch after batch, in order.
type worker struct {
	archiver *Archiver
	at       place
	label    string // of the partition, in metrics
	topicID  kadm.TopicID
	log      string // the topic's id as text: what rows and tokens carry
	restart  bool   // the committed offset belongs to another topic of that name

	queue         queue
	pushed        int64 // offset behind the last one pushed
	highWatermark atomic.Int64

	projection projection
	next       int64 // first offset that is in no stored batch; -1 until known
	doubt      int64 // last offset of the batch in doubt; -1 if none is
	taken      []*kgo.Record
	takenBytes int
	dead       []deadLetter // of the batch that is being built
	confirmed  time.Time    // when Kafka last took an intent of this worker

	stopping chan struct{} // closed: end when the insert under way has
	ctx      context.Context
	cancel   context.CancelFunc // end now
	done     chan struct{}
}

func newWorker(a *Archiver, at place, id kadm.TopicID) *worker {
	ctx, cancel := context.WithCancel(context.Background())
	fetching := map[string][]int32{at.topic: {at.partition}}
	return &worker{
		archiver: a,
		at:       at,
		label:    strconv.Itoa(int(at.partition)),
		topicID:  id,
		log:      id.String(),
		queue: queue{
			arrived: make(chan struct{}, 1),
			pause:   func() { a.kafka.PauseFetchPartitions(fetching) },
			resume:  func() { a.kafka.ResumeFetchPartitions(fetching) },
		},
		projection: projections[at.topic](id.String(), a.metrics),
		next:       -1,
		doubt:      -1,
		stopping:   make(chan struct{}),
		ctx:        ctx,
		cancel:     cancel,
		done:       make(chan struct{}),
	}
}

// push queues records. While a batch is in doubt fetching must not pause: the batch has to
// be complete, however large it is.
func (w *worker) push(records []*kgo.Record) {
	for len(records) > 0 && records[0].Offset < w.pushed {
		records = records[1:]
	}
	if len(records) == 0 {
		return
	}
	most := w.archiver.share()
	if w.pushed <= w.doubt {
		most = math.MaxInt
	}
	w.pushed = records[len(records)-1].Offset + 1
	w.queue.push(records, most)
}

// run archives until the worker is stopped.
func (w *worker) run() {
	defer close(w.done)
	doubt := w.doubt
	if doubt >= 0 {
		w.archiver.log.Info("repeating a batch in doubt", "at", w.at, "from", w.next, "to", doubt)
		w.archiver.metrics.redone.Inc()
	}
	for {
		err := w.fill(doubt)
		if err == nil {
			err = w.archive(doubt)
		}
		if err != nil {
			if !errors.Is(err, errStopped) {
				w.archiver.fail(fmt.Errorf("cannot archive %v: %w", w.at, err))
			}
			return
		}
		doubt = -1
	}
}

// fill takes records until a batch is full: exactly the records up to the offset doubt if a
// batch is in doubt, else what the bounds say.
func (w *worker) fill(doubt int64) error {
	w.projection.built().reset()
	clear(w.taken)
	w.taken, w.takenBytes, w.dead = w.taken[:0], 0, w.dead[:0]
	end := int64(math.MaxInt64)
	if doubt >= 0 {
		end = doubt
	}
	var old <-chan time.Time
	for !w.full(doubt) {
		if r := w.queue.pop(end, w.archiver.share()); r != nil {
			w.take(r)
			if old == nil && doubt < 0 {
				timer := time.NewTimer(w.archiver.options.MaxWait)
				defer timer.Stop()
				old = timer.C
			}
			select {
			case <-w.stopping:
				return errStopped
			default:
			}
			continue
		}
		select {
		case <-w.queue.arrived:
		case <-old:
			return nil
		case <-w.stopping:
			return errStopped
		}
	}
	return nil
}

func (w *worker) full(doubt int64) bool {
	if doubt >= 0 {
		if n := len(w.taken); n > 0 && w.taken[n-1].Offset >= doubt {
			return true
		}
		following, ok := w.queue.next()
		return ok && following > doubt // Kafka has dropped the batch's last record
	}
	o, b := w.archiver.options, w.projection.built()
	most := min(o.MaxBytes, w.archiver.share())
	return b.rows >= o.MaxRows || len(w.taken) >= o.MaxRows || b.bytes+w.takenBytes >= most
}

// take adds a record to the batch. One that cannot be read becomes a dead letter.
func (w *worker) take(r *kgo.Record) {
	w.taken = append(w.taken, r)
	w.takenBytes += recordSize(r)
	if err := w.projection.add(r); err != nil {
		w.dead = append(w.dead, deadLetter{r, reasonUnreadable, err.Error()})
	}
}

// archive stores the batch and commits it. The order is all that matters here: intent,
// rows, dead letters, offset.
func (w *worker) archive(doubt int64) error {
	if len(w.taken) == 0 && doubt < 0 {
		return nil
	}
	if w.next < 0 {
		w.next = w.taken[0].Offset
	}
	end := doubt
	if doubt < 0 {
		end = w.taken[len(w.taken)-1].Offset
	}
	if err := w.store(end, doubt >= 0); err != nil {
		return err
	}
	if err := w.sendDead(); err != nil {
		return err
	}
	if err := w.commit(end+1, intent{w.log, -1}); err != nil {
		return err
	}
	w.next = end + 1
	w.archiver.metrics.lag.WithLabelValues(w.at.topic, w.label).Set(float64(max(0, w.highWatermark.Load()-w.next)))
	return nil
}

// store inserts the rows of the batch that ends at the offset end, once its intent is
// committed. A batch without rows needs neither.
func (w *worker) store(end int64, doubt bool) error {
	b := w.projection.built()
	if b.rows == 0 {
		return nil
	}
	if err := w.commit(w.next, intent{w.log, end}); err != nil {
		return err
	}
	if hook := w.archiver.hooks.beforeInsert; hook != nil {
		if err := hook(w.at, end); err != nil {
			return err
		}
	}
	i := insertion{worker: w, batch: b, end: end, doubt: doubt}
	if err := i.store(token(w.log, w.at.partition, w.next, end), 0, b.rows); err != nil {
		return err
	}
	if hook := w.archiver.hooks.afterInsert; hook != nil {
		if err := hook(w.at, end); err != nil {
			return err
		}
	}
	w.archiver.metrics.batches.WithLabelValues(b.table).Inc()
	return nil
}

// commitTimeout bounds one attempt to commit.
const commitTimeout = 10 * time.Second

// commit commits an offset until Kafka takes it. Kafka refuses it from a member that a
// rebalance has left behind; then the worker waits here until it is stopped, and what it
// wanted to do next does not happen.
func (w *worker) commit(offset int64, in intent) error {
	for pause, refusals := newBackoff(), 0; ; {
		err := w.commitOnce(offset, in.String())
		if err == nil {
			w.confirmed = w.archiver.options.Clock()
			return nil
		}
		if errors.Is(err, kerr.UnknownTopicID) || errors.Is(err, kerr.UnknownTopicOrPartition) {
			if refusals++; refusals > 10 {
				return fmt.Errorf("%w: %w", ErrTopicRecreated, err)
			}
		}
		w.archiver.log.Debug("cannot commit", "at", w.at, "offset", offset, "error", err)
		if !pause.wait(w.stopping) {
			return errStopped
		}
	}
}

func (w *worker) commitOnce(offset int64, metadata string) error {
	ctx, cancel := context.WithTimeout(w.ctx, commitTimeout)
	defer cancel()
	partition := kmsg.NewOffsetCommitRequestTopicPartition()
	partition.Partition, partition.Offset, partition.Metadata = w.at.partition, offset, &metadata
	topic := kmsg.NewOffsetCommitRequestTopic()
	topic.Topic, topic.TopicID = w.at.topic, w.topicID
	topic.Partitions = append(topic.Partitions, partition)
	request := kmsg.NewPtrOffsetCommitRequest()
	request.Group = w.archiver.options.Group
	request.MemberID, request.Generation = w.archiver.kafka.GroupMetadata()
	request.Topics = append(request.Topics, topic)
	response, err := request.RequestWith(ctx, w.archiver.kafka)
	if err != nil {
		return fmt.Errorf("cannot commit %v at %d: %w", w.at, offset, err)
	}
	if len(response.Topics) != 1 || len(response.Topics[0].Partitions) != 1 {
		return fmt.Errorf("cannot commit %v at %d: Kafka's answer says nothing of it", w.at, offset)
	}
	if err := kerr.ErrorForCode(response.Topics[0].Partitions[0].ErrorCode); err != nil {
		return fmt.Errorf("cannot commit %v at %d: %w", w.at, offset, err)
	}
	return nil
}
