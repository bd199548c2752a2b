package coverage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// The subjects between processes of the detector's account. Guards neither hear nor publish them.
const (
	AskSubject   = "estop.v1.guards"      // who is there?
	RaisedPrefix = "estop.v1.unconfirmed" // .<revocation>: it has been raised
)

const (
	// page is how many bytes of guards go into one answer.
	page    = 256 << 10
	askWait = time.Second // for each answer
	// statusHeader of an empty message says that nobody answers; this one ends a list.
	statusHeader = "Status"
	endHeader    = "Estop-End"
)

// ErrNoRegister is wrapped where nobody keeps a register of guards: the acks role does not run.
var ErrNoRegister = errors.New("nobody knows which guards there are: the acks role does not answer")

type question struct {
	Tenant string `json:"tenant,omitempty"` // empty: all
}

// Ask returns the guards of a tenant that the acks role knows, an empty one for those of all tenants.
// The connection is one of the detector's account.
func Ask(ctx context.Context, nc *nats.Conn, tenant string) ([]Guard, error) {
	request, err := json.Marshal(question{tenant})
	if err != nil {
		return nil, err
	}
	inbox := nc.NewInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err == nil {
		defer sub.Unsubscribe()
		err = nc.PublishRequest(AskSubject, inbox, request)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot ask for the guards: %w", err)
	}
	all := []Guard{}
	for {
		m, err := next(ctx, sub)
		if err != nil {
			return nil, err
		}
		if len(m.Data) == 0 && m.Header.Get(endHeader) != "" {
			return all, nil
		}
		var some []Guard
		if err := json.Unmarshal(m.Data, &some); err != nil {
			return nil, fmt.Errorf("cannot read the guards that the acks role knows: %w", err)
		}
		all = append(all, some...)
	}
}

func next(ctx context.Context, sub *nats.Subscription) (*nats.Msg, error) {
	waiting, cancel := context.WithTimeout(ctx, askWait)
	defer cancel()
	m, err := sub.NextMsgWithContext(waiting)
	switch {
	case errors.Is(err, nats.ErrNoResponders), err == nil && len(m.Data) == 0 && m.Header.Get(statusHeader) != "":
		return nil, ErrNoRegister
	case err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded):
		return nil, fmt.Errorf("%w within %v", ErrNoRegister, askWait)
	case err != nil:
		return nil, fmt.Errorf("cannot ask for the guards: %w", err)
	}
	return m, nil
}

// Answer answers a question of Ask.
func Answer(r *Register, m *nats.Msg, now time.Time) error {
	var q question
	if err := json.Unmarshal(m.Data, &q); err != nil {
		return fmt.Errorf("cannot read who asks for guards: %w", err)
	}
	var pages [][]byte
	var body []byte
	for _, g := range r.List(q.Tenant, now) {
		if q.Tenant != "" {
			g.Tenants = nil // whoever asks has said it
		}
		b, err := json.Marshal(g)
		if err != nil {
			return fmt.Errorf("cannot write guard %q: %w", g.Guard, err)
		}
		if len(body) > 0 && len(body)+len(b) > page {
			pages, body = append(pages, append(body, ']')), nil
		}
		if len(body) == 0 {
			body = append(body, '[')
		} else {
			body = append(body, ',')
		}
		body = append(body, b...)
	}
	if len(body) > 0 {
		pages = append(pages, append(body, ']'))
	}
	for _, p := range pages {
		if err := m.Respond(p); err != nil {
			return fmt.Errorf("cannot answer with the guards: %w", err)
		}
	}
	end := nats.NewMsg(m.Reply)
	end.Header.Set(endHeader, "1")
	if err := m.RespondMsg(end); err != nil {
		return fmt.Errorf("cannot answer with the guards: %w", err)
	}
	return nil
}
