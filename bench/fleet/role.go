package fleet

import "time"

// What an action does to its resource.
type effect uint8

const (
	read effect = iota
	write
	delegate // the resource is an agent, which then works for the caller
)

type action struct {
	name   string
	weight float64
	effect effect
}

// Role is how agents of one kind behave. Times and bytes are medians of log-normals.
type role struct {
	name    string
	actions []action // in the order in which they usually follow one another
	// scheme and path make the names of resources: scheme://tenant/team/path/number.
	scheme, path string
	pool         int     // resources of one agent at the start
	skew         float64 // exponent of the Zipf law of their popularity
	growth       float64 // new resources of one agent in a day
	load         float64 // its share of Options.Rate
	session      int     // calls in a session
	think        time.Duration
	latency      time.Duration
	small, large float64 // bytes of a request, and of what is read or written
	errors       float64 // probability
	denied       float64 // probability
	hours        hours
	model        string // the language model it runs on; empty: a plain workload
	rank         int    // how many further agents can come after it in a chain

	kind AgentKind

	// What follows is of the eventful fleet alone.
	plan     func(*worker) // makes a session
	every    time.Duration // it runs by the clock; zero: when there is something to do
	onCall   bool          // has no sessions of its own
	storm    bool          // retries at once, and many times
	later    []string      // actions that new versions bring
	destroys string        // the action that deletes; empty: that of its first action's noun

	popular zipf
	mix     zipf
	week    *week
}

// Family is the roles that work in one team; the first agent of a team has the role lead.
type family struct {
	name  string
	lead  *role
	roles []*role
}

