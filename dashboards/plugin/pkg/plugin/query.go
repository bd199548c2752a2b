package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/data"
	"golang.org/x/sync/errgroup"

	"github.com/estop-project/estop/pipeline/node"
)

// Query is what a panel, a variable, an annotation or an alert rule asks.
type Query struct {
	Kind   string `json:"kind"`
	Format string `json:"format"` // table, or timeseries; empty: what the kind has
	// Tenants are those that are meant; none: all that this data source may show.
	Tenants []string `json:"tenants"`
	// Filters hold rows to the values that are named.
	Filters map[string][]string `json:"filters"`
	Limit   int                 `json:"limit"` // rows; 0: 1000
	Agent   string              `json:"agent"` // whose surroundings are meant, of the kind access
	Hops    int                 `json:"hops"`  // how far they go; 0: 2
	ID      string              `json:"id"`    // of the detection that is to be explained
}

// The formats.
const (
	formatTable  = "table"
	formatSeries = "timeseries"
)

// Bounds of one query.
const (
	normalRows  = 1000
	maxValues   = 1000 // of a filter
	maxValue    = 2048 // bytes
	maxSteps    = 2000 // of a time series
	maxCells    = 1 << 20
	atOnce      = 4 // queries of one request
	maxSelected = 1 << 20
)

// errQuery is wrapped where a query is not what it should be.
var errQuery = errors.New("wrong query")

// asked is a query with all that it is answered by.
type asked struct {
	Query
	tenants  []string
	all      bool // every tenant
	from, to time.Time
	step     time.Duration
	limit    int
	timeout  time.Duration
}

// answers are what is not answered by one SQL statement.
var answers = map[string]func(*Datasource, context.Context, asked) (data.Frames, error){
	"access":      (*Datasource).access,
	"explanation": (*Datasource).explain,
	"waiting":     (*Datasource).waiting,
}

// QueryData answers the queries of one request, a few at a time. What is wrong with one does not touch the others.
func (d *Datasource) QueryData(ctx context.Context, req *backend.QueryDataRequest) (*backend.QueryDataResponse, error) {
	response := backend.NewQueryDataResponse()
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(atOnce)
	for _, q := range req.Queries {
		g.Go(func() error {
			r := d.respond(ctx, q)
			mu.Lock()
			defer mu.Unlock()
			response.Responses[q.RefID] = r
			return nil
		})
	}
	return response, g.Wait()
}

func (d *Datasource) respond(ctx context.Context, q backend.DataQuery) backend.DataResponse {
	frames, err := d.answer(ctx, q)
	switch {
	case errors.Is(err, errQuery):
		return backend.ErrDataResponseWithSource(backend.StatusBadRequest, backend.ErrorSourceDownstream, err.Error())
	case errors.Is(err, errScope):
		return backend.ErrDataResponseWithSource(backend.StatusForbidden, backend.ErrorSourceDownstream, err.Error())
	case errors.Is(err, context.DeadlineExceeded):
		return backend.ErrDataResponseWithSource(backend.StatusTimeout, backend.ErrorSourceDownstream,
			fmt.Sprintf("no answer within %v: ask for a shorter time, or fewer agents: %v", d.settings.timeout(), err))
	case err != nil:
		return backend.ErrDataResponseWithSource(backend.StatusBadGateway, backend.ErrorSourceDownstream, err.Error())
	}
	return backend.DataResponse{Frames: frames, Status: backend.StatusOK}
}

func (d *Datasource) answer(ctx context.Context, q backend.DataQuery) (data.Frames, error) {
	a, err := d.parse(q)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	if f, ok := answers[a.Kind]; ok {
		return f(d, ctx, a)
	}
	k := kinds[a.Kind]
	sql := k.table
	if a.Format == formatSeries {
		sql = k.series
	}
	names := slices.Sorted(maps.Keys(a.Filters))
	frame, err := d.selectRows(ctx, a, k.statement(sql, a.all, names), a.parameters(names))
	if err != nil {
		return nil, err
	}
	frame.Name = a.Kind
	if a.Format == formatSeries {
		return series(frame)
	}
	return data.Frames{frame}, nil
}

// parse checks a query and holds it to the settings.
func (d *Datasource) parse(q backend.DataQuery) (asked, error) {
	a := asked{from: q.TimeRange.From.UTC(), to: q.TimeRange.To.UTC(), timeout: d.settings.timeout()}
	if len(q.JSON) > maxSelected {
		return a, fmt.Errorf("%w: %d bytes", errQuery, len(q.JSON))
	}
	if err := json.Unmarshal(q.JSON, &a.Query); err != nil {
		return a, fmt.Errorf("%w: %w", errQuery, err)
	}
	if err := a.check(); err != nil {
		return a, err
	}
	var err error
	if a.tenants, a.all, err = d.settings.scope(a.Tenants); err != nil {
		return a, err
	}
	a.limit = min(bounded(a.Limit, normalRows, d.settings.Rows), d.settings.Rows)
	if a.Format == formatSeries {
		a.limit = d.settings.Rows
	}
	a.step = max(q.Interval, time.Second, a.to.Sub(a.from)/maxSteps).Truncate(time.Second)
	return a, nil
}

// check refuses what nobody can mean, and says what could be meant.
func (a *asked) check() error {
	k, plain := kinds[a.Kind]
	_, special := answers[a.Kind]
	if !plain && !special {
		return fmt.Errorf("%w: kind %q is none of %s%s", errQuery, a.Kind, strings.Join(kindNames(), ", "), node.DidYouMean(a.Kind, kindNames()))
	}
	switch a.Format {
	case "":
		a.Format = formatTable
	case formatTable:
	case formatSeries:
		if k.series == "" {
			return fmt.Errorf("%w: %s is a table, and no time series", errQuery, a.Kind)
		}
	default:
		return fmt.Errorf("%w: format %q is neither %s nor %s", errQuery, a.Format, formatTable, formatSeries)
	}
	if !a.from.Before(a.to) {
		return fmt.Errorf("%w: the time ends at %v, before it begins", errQuery, a.to)
	}
	for name, values := range a.Filters {
		if len(values) == 0 {
			delete(a.Filters, name)
			continue
		}
		known := slices.Sorted(maps.Keys(k.filters))
		if _, ok := k.filters[name]; !ok {
			return fmt.Errorf("%w: %s has no filter %q%s; there are: %s", errQuery, a.Kind, name, node.DidYouMean(name, known), strings.Join(known, ", "))
		}
		if err := checkValues("filter "+name, values); err != nil {
			return err
		}
	}
	return errors.Join(checkValues("tenants", a.Tenants), checkValues("agent and id", []string{a.Agent, a.ID}))
}

func checkValues(name string, values []string) error {
	if len(values) > maxValues {
		return fmt.Errorf("%w: %s: %d values, more than %d", errQuery, name, len(values), maxValues)
	}
	for _, v := range values {
		if len(v) > maxValue {
			return fmt.Errorf("%w: %s: a value of %d bytes, more than %d", errQuery, name, len(v), maxValue)
		}
	}
	return nil
}

// parameters are what a statement is sent with.
func (a asked) parameters(filters []string) []any {
	p := []any{
		ch.Named("from", a.from), ch.Named("to", a.to), ch.Named("step", uint32(a.step/time.Second)),
		ch.Named("limit", uint64(a.limit)+1), ch.Named("tenants", texts(a.tenants)),
	}
	for _, name := range filters {
		p = append(p, ch.Named("filter_"+name, texts(a.Filters[name])))
	}
	return p
}

// texts is never nil: that would be NULL.
func texts(all []string) []string { return append([]string{}, all...) }
