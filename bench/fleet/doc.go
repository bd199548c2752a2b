// Package fleet makes synthetic agents, honest and bad, for the demo, for benchmarks, for
// tests and for measuring detection. Nothing in it comes from the world: every figure that
// rests on it is to be called synthetic.
//
// There are two fleets. The plain one (Options.Kinds empty) is for the demo and for
// benchmarks: all of its agents work by one scheme and nothing happens to them. The eventful
// one (World) is for measuring, and tries not to be kinder than the world.
//
// # What both model
//
// Tenants of teams of agents; for each agent a role with its own actions and resources of
// Zipf popularity, and a pool of resources that slowly grows; sessions; hours of the day,
// weekends, time zones; log-normal latencies and bytes; errors and denials; delegation, the
// root of the chain first; several identities for each agent, some shared by its team.
//
// # What the eventful fleet models beyond
//
//   - Five kinds of agents and sub-agents that work as their kind does: a support bot has
//     many conversations at once, with people's pauses between turns; a coding agent works
//     through a set of files, reads in bursts, and repeats edit and test many times; a
//     pipeline runs by the clock, and one time in a hundred fills in up to a week of old
//     partitions at once; a backup goes through all volumes at night and deletes what is two weeks old; an
//     orchestrator sets up to five sub-agents to work side by side, up to three agents deep.
//   - New resources in clumps: a conversation brings its ticket, customer and orders, a task
//     its files, a run its partitions. Most of them never come again.
//   - Arrivals that are not Poisson: a third of the sessions follow the one before at once;
//     days of a tenant and of an agent differ (log-normal, 0.35 each); one day in forty is a
//     holiday. Rates are what they say over months, not over days.
//   - Heavy tails: 2 % of bytes and latencies carry a Pareto factor of exponent 1.2, up to
//     about 1,800 (no call takes longer than ten minutes); lengths of sessions are log-normal
//     with sigma 1 and go up to 2,000 calls.
//   - Deployments: a team's new version (context "version") restarts its agents within half
//     an hour, with a burst of start-up calls and a new resource, changes their rate by a
//     log-normal factor of 0.35, half of the time brings actions and resources that none of
//     them ever used, and one time in ten a bug for two hours, in which a fifth of the calls
//     fails.
//   - Outages of a tenant, 2 minutes to 6 hours, that hit about 60 % of its teams at once. A
//     dependency fails: 90 % of the calls fail, some fast and some after a timeout, and are
//     retried, by some kinds at once and up to twenty times, the same call each time. Or the
//     upstream is down: sessions wait, and up to 64 begin together when it returns.
//   - Newcomers: a share of the agents begins within four weeks after Options.Start, sets
//     itself up by reading all of its resources, and comes up to its rate in five days.
//
// # What is not modelled
//
// Calls that arrive late, out of order, twice or never; clocks that disagree; sub-agents with
// a new name for each task; teams and tenants that come and go; agents that change their
// model, their team or what they are for; months, quarters and years; people's arguments and
// payloads; what a call does to later ones (a deleted resource is used again). Kinds are six,
// and each is one program with random choices: real agents differ more. An attacker knows
// the agent's usual actions and resources, but neither the detectors nor when to stop; it
// does not announce a new version to be forgiven, and its calls, where they are not the
// agent's usual work put to bad use, do not fail in outages. A sub-agent that goes bad by
// itself does so under the chain of its orchestrator, as if it had been asked.
//
// # Truth
//
// A call of an attack carries Call.Attack and the one that completes it Call.Goal; whatever
// carries neither is honest, also where it comes from a bad agent. Scripts lists the attacks
// with what their strengths mean in numbers.
//
// Everything is a pure function of the options and the times asked for: the same seed gives
// the same bytes on every machine. Random factors come from tables of 4,096 quantiles, so
// log-normal tails end at 3.7 standard deviations. Seeds 1 to 19 are for development; what
// is reported uses seeds from 101 on, one hundred after the other.
package fleet