// Families are the teams of the plain fleet.
var families = []family{
	{"support", orchestrator, []*role{
		{name: "support-triage", kind: SupportBot, scheme: "crm", path: "ticket", pool: 40, skew: 0.9, growth: 0.8, load: 1.1, session: 8,
			think: 1500 * time.Millisecond, latency: 180 * time.Millisecond, small: 420, large: 6e3, errors: 0.015, denied: 0.004, hours: office, model: "large-1",
			actions: []action{{"ticket.list", 2, read}, {"ticket.read", 5, read}, {"customer.read", 3, read}, {"kb.search", 3, read}, {"ticket.comment", 2, write}, {"ticket.tag", 1, write}}},
		{name: "ticket-router", kind: SupportBot, scheme: "crm", path: "queue", pool: 24, skew: 1, growth: 0.3, load: 1.2, session: 7,
			think: 900 * time.Millisecond, latency: 90 * time.Millisecond, small: 300, large: 2e3, errors: 0.01, denied: 0.002, hours: office, model: "small-1",
			actions: []action{{"queue.read", 4, read}, {"ticket.classify", 4, read}, {"ticket.assign", 3, write}}},
		{name: "refund-clerk", kind: SupportBot, scheme: "pay", path: "order", pool: 36, skew: 0.8, growth: 0.9, load: 1, session: 8,
			think: 2200 * time.Millisecond, latency: 260 * time.Millisecond, small: 500, large: 3e3, errors: 0.02, denied: 0.008, hours: office, model: "large-1",
			actions: []action{{"order.read", 4, read}, {"policy.read", 2, read}, {"payment.read", 3, read}, {"refund.create", 1, write}, {"customer.notify", 1, write}}},
	}},
	{"finance", orchestrator, []*role{
		{name: "invoice-reader", kind: DataPipeline, scheme: "s3", path: "invoices", pool: 48, skew: 0.8, growth: 1, load: 1.1, session: 9,
			think: 1200 * time.Millisecond, latency: 140 * time.Millisecond, small: 350, large: 60e3, errors: 0.01, denied: 0.003, hours: office, model: "large-1",
			actions: []action{{"object.list", 2, read}, {"object.get", 6, read}, {"ocr.extract", 4, read}, {"vendor.read", 2, read}, {"invoice.post", 2, write}}},
		{name: "ledger-poster", kind: DataPipeline, scheme: "pg", path: "ledger", pool: 28, skew: 1, growth: 0.3, load: 1, session: 8,
			think: 800 * time.Millisecond, latency: 40 * time.Millisecond, small: 600, large: 4e3, errors: 0.008, denied: 0.004, hours: office,
			actions: []action{{"table.select", 5, read}, {"table.insert", 3, write}, {"balance.check", 2, read}}},
	}},
	{"engineering", orchestrator, []*role{
		{name: "code-reviewer", kind: CodingAgent, scheme: "git", path: "repo", pool: 32, skew: 1.1, growth: 0.5, load: 1.1, session: 10,
			think: 2500 * time.Millisecond, latency: 300 * time.Millisecond, small: 700, large: 25e3, errors: 0.02, denied: 0.004, hours: office, model: "large-2",
			actions: []action{{"pull.list", 2, read}, {"diff.read", 5, read}, {"file.read", 6, read}, {"test.run", 1, write}, {"review.comment", 3, write}}},
		{name: "build-watcher", kind: CodingAgent, scheme: "ci", path: "pipeline", pool: 30, skew: 1, growth: 0.4, load: 1.2, session: 7,
			think: 1100 * time.Millisecond, latency: 120 * time.Millisecond, small: 300, large: 12e3, errors: 0.03, denied: 0.002, hours: wide,
			actions: []action{{"run.list", 3, read}, {"log.read", 5, read}, {"run.retry", 1, write}, {"issue.create", 1, write}}},
	}},
	{"data", orchestrator, []*role{
		{name: "data-sync", kind: DataPipeline, scheme: "pg", path: "table", pool: 36, skew: 0.7, growth: 0.4, load: 1.2, session: 10,
			think: 600 * time.Millisecond, latency: 60 * time.Millisecond, small: 400, large: 120e3, errors: 0.01, denied: 0.001, hours: always,
			actions: []action{{"table.describe", 1, read}, {"table.select", 5, read}, {"object.put", 4, write}, {"offset.commit", 2, write}}},
		{name: "report-writer", kind: DataPipeline, scheme: "dwh", path: "view", pool: 32, skew: 0.9, growth: 0.6, load: 1, session: 9,
			think: 3 * time.Second, latency: 900 * time.Millisecond, small: 900, large: 40e3, errors: 0.02, denied: 0.006, hours: office, model: "large-2",
			actions: []action{{"schema.read", 2, read}, {"query.run", 6, read}, {"chart.render", 2, read}, {"doc.write", 2, write}}},
	}},
	{"operations", orchestrator, []*role{
		{name: "backup-runner", kind: BackupJob, scheme: "vol", path: "volume", pool: 30, skew: 0.3, growth: 0.2, load: 1.4, session: 16,
			think: 4 * time.Second, latency: 700 * time.Millisecond, small: 500, large: 2e6, errors: 0.008, denied: 0.001, hours: night,
			actions: []action{{"volume.list", 1, read}, {"snapshot.create", 4, write}, {"snapshot.verify", 3, read}, {"object.put", 4, write}}},
		{name: "log-watcher", kind: DataPipeline, scheme: "log", path: "stream", pool: 40, skew: 1, growth: 0.5, load: 1.2, session: 8,
			think: 1 * time.Second, latency: 150 * time.Millisecond, small: 300, large: 30e3, errors: 0.01, denied: 0.002, hours: always, model: "small-1",
			actions: []action{{"stream.list", 1, read}, {"log.query", 6, read}, {"alert.create", 1, write}}},
		{name: "access-reviewer", kind: DataPipeline, scheme: "iam", path: "role", pool: 36, skew: 0.7, growth: 0.5, load: 1, session: 9,
			think: 2 * time.Second, latency: 110 * time.Millisecond, small: 350, large: 5e3, errors: 0.01, denied: 0.01, hours: office, model: "large-1",
			actions: []action{{"role.list", 2, read}, {"role.read", 5, read}, {"usage.read", 4, read}, {"review.write", 2, write}}},
	}},
	{"research", orchestrator, []*role{
		{name: "researcher", kind: Orchestrator, rank: 1, scheme: "web", path: "source", pool: 48, skew: 0.8, growth: 1.2, load: 1.1, session: 9,
			think: 2800 * time.Millisecond, latency: 600 * time.Millisecond, small: 600, large: 18e3, errors: 0.03, denied: 0.006, hours: office, model: "large-2",
			actions: []action{{"web.search", 4, read}, {"web.fetch", 5, read}, {"agent.invoke", 1, delegate}, {"note.write", 2, write}}},
		{name: "doc-reader", kind: SubAgent, scheme: "doc", path: "document", pool: 44, skew: 0.9, growth: 0.9, load: 1, session: 8,
			think: 1600 * time.Millisecond, latency: 220 * time.Millisecond, small: 300, large: 35e3, errors: 0.015, denied: 0.005, hours: office, model: "small-1",
			actions: []action{{"doc.search", 3, read}, {"doc.read", 6, read}, {"doc.summarise", 2, read}}},
	}},
}

// The first agent of every plain team is its orchestrator.
var orchestrator = &role{name: "orchestrator", kind: Orchestrator, rank: 2, scheme: "task", path: "board", pool: 20, skew: 1, growth: 0.3, load: 1.1, session: 8,
	think: 1800 * time.Millisecond, latency: 250 * time.Millisecond, small: 800, large: 5e3, errors: 0.012, denied: 0.003, hours: office, model: "large-2",
	actions: []action{{"task.read", 4, read}, {"plan.update", 3, write}, {"agent.invoke", 2, delegate}, {"result.read", 3, read}, {"task.close", 2, write}}}

func init() {
	orchestrator.complete()
	for _, family := range families {
		for _, r := range family.roles {
			r.complete()
		}
	}
}

// Complete makes the tables that the role is drawn from.
func (r *role) complete() {
	r.popular = zipfOf(r.pool, r.skew)
	weights := make([]float64, len(r.actions))
	for i, a := range r.actions {
		weights[i] = a.weight
	}
	r.mix = cumulate(weights)
	r.week = r.hours.week()
}

// FavouriteRead returns the index of the role's most frequent action that reads.
func (r *role) favouriteRead() int {
	best := 0
	for i, a := range r.actions {
		if a.effect == read && (r.actions[best].effect != read || a.weight > r.actions[best].weight) {
			best = i
		}
	}
	return best
}
