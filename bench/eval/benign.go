package eval

import (
	"fmt"
	"strings"
)

// dojoSet plays the clean sessions of AgentDojo, in which nobody was injected.
func dojoSet(m *measurement) error {
	if err := m.step("clean sessions"); err != nil {
		return err
	}
	h := newHonest(m.opt.Plan)
	err := each(m.file("calls.jsonl.gz"), func(row *row) error {
		if strings.HasSuffix(row.Session, "/clean") {
			*h.next() = *row.call()
		}
		return nil
	})
	if err != nil {
		return err
	}
	m.report.Note("agentdojo: the times of these calls are made up, a second apart; only their order is real.")
	h.report(m, "clean sessions (real)")
	return nil
}

// benignSet plays real LLM agents at honest work. Their timestamps are made up (order
// only), and most of them are within a warm-up.
func benignSet(m *measurement) error {
	m.report.Note("benign_agents: the times of these calls are made up, a second apart; only their order is real.")
	for _, name := range []string{"tau_airline", "luna"} {
		if err := m.step("%s", name); err != nil {
			return err
		}
		h := newHonest(m.opt.Plan)
		err := each(m.file(name+".jsonl.gz"), func(row *row) error {
			*h.next() = *row.call()
			return nil
		})
		if err != nil {
			return err
		}
		h.report(m, fmt.Sprintf("%s (real)", name))
	}
	return nil
}
