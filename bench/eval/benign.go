package eval

import "fmt"

// benignSet plays real LLM agents at honest work. Their timestamps are made up (order
// only), and most of them are within a warm-up.
func benignSet(m *measurement) error {
	m.report.Note("benign_agents: the times of these calls are made up, a second apart; only their order is real.")
	for _, name := range []string{"tau_airline", "luna"} {
		if err := m.step("%s", name); err != nil {
			return err
		}
		h := newHonest(m.opt.Plan, nil, true)
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
