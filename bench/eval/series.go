package eval

import (
	"fmt"

	"github.com/estop-project/estop/bench/report"
)

// nabSet shows what baselines of counts find in the series of the Numenta Anomaly Benchmark.
func nabSet(m *measurement) error {
	if err := m.step("series of counts"); err != nil {
		return err
	}
	found, err := NAB(m.file())
	if err != nil {
		return err
	}
	table := report.Table{
		Title:   fmt.Sprintf("Baselines of counts on %d real series: %d windows of anomalies, %.0f days outside of them", found.Series, found.Windows, found.Days),
		Columns: []string{"baseline", "slot", "windows with an alarm", "alarms outside of windows", "per 1000 days", "promised", "mean log probability"},
	}
	promised := 1000 * 24 / nabBudget.Hours()
	for _, row := range found.Rows {
		rate := 1000 * float64(row.False) / found.Days
		name := fmt.Sprintf("%s, slots of %v", row.Model, row.Slot)
		m.add(100*float64(row.Hit)/float64(max(found.Windows, 1)), "%", report.Goal{}, "%s: windows with an alarm", name)
		m.add(rate, "per 1000 days", report.Goal{}, "%s: alarms outside of windows", name)
		table.Rows = append(table.Rows, []string{
			row.Model, row.Slot.String(), fmt.Sprintf("%d of %d", row.Hit, found.Windows), fmt.Sprint(row.False),
			short(rate), short(promised), fmt.Sprintf("%.3f", row.LogScore),
		})
	}
	m.table(table)
	m.report.Note("nab: windows were labelled by people, who call some surges anomalies and others not; an alarm outside of a window need not be for nothing. The baselines are judged without the crests that a shard demands beside them.")
	return nil
}
