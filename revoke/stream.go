package revoke

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Stream is the JetStream stream that keeps the last revocation of each target.
const Stream = "ESTOP_REVOKE"

// directGet reads messages of a stream without a consumer: it changes nothing on the server, so
// it is the one part of the JetStream API that a guard needs.
const directGet = "$JS.API.DIRECT.GET."

// leaderGet reads one message from the stream's leader.
const leaderGet = "$JS.API.STREAM.MSG.GET."

// precedingHeader is the sequence number of the message before this one in a batch.
const precedingHeader = "Nats-Last-Sequence"

// everySubject is the filter by which a server need not compare subjects.
const everySubject = ">"

const (
	readBatch = 2048
	// readWait is how long each message of a batch is waited for: a request that a broken
	// connection swallowed must not hold up the reading for ever.
	readWait = 2 * time.Second
	// dedupWindow is how long the stream knows the id of a message again.
	dedupWindow = 10 * time.Minute
)

// ErrStream is wrapped where the stream cannot be read: it is missing, or the server does
// not answer.
var ErrStream = errors.New("cannot read stream " + Stream)

func streamConfig(replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:              Stream,
		Description:       "The last revocation of each target, until it ends",
		Subjects:          []string{RevokePrefix + ".>"},
		Storage:           jetstream.FileStorage,
		Replicas:          replicas,
		MaxMsgsPerSubject: 1,
		MaxMsgSize:        MaxToken + 1024,
		Discard:           jetstream.DiscardOld,
		Duplicates:        dedupWindow,
		AllowMsgTTL:       true,
		AllowDirect:       true,
	}
}

// StreamMessage is one message of the stream.
type StreamMessage struct {
	Subject  string
	Sequence uint64
	Token    []byte
}

// ReadStream calls f for each message of the stream that matches the subject filter, from
// sequence number from on, oldest first, and returns the number to go on from. Because the
// stream keeps one message for each target, reading from 1 gives the whole active set, and
// reading on gives what was missed. The error wraps ErrStream or is that of ctx or f.
func ReadStream(ctx context.Context, nc *nats.Conn, filter string, from uint64, f func(StreamMessage) error) (uint64, error) {
	return readStream(ctx, streamReader{nc: nc, stream: Stream, whole: RevokePrefix + ".>", failed: ErrStream}, filter, from, f)
}

func readStream(ctx context.Context, r streamReader, filter string, from uint64, f func(StreamMessage) error) (uint64, error) {
	r.inbox, r.messages = r.nc.NewInbox(), make(chan *nats.Msg, readBatch+1)
	sub, err := r.nc.ChanSubscribe(r.inbox, r.messages)
	if err != nil {
		return from, fmt.Errorf("%w: %w", r.failed, err)
	}
	defer sub.Unsubscribe()
	r.patience = time.NewTimer(readWait)
	defer r.patience.Stop()
	if filter == r.whole {
		filter = everySubject
	}
	from = max(from, 1)
	for {
		n, next, err := r.page(ctx, filter, from, f)
		if err != nil || n == 0 {
			return from, err
		}
		from = next
	}
}

type streamReader struct {
	nc     *nats.Conn
	stream string
	whole  string // the filter that matches all of it
	failed error  // what errors wrap

	inbox    string
	messages chan *nats.Msg // has room for a batch and its end
	patience *time.Timer
}

