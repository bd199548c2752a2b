package policy

import (
	"strings"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"

	"github.com/estop-project/estop/revoke/gate"
	"github.com/estop-project/estop/revoke/gate/risk"
)

// The types of the entities that a request has.
const (
	typeAgent    = "Agent"
	typeTenant   = "Tenant"
	typeAction   = "Action"
	typeResource = "Resource"
)

// Risk is how high the risk of an agent is.
type Risk = risk.Risk

// Unknown is the risk of an agent of which nothing is known.
var Unknown = risk.Unknown

// world is what a request's policies can see. Entities are made when a policy looks at them.
type world struct {
	set  *Set
	q    *gate.Request
	risk Risk

	principal, tenant, action, resource cedar.EntityUID

	agentEntity, resourceEntity, actionEntity *cedar.Entity
}

func newWorld(s *Set, q *gate.Request, r Risk) *world {
	c := &q.Call
	return &world{
		set: s, q: q, risk: r,
		principal: cedar.NewEntityUID(typeAgent, cedar.String(AgentID(c.Tenant, c.Agent))),
		tenant:    cedar.NewEntityUID(typeTenant, cedar.String(c.Tenant)),
		action:    cedar.NewEntityUID(typeAction, cedar.String(c.Action)),
		resource:  cedar.NewEntityUID(typeResource, cedar.String(c.Resource)),
	}
}

// AgentID returns the id of an agent's entity: tenant/agent. In the tenant, / is written %2F and % is written %25, so that
// different pairs have different ids.
func AgentID(tenant, agent string) string {
	if strings.ContainsAny(tenant, "/%") {
		tenant = strings.NewReplacer("/", "%2F", "%", "%25").Replace(tenant)
	}
	return tenant + "/" + agent
}

// Get returns an entity: of the request, else of entities.json.
func (w *world) Get(uid cedar.EntityUID) (cedar.Entity, bool) {
	switch uid {
	case w.principal:
		return lazy(&w.agentEntity, w.agent), true
	case w.resource:
		return lazy(&w.resourceEntity, w.target), true
	case w.action:
		return lazy(&w.actionEntity, w.deed), true
	}
	own, ok := w.set.entities[uid]
	if uid.Type == typeResource {
		return above(uid, own), true
	}
	return own, ok
}

func lazy(at **cedar.Entity, make func() cedar.Entity) cedar.Entity {
	if *at == nil {
		e := make()
		*at = &e
	}
	return **at
}

// merged returns an entity of the request with what entities.json says of it. What the gate knows goes first.
func (w *world) merged(uid cedar.EntityUID, attrs cedar.RecordMap, parents ...cedar.EntityUID) cedar.Entity {
	e := cedar.Entity{UID: uid}
	if own, ok := w.set.entities[uid]; ok {
		for k, v := range own.Attributes.All() {
			if _, taken := attrs[k]; !taken {
				attrs[k] = v
			}
		}
		for p := range own.Parents.All() {
			parents = append(parents, p)
		}
		e.Tags = own.Tags
	}
	e.Attributes, e.Parents = cedar.NewRecord(attrs), cedar.NewEntityUIDSet(parents...)
	return e
}

func (w *world) agent() cedar.Entity {
	c := &w.q.Call
	chain := c.Chain
	if len(chain) == 0 {
		chain = []string{c.Agent}
	}
	members := make([]cedar.Value, 0, len(chain))
	for _, m := range chain {
		members = append(members, cedar.String(m))
	}
	return w.merged(w.principal, cedar.RecordMap{
		"tenant": cedar.String(c.Tenant), "agent": cedar.String(c.Agent),
		"identity": cedar.String(c.Identity), "session": cedar.String(c.Session),
		"chain": cedar.NewSet(members...), "root": cedar.String(chain[0]), "depth": cedar.Long(len(chain)),
		"risk": cedar.NewRecord(cedar.RecordMap{"level": cedar.String(w.risk.Level), "score": cedar.Long(w.risk.Score)}),
	}, w.tenant)
}

func (w *world) target() cedar.Entity {
	name := w.q.Call.Resource
	scheme, host, path := split(name)
	return w.merged(w.resource, cedar.RecordMap{
		"name": cedar.String(name), "tenant": cedar.String(w.q.Call.Tenant),
		"scheme": cedar.String(scheme), "host": cedar.String(host), "path": cedar.String(path),
	}, parent(name)...)
}

// above is a resource above the one of the request, with what entities.json says of it.
func above(uid cedar.EntityUID, own cedar.Entity) cedar.Entity {
	parents := parent(string(uid.ID))
	for p := range own.Parents.All() {
		parents = append(parents, p)
	}
	return cedar.Entity{UID: uid, Attributes: own.Attributes, Tags: own.Tags, Parents: cedar.NewEntityUIDSet(parents...)}
}

// deed is the action. One such as tools/call:export is in tools/call.
func (w *world) deed() cedar.Entity {
	if group, _, ok := strings.Cut(w.q.Call.Action, ":"); ok {
		return w.merged(w.action, cedar.RecordMap{}, cedar.NewEntityUID(typeAction, cedar.String(group)))
	}
	return w.merged(w.action, cedar.RecordMap{})
}

// split takes a resource apart: scheme://host/path, or a path alone, or a name that is neither and counts as a path.
func split(resource string) (scheme, host, path string) {
	scheme, rest, ok := strings.Cut(resource, "://")
	if !ok || strings.ContainsAny(scheme, "/?#") {
		return "", "", resource
	}
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		return scheme, rest[:i], rest[i:]
	}
	return scheme, rest, ""
}

// parent returns the resource that a resource is in: its path without the last segment. /a/b is in /a, which is in /;
// mcp://files/read is in mcp://files.
func parent(resource string) []cedar.EntityUID {
	_, _, path := split(resource)
	start := len(resource) - len(path)
	if path == "" || path[0] != '/' || path == "/" && start == 0 {
		return nil
	}
	up := resource[:start+strings.LastIndexByte(path, '/')]
	if up == "" {
		up = "/"
	}
	return []cedar.EntityUID{cedar.NewEntityUID(typeResource, cedar.String(up))}
}

func (w *world) context() cedar.Record {
	q := w.q
	more := make(cedar.RecordMap, len(q.Context))
	for k, v := range q.Context {
		if len(more) < maxContext && len(k) <= maxText && len(v) <= maxText {
			more[cedar.String(k)] = cedar.String(v)
		}
	}
	at := q.Time.UTC()
	return cedar.NewRecord(cedar.RecordMap{
		"time": cedar.NewDatetime(at), "hour": cedar.Long(at.Hour()), "weekday": cedar.String(strings.ToLower(at.Weekday().String())),
		"verdict": cedar.String(q.Verdict.String()), "reads": types.Boolean(q.Reads), "gate": cedar.String(q.Gate),
		"call": cedar.NewRecord(more),
	})
}

var _ types.EntityGetter = (*world)(nil)
