package fleet

import (
	"strconv"
	"time"
)

// Converse is a conversation of a support bot with a customer: the ticket is always new, the
// customer and the orders mostly are, and the customer takes time to answer.
func converse(w *worker) {
	ticket := w.fresh("ticket", 7*time.Second)
	customer := w.fresh("customer", 11*time.Second)
	if w.chance(0.3) { // one who comes often
		customer = w.agent.home + "customer/" + strconv.Itoa(w.below(1+w.below(300)))
	}
	w.clump = append(w.clump, ticket, customer)
	for i := range w.below(4) {
		w.clump = append(w.clump, w.fresh("order", 5*time.Second)+strconv.Itoa(i))
	}
	w.call("ticket.read", read, ticket)
	w.call("customer.read", read, customer)
	for turn := range w.about(2.5, 1, 60) {
		if turn > 0 {
			w.wait(45 * time.Second)
		}
		for range 1 + w.below(3) {
			switch orders := w.clump[2:]; {
			case w.chance(0.5):
				w.call("kb.search", read, w.known())
			case len(orders) > 0 && w.chance(0.7):
				w.call("order.read", read, orders[w.below(len(orders))])
			case w.chance(0.5):
				w.call("ticket.read", read, ticket)
			default:
				w.call("customer.read", read, customer)
			}
		}
		w.call("ticket.comment", write, ticket)
	}
	if orders := w.clump[2:]; len(orders) > 0 && w.chance(0.1) {
		w.call("refund.create", write, orders[0])
	}
	w.call("ticket.close", write, ticket)
}

// Code is a task of a coding agent: files that lie together, read in bursts, and rounds of
// edit and test that may repeat the same two calls many times.
func code(w *worker) {
	repo := w.known()
	w.call("issue.read", read, w.fresh("issue", 3*time.Minute))
	w.open(repo)
	for range w.about(4, 1, 80) {
		file := w.clump[w.below(1+w.below(len(w.clump)))]
		for range 1 + w.below(3) {
			w.call("file.edit", write, file)
		}
		w.call("test.run", write, repo+"/tests")
		for n := 0; n < 15 && w.chance(0.5); n++ {
			if w.chance(0.4) {
				w.call("file.read", read, file)
			}
			w.call("file.edit", write, file)
			w.call("test.run", write, repo+"/tests")
		}
		switch {
		case w.chance(0.25):
			w.open(repo)
		case w.chance(0.05):
			w.call("file.delete", write, file)
		case w.chance(0.05):
			w.call("package.install", write, "pkg://registry/"+strconv.Itoa(w.below(1+w.below(5000))))
		}
	}
	w.call("git.commit", write, repo)
	w.call("pull.create", write, w.fresh("pull", 5*time.Minute))
}

// Open searches the repository and reads a burst of files of one directory.
func (w *worker) open(repo string) {
	w.call("file.search", read, repo)
	pace := w.pace
	w.pace = 70 * time.Millisecond
	directory := w.below(1 + w.below(1+w.below(60))) // the first ones are used more
	for range w.about(5, 2, 40) {
		file := repo + "/dir-" + strconv.Itoa(directory) + "/file-" + strconv.Itoa(w.below(12))
		w.call("file.read", read, file)
		w.clump = append(w.clump, file)
	}
	w.pace = pace
}

// Ingest is a run of a pipeline: a new partition of each of its tables, and now and then many
// old ones at once.
func ingest(w *worker) {
	day := time.Unix(0, w.at).UTC()
	if day.Weekday() == time.Monday {
		w.scale = 3
	}
	partitions, hour := 1, day.Truncate(time.Hour)
	if w.chance(0.01) {
		partitions, w.pace = 24+w.below(145), 30*time.Millisecond
	}
	tables := w.agent.tables()
	for p := range partitions {
		name := partition(hour.Add(-time.Duration(p) * time.Hour))
		for n := range tables {
			table := w.agent.space.names[w.agent.pool[n]]
			if w.chance(0.3) {
				w.call("table.describe", read, table)
			}
			w.call("table.select", read, table+name)
			for range 1 + w.below(2) {
				w.call("object.put", write, w.agent.home+"object/"+strconv.Itoa(n)+name)
			}
			w.call("offset.commit", write, table)
		}
	}
}