// page asks for one batch. It returns how many messages came, and the next sequence number.
func (r *streamReader) page(ctx context.Context, filter string, from uint64, f func(StreamMessage) error) (int, uint64, error) {
	req, err := json.Marshal(struct {
		Seq   uint64 `json:"seq"`
		Next  string `json:"next_by_subj"`
		Batch int    `json:"batch"`
	}{from, filter, readBatch})
	if err != nil {
		return 0, from, err
	}
	if err := r.nc.PublishRequest(directGet+r.stream, r.inbox, req); err != nil {
		return 0, from, fmt.Errorf("%w: %w", r.failed, err)
	}
	last := uint64(0) // of this batch
	for n := 0; ; n++ {
		msg, err := r.message(ctx)
		if err != nil {
			return n, from, fmt.Errorf("%w: %w", r.failed, err)
		}
		done, err := r.endOfPage(msg)
		if err == nil {
			err = r.follows(msg, last)
		}
		if done || err != nil {
			return n, from, err
		}
		seq, err := strconv.ParseUint(msg.Header.Get(jetstream.SequenceHeader), 10, 64)
		if err != nil || seq < from {
			return n, from, fmt.Errorf("%w: sequence %q after %d", r.failed, msg.Header.Get(jetstream.SequenceHeader), from)
		}
		from, last = seq+1, seq
		if err := f(StreamMessage{msg.Header.Get(jetstream.SubjectHeader), seq, msg.Data}); err != nil {
			return n, from, err
		}
	}
}

// follows checks that msg comes right after the message last of its batch: each one, and the end,
// names the one before. Servers that do not say so are believed.
func (r *streamReader) follows(msg *nats.Msg, last uint64) error {
	said := msg.Header.Get(precedingHeader)
	if said == "" || said == strconv.FormatUint(last, 10) {
		return nil
	}
	return fmt.Errorf("%w: message %s was lost on the way, %d is the last one that came", r.failed, said, last)
}

// message returns the next message. Most are there already when it asks.
func (r *streamReader) message(ctx context.Context) (*nats.Msg, error) {
	select {
	case msg, ok := <-r.messages:
		return r.received(msg, ok)
	default:
	}
	r.patience.Reset(readWait)
	select {
	case msg, ok := <-r.messages:
		return r.received(msg, ok)
	case <-r.patience.C:
		return nil, context.DeadlineExceeded
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (r *streamReader) received(msg *nats.Msg, ok bool) (*nats.Msg, error) {
	if !ok {
		return nil, nats.ErrConnectionClosed
	}
	return msg, nil
}

// endOfPage tells a status from a message: 204 ends a batch, 404 says that there is none.
func (r *streamReader) endOfPage(msg *nats.Msg) (bool, error) {
	status := msg.Header.Get("Status")
	switch {
	case len(msg.Data) > 0 || status == "":
		return false, nil
	case status == "204", status == "404":
		return true, nil
	case status == "503":
		return true, fmt.Errorf("%w: it is missing", r.failed)
	}
	return true, fmt.Errorf("%w: status %s %s", r.failed, status, msg.Header.Get("Description"))
}

// readFromLeader calls f for the first message from sequence number from on, and returns its number, or last where the
// stream holds none. ReadStream is answered by any replica, and one that was away lacks the end of the stream for a while:
// it takes the leader to tell that from messages that have ended.
func readFromLeader(ctx context.Context, nc *nats.Conn, from, last uint64, f func(StreamMessage) error) (uint64, error) {
	answer, err := nc.RequestWithContext(ctx, leaderGet+Stream, fmt.Appendf(nil, `{"seq":%d,"next_by_subj":%q}`, from, everySubject))
	if err != nil {
		return from - 1, fmt.Errorf("%w: %w", ErrStream, err)
	}
	var found struct {
		Error   *jetstream.APIError `json:"error"`
		Message struct {
			Subject  string `json:"subject"`
			Sequence uint64 `json:"seq"`
			Data     []byte `json:"data"`
		} `json:"message"`
	}
	err = json.Unmarshal(answer.Data, &found)
	m := found.Message
	switch {
	case err != nil:
		return from - 1, fmt.Errorf("%w: the answer of its leader: %w", ErrStream, err)
	case found.Error != nil && found.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return last, nil
	case found.Error != nil:
		return from - 1, fmt.Errorf("%w: %w", ErrStream, found.Error)
	case m.Sequence < from:
		return from - 1, fmt.Errorf("%w: its leader gave message %d after %d", ErrStream, m.Sequence, from-1)
	}
	return m.Sequence, f(StreamMessage{m.Subject, m.Sequence, m.Data})
}
