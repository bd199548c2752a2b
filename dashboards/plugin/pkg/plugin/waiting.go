package plugin

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/data"

	"github.com/estop-project/estop/pipeline/archive"
	"github.com/estop-project/estop/revoke"
)

// queue returns what waits for a person, of the tenants that may be seen. An empty id means all.
func (d *Datasource) queue(ctx context.Context, id string) ([]archive.Waiting, error) {
	store, err := d.clickHouse()
	if err != nil {
		return nil, err
	}
	all, err := archive.NewReader(store).Queue(ctx, time.Now(), id)
	return slices.DeleteFunc(all, func(w archive.Waiting) bool { return !d.settings.serves(w.Order.Tenant, w.Order.Scope) }), err
}

// waiting answers with what waits for a person now, the oldest first.
func (d *Datasource) waiting(ctx context.Context, a asked) (data.Frames, error) {
	all, err := d.queue(ctx, "")
	if err != nil {
		return nil, err
	}
	f := data.NewFrame("waiting", data.NewField("time", nil, []time.Time{}), data.NewField("until", nil, []time.Time{}))
	for _, name := range []string{"id", "verdict", "action", "tenant", "scope", "subject", "ordered_by", "why", "reason"} {
		f.Fields = append(f.Fields, data.NewField(name, nil, []string{}))
	}
	f.Fields = append(f.Fields, data.NewField("times", nil, []uint64{}))
	for _, w := range all {
		o := &w.Order
		if !a.all && o.Scope != revoke.Global && !slices.Contains(a.tenants, o.Tenant) {
			continue
		}
		if f.Rows() == a.limit {
			f.AppendNotices(data.Notice{Severity: data.NoticeSeverityWarning, Text: fmt.Sprintf("There is more: the first %d of %d are shown.", a.limit, len(all))})
			break
		}
		by := w.By
		if by == "" {
			by = o.Detector
		}
		f.AppendRow(w.At, o.Until, o.ID, string(w.Verdict), string(o.Action), o.Tenant, string(o.Scope), o.Subject, by, w.Why, o.Reason, w.Times)
	}
	return data.Frames{f}, nil
}
