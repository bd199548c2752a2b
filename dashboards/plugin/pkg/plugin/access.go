package plugin

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/grafana/grafana-plugin-sdk-go/data"
)

// Bounds of what is drawn of the access graph.
const (
	maxHops  = 3
	maxEdges = 2000
	// maxFrontier bounds the agents from which the next step goes on.
	maxFrontier = 100
)

// surroundings are the edges of some agents, and of those that act for them or share an identity with them. The most
// used ones come first: they are kept where there are too many.
const surroundings = `SELECT agent, kind, target, sum(calls) AS calls, min(first_seen) AS first_seen, max(last_seen) AS last_seen, sum(denied) AS denied
	FROM access_edges
	WHERE tenant IN {tenants:Array(String)} AND kind IN ('resource', 'identity', 'parent')
		AND (agent IN {agents:Array(String)} OR (kind = 'parent' AND target IN {agents:Array(String)}) OR (kind = 'identity' AND target IN {identities:Array(String)}))
	GROUP BY tenant, agent, kind, target
	HAVING first_seen <= {to:DateTime64(9, 'UTC')}
	ORDER BY calls DESC, agent, kind, target LIMIT {limit:UInt64}`

// edge is one access that was seen.
type edge struct {
	agent, kind, target string
	calls, denied       uint64
	first, last         time.Time
}

// access draws an agent's surroundings as they were known at the end of the time that is asked for: what it used, whom it
// acts for, who acts for it, and who shares its identities.
func (d *Datasource) access(ctx context.Context, a asked) (data.Frames, error) {
	if a.all || len(a.tenants) != 1 || a.Agent == "" {
		return nil, fmt.Errorf("%w: access is drawn of one agent of one tenant: name both", errQuery)
	}
	limit := min(a.limit, maxEdges)
	all := map[[3]string]edge{}
	agents, identities := []string{a.Agent}, []string{}
	asked := map[string]bool{a.Agent: true}
	cut := false
	for range bounded(a.Hops, 2, maxHops) {
		found, err := d.edges(ctx, a, agents, identities, limit+1)
		if err != nil {
			return nil, err
		}
		agents, identities = nil, nil
		for _, e := range found {
			key := [3]string{e.agent, e.kind, e.target}
			if _, known := all[key]; known {
				continue
			}
			if len(all) == limit {
				cut = true
				break
			}
			all[key] = e
			for _, next := range e.leads() {
				if !asked[next] && len(agents) < maxFrontier {
					asked[next] = true
					agents = append(agents, next)
				}
			}
			if e.kind == "identity" && len(identities) < maxFrontier {
				identities = append(identities, e.target)
			}
		}
		if cut || len(agents)+len(identities) == 0 {
			break
		}
	}
	return drawn(a, all, cut), nil
}

// leads are the agents that an edge shows.
func (e edge) leads() []string {
	if e.kind == "parent" {
		return []string{e.agent, e.target}
	}
	return []string{e.agent}
}

func (d *Datasource) edges(ctx context.Context, a asked, agents, identities []string, limit int) ([]edge, error) {
	store, err := d.clickHouse()
	if err != nil {
		return nil, err
	}
	ctx = ch.Context(ctx, ch.WithSettings(ch.Settings{"max_execution_time": int(a.timeout.Seconds())}))
	rows, err := store.Query(ctx, surroundings, ch.Named("tenants", texts(a.tenants)), ch.Named("agents", texts(agents)),
		ch.Named("identities", texts(identities)), ch.Named("to", a.to), ch.Named("limit", uint64(limit)))
	if err != nil {
		return nil, fmt.Errorf("cannot ask ClickHouse for the access graph: %w", err)
	}
	defer rows.Close()
	var all []edge
	for rows.Next() {
		var e edge
		if err := rows.Scan(&e.agent, &e.kind, &e.target, &e.calls, &e.first, &e.last, &e.denied); err != nil {
			return nil, fmt.Errorf("cannot read the access graph: %w", err)
		}
		all = append(all, e)
	}
	return all, rows.Err()
}

// ends are the nodes of an edge. A delegation goes from the parent.
func (e edge) ends() (source, target string) {
	if e.kind == "parent" {
		return vertex("agent", e.target), vertex("agent", e.agent)
	}
	return vertex("agent", e.agent), vertex(e.kind, e.target)
}

func vertex(kind, name string) string { return kind + "/" + name }

// colours of what stands out.
const (
	colourAgent    = "blue"
	colourIdentity = "purple"
	colourResource = "green"
	colourCentre   = "red"
	colourNew      = "orange"
	colourKnown    = "gray"
)

// drawn makes Grafana's two frames of a graph. What was first seen within the time that is asked for is new.
func drawn(a asked, all map[[3]string]edge, cut bool) data.Frames {
	edges := make([]edge, 0, len(all))
	for _, e := range all {
		edges = append(edges, e)
	}
	slices.SortFunc(edges, func(x, y edge) int {
		return strings.Compare(x.kind+"\x00"+x.agent+"\x00"+x.target, y.kind+"\x00"+y.agent+"\x00"+y.target)
	})
	nodes := newFrame("nodes", "id", "title", "subtitle", "mainstat", "color")
	lines := newFrame("edges", "id", "source", "target", "mainstat", "secondarystat", "color", "detail__kind", "detail__new")
	lines.Fields = append(lines.Fields, data.NewField("detail__first_seen", nil, []time.Time{}), data.NewField("detail__last_seen", nil, []time.Time{}))
	degree, order := map[string]int{}, []string{vertex("agent", a.Agent)}
	for _, e := range edges {
		from, to := e.ends()
		for _, n := range []string{from, to} {
			if degree[n]++; degree[n] == 1 && n != order[0] {
				order = append(order, n)
			}
		}
		colour, isNew := colourKnown, "no"
		if !e.first.Before(a.from) {
			colour, isNew = colourNew, "yes"
		}
		lines.AppendRow(from+" "+to, from, to, fmt.Sprintf("%d calls", e.calls), fmt.Sprintf("%d denied", e.denied), colour, e.kind, isNew, e.first, e.last)
	}
	for _, n := range order {
		kind, name, _ := strings.Cut(n, "/")
		colour := map[string]string{"agent": colourAgent, "identity": colourIdentity, "resource": colourResource}[kind]
		if n == order[0] {
			colour = colourCentre
		}
		nodes.AppendRow(n, name, kind, fmt.Sprintf("%d edges", degree[n]), colour)
	}
	for _, f := range []*data.Frame{nodes, lines} {
		f.Meta = &data.FrameMeta{PreferredVisualization: data.VisTypeNodeGraph}
		if cut {
			f.AppendNotices(data.Notice{Severity: data.NoticeSeverityWarning, Text: fmt.Sprintf("There is more: the %d most used edges are drawn.", len(edges))})
		}
	}
	return data.Frames{nodes, lines}
}

// newFrame returns one with columns of text.
func newFrame(name string, columns ...string) *data.Frame {
	f := data.NewFrame(name)
	for _, c := range columns {
		f.Fields = append(f.Fields, data.NewField(c, nil, []string{}))
	}
	return f
}