// Tables is how many of its pool a pipeline reads in each run.
func (a *agent) tables() int { return min(3+a.index%4, len(a.pool)) }

func partition(hour time.Time) string { return hour.Format("/dt=2006-01-02/hr=15") }

// BackUp is a night of a backup job: every volume, in order, and the end of snapshots that are
// two weeks old. On Sundays the backups are full ones.
func backUp(w *worker) {
	const kept = 14 * 24 * time.Hour
	day := time.Unix(0, w.at).UTC()
	if day.Weekday() == time.Sunday {
		w.scale = 15
	}
	tonight, old := "@"+day.Format(time.DateOnly), "@"+day.Add(-kept).Format(time.DateOnly)
	w.call("volume.list", read, w.agent.home+"volumes")
	volumes := len(w.agent.pool) + w.agent.grown(w.at, w.s.fleet.start)
	for n := range volumes {
		volume := w.agent.volume(n)
		w.call("snapshot.create", write, volume)
		w.call("object.put", write, volume+tonight)
		if w.chance(0.3) {
			w.call("snapshot.verify", read, volume+tonight)
		}
	}
	for n := range volumes {
		if w.chance(0.95) {
			w.call("snapshot.delete", write, w.agent.volume(n)+old)
		}
	}
}

// Volume names the n-th resource of the pool, as it has grown.
func (a *agent) volume(n int) string {
	if n < len(a.pool) {
		return a.space.names[a.pool[n]]
	}
	return a.space.at(len(a.space.names) + n - len(a.pool))
}

// Orchestrate is a task for which an orchestrator sets sub-agents to work side by side.
func orchestrate(w *worker) {
	task := w.fresh("task", time.Minute)
	for i := range w.about(4, 1, 20) {
		w.clump = append(w.clump, w.fresh("input", time.Minute)+"-"+strconv.Itoa(i))
	}
	w.call("task.read", read, task)
	w.call("plan.update", write, w.known())
	for round := 0; round < 4 && (round == 0 || w.chance(0.3)); round++ {
		asked := 1 + w.below(5)
		end := w.at
		for range asked {
			end = max(end, w.ask())
		}
		w.at = max(w.at, end) // they work side by side
		for range asked {
			w.call("result.read", read, task)
		}
		w.call("plan.update", write, w.known())
	}
	w.call("task.close", write, task)
}

// Ask lets one of the agents that it delegates to work, and returns when it is done.
func (w *worker) ask() int64 {
	if len(w.agent.delegates) == 0 || w.left <= 0 {
		return w.at
	}
	to := w.agent.delegates[w.below(len(w.agent.delegates))]
	if to.joined > w.at || w.s.alone || !w.call("agent.invoke", delegate, "agent://"+to.name) {
		return w.at
	}
	chain := append(w.chain[:len(w.chain):len(w.chain)], to.name)
	sub := w.s.hire(to, chain, w.at, w.visit)
	sub.clump = w.clump
	sub.left = w.left
	to.role.plan(sub)
	w.left = sub.left
	return sub.at
}

// Assist is the work of a sub-agent: on the inputs of the task, on what it knows, and, for
// those that search the web, on pages that nobody saw before.
func assist(w *worker) {
	r := w.agent.role
	if len(w.clump) == 0 {
		w.clump = append(w.clump, w.fresh("input", time.Minute)+"-0")
	}
	act := -1
	for n := range w.about(5, 1, 60) {
		act = (act + 1) % len(r.actions)
		if !w.chance(inOrder) {
			act = r.mix.rank(&w.s.job.source)
		}
		var resource string
		switch {
		case w.chance(0.35):
			resource = w.clump[w.below(len(w.clump))]
		case r.rank > 0 && w.chance(0.4):
			resource = w.fresh("page", time.Second) + "-" + strconv.Itoa(n)
		default:
			resource = w.known()
		}
		w.call(r.actions[act].name, r.actions[act].effect, resource)
		if r.rank > 0 && w.chance(0.08) {
			w.at = max(w.at, w.ask())
		}
	}
}
