package fleet

import "time"

// AgentKind is what an agent is for.
type AgentKind string

// The kinds of agents.
const (
	SupportBot   AgentKind = "support-bot"
	CodingAgent  AgentKind = "coding-agent"
	DataPipeline AgentKind = "data-pipeline"
	BackupJob    AgentKind = "backup-job"
	Orchestrator AgentKind = "orchestrator"
	// SubAgent works only when an Orchestrator of its team asks it to.
	SubAgent AgentKind = "sub-agent"
)

// Kinds lists the kinds of agents.
func Kinds() []AgentKind {
	return []AgentKind{SupportBot, CodingAgent, DataPipeline, BackupJob, Orchestrator, SubAgent}
}

// World returns options with everything on that makes a fleet hard to judge: all kinds of
// agents, hours and weekends, one deployment of a team in two weeks, one outage of a tenant
// in two weeks, and one newcomer in ten agents.
func World(seed uint64) Options {
	return Options{Seed: seed, DayShape: true, Kinds: Kinds(), Deployments: 0.5, Outages: 0.5, Newcomers: 0.1}
}

// KindFamilies are the teams of the eventful fleet. Session is the mean number of calls in a
// session, as TestRateOfEachKindIsAsStated measures it.
var kindFamilies = map[AgentKind]family{
	SupportBot:   {name: "support", lead: supportBot, roles: []*role{supportBot}},
	CodingAgent:  {name: "coding", lead: codingAgent, roles: []*role{codingAgent}},
	DataPipeline: {name: "pipelines", lead: dataPipeline, roles: []*role{dataPipeline}},
	BackupJob:    {name: "backup", lead: backupJob, roles: []*role{backupJob}},
	Orchestrator: {name: "tasks", lead: taskOrchestrator, roles: []*role{subResearcher, subReader, subAnalyst, subWriter}},
}

var (
	supportBot = &role{name: "support-bot", kind: SupportBot, plan: converse, scheme: "crm", path: "article", pool: 60, skew: 0.9, growth: 0.5,
		load: 1.6, session: 15, think: 1200 * time.Millisecond, latency: 180 * time.Millisecond, small: 450, large: 6e3, errors: 0.012, denied: 0.004, hours: wide, model: "large-1",
		later: []string{"order.track", "ticket.translate", "customer.segment", "call.schedule"}, destroys: "article.delete",
		actions: []action{{"kb.search", 4, read}, {"ticket.read", 2, read}, {"customer.read", 2, read}, {"order.read", 3, read}, {"ticket.comment", 3, write}, {"ticket.close", 1, write}}}

	codingAgent = &role{name: "coding-agent", kind: CodingAgent, plan: code, scheme: "git", path: "repo", pool: 8, skew: 1.1, growth: 0.03,
		load: 5, session: 60, think: 2500 * time.Millisecond, latency: 120 * time.Millisecond, small: 900, large: 14e3, errors: 0.02, denied: 0.003, hours: office, model: "large-2", storm: true,
		later: []string{"lint.run", "file.rename", "browser.open", "container.start"}, destroys: "file.delete",
		actions: []action{{"file.read", 6, read}, {"file.search", 2, read}, {"file.edit", 4, write}, {"test.run", 3, write}, {"git.commit", 1, write}}}

	dataPipeline = &role{name: "data-pipeline", kind: DataPipeline, plan: ingest, every: time.Hour, scheme: "dwh", path: "table", pool: 12, skew: 0.4, growth: 0.05,
		load: 1, session: 30, think: 400 * time.Millisecond, latency: 300 * time.Millisecond, small: 500, large: 200e3, errors: 0.01, denied: 0.001, hours: always,
		later: []string{"table.optimize", "quality.check", "schema.migrate"}, destroys: "table.drop",
		actions: []action{{"table.describe", 1, read}, {"table.select", 4, read}, {"object.put", 4, write}, {"offset.commit", 3, write}}}

	backupJob = &role{name: "backup-job", kind: BackupJob, plan: backUp, every: 24 * time.Hour, scheme: "vol", path: "volume", pool: 32, skew: 0.2, growth: 0.2,
		load: 1, session: 120, think: 2500 * time.Millisecond, latency: 900 * time.Millisecond, small: 500, large: 3e6, errors: 0.008, denied: 0.001, hours: night,
		later: []string{"snapshot.replicate", "vault.lock"}, destroys: "snapshot.delete",
		actions: []action{{"volume.list", 1, read}, {"snapshot.create", 4, write}, {"object.put", 4, write}, {"snapshot.verify", 2, read}, {"snapshot.delete", 3, write}}}

	taskOrchestrator = &role{name: "orchestrator", kind: Orchestrator, rank: 2, plan: orchestrate, scheme: "task", path: "board", pool: 16, skew: 1, growth: 0.2,
		load: 1.4, session: 13, think: 2200 * time.Millisecond, latency: 250 * time.Millisecond, small: 900, large: 6e3, errors: 0.012, denied: 0.003, hours: office, model: "large-2",
		later:   []string{"plan.critique", "memory.write"},
		actions: []action{{"task.read", 3, read}, {"plan.update", 2, write}, {"agent.invoke", 4, delegate}, {"result.read", 4, read}, {"task.close", 1, write}}}

	subResearcher = subAgent("researcher", 1, "web", "source", "large-2",
		[]action{{"web.search", 4, read}, {"web.fetch", 5, read}, {"note.write", 2, write}})
	subReader = subAgent("doc-reader", 0, "doc", "document", "small-1",
		[]action{{"doc.search", 2, read}, {"doc.read", 6, read}, {"doc.summarise", 2, read}})
	subAnalyst = subAgent("analyst", 0, "dwh", "view", "large-2",
		[]action{{"schema.read", 2, read}, {"query.run", 6, read}, {"chart.render", 2, write}})
	subWriter = subAgent("writer", 0, "doc", "draft", "large-1",
		[]action{{"draft.read", 3, read}, {"style.check", 2, read}, {"draft.write", 3, write}})
)

func subAgent(name string, rank int, scheme, path, model string, actions []action) *role {
	return &role{name: name, kind: SubAgent, rank: rank, plan: assist, onCall: true, scheme: scheme, path: path, pool: 40, skew: 0.9, growth: 0.8,
		load: 1, session: 8, think: 1800 * time.Millisecond, latency: 350 * time.Millisecond, small: 600, large: 15e3, errors: 0.02, denied: 0.005, hours: office, model: model, storm: true,
		later: []string{"memory.read", "tool.discover"}, actions: actions}
}

func init() {
	for _, f := range kindFamilies {
		f.lead.complete()
		for _, r := range f.roles {
			r.complete()
		}
	}
}
