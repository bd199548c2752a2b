package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/estop-project/estop/pipeline/archive"
	"github.com/estop-project/estop/pipeline/backtest"
	"github.com/estop-project/estop/pipeline/history"
)

// historyFlags say which calls are played.
type historyFlags struct {
	from                 []string
	format               string
	since, until         string
	tenant, agent        string
	sinceTime, untilTime time.Time
}

const (
	fromKafka      = "kafka"
	fromClickHouse = "clickhouse"
)

// flags are those of what plays a stretch of history.
func (h *historyFlags) flags(cmd *cobra.Command) {
	h.source(cmd)
	f := cmd.Flags()
	f.StringVar(&h.since, "since", "", "report from this time or day on; what came before is learned from")
	f.StringVar(&h.until, "until", "", "play calls before this time, or up to this day")
	f.StringVar(&h.tenant, "tenant", "", "play the calls of this tenant alone")
	f.StringVar(&h.agent, "agent", "", "report this agent alone; the others are learned from")
}

// source are the flags that name the log.
func (h *historyFlags) source(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVar(&h.from, "from", nil, "a file of calls, - for standard input, 'kafka' or 'clickhouse'; several files are read one behind the other")
	f.StringVar(&h.format, "format", "auto", "of files: auto, json or cloudtrail")
	complete(cmd, "format", formats)
	if err := cmd.RegisterFlagCompletionFunc("from", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return []string{fromKafka, fromClickHouse}, cobra.ShellCompDirectiveDefault
	}); err != nil {
		panic(err) // the flag does not exist: our own mistake
	}
}

func (h *historyFlags) scope() (backtest.Scope, error) {
	var err error
	if h.sinceTime, err = parseTime("since", h.since, false); err != nil {
		return backtest.Scope{}, err
	}
	if h.untilTime, err = parseTime("until", h.until, true); err != nil {
		return backtest.Scope{}, err
	}
	return backtest.Scope{Since: h.sinceTime, Until: h.untilTime, Tenant: h.tenant, Agent: h.agent}, nil
}

// parseTime reads a time, or a day, of which it is the end if that is wanted.
func parseTime(flag, text string, end bool) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.DateOnly, text); err == nil {
		if end {
			t = t.AddDate(0, 0, 1)
		}
		return t, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, usageError{fmt.Errorf("--%s: %q is neither a day, 2026-11-24, nor a time, 2026-11-24T09:00:00Z", flag, text)}
	}
	return t, nil
}

// play opens the log that the flags name, lets it be played until a signal comes, and closes it: what is shown
// after that stands below no progress bar.
func (h *historyFlags) play(cmd *cobra.Command, run func(context.Context, backtest.Log) error) error {
	ctx, stop := untilSignal(cmd)
	defer stop()
	log, closeLog, err := h.open(ctx, cmd)
	if err != nil {
		return err
	}
	defer closeLog()
	if err := run(ctx, log); ctx.Err() == nil {
		return err
	}
	return errInterrupted
}

// open opens the log that the flags name. It shows on a terminal how much of it was read.
func (h *historyFlags) open(ctx context.Context, cmd *cobra.Command) (log backtest.Log, closeLog func(), err error) {
	if len(h.from) == 0 {
		return nil, nil, usageError{errors.New("--from: name a file of calls, - for standard input, kafka or clickhouse")}
	}
	bar := &meter{what: cmd.Name()}
	named := slices.Contains(h.from, fromKafka) || slices.Contains(h.from, fromClickHouse)
	if named && len(h.from) > 1 {
		return nil, nil, usageError{errors.New("--from: kafka and clickhouse stand alone, without a further log")}
	}
	if !named {
		f, err := parseFormat(h.format)
		if err != nil {
			return nil, nil, usageError{err}
		}
		bar.bytes = true
		return &history.Files{Paths: h.from, Input: cmd.InOrStdin(), Format: f, Progress: bar.set}, bar.close, nil
	}
	c, err := remote(cmd)
	if err != nil {
		return nil, nil, err
	}
	if h.from[0] == fromKafka {
		k, err := c.KafkaHistory(ctx, c.Logger())
		if err != nil {
			return nil, nil, err
		}
		k.Progress = bar.set
		return k, bar.close, nil
	}
	ch, conn, err := c.ClickHouseHistory(ctx, archive.CallsQuery{Tenant: h.tenant, Until: h.untilTime})
	if err != nil {
		return nil, nil, err
	}
	ch.Progress = bar.set
	return ch, func() { bar.close(); conn.Close() }, nil
}

// meter shows on a terminal how much of a log was read.
type meter struct {
	what  string
	bytes bool
	bar   *progressbar.ProgressBar
	last  int64
}

// meterStep is how much is read between two looks at the bar.
const meterStep = 4096

func (m *meter) set(done, total int64) {
	if done < m.last {
		m.close() // a further turn over the log
	}
	if m.bar != nil && done-m.last < meterStep && done != total {
		return
	}
	if m.bar == nil {
		m.bar = newBar(m.what, total, m.bytes)
	}
	m.last = done
	_ = m.bar.Set64(done) // what cannot be shown is not missed
}

func (m *meter) close() {
	if m.bar != nil {
		_ = m.bar.Finish()
	}
	m.bar, m.last = nil, 0
}

// newBar shows how much of so much was done, on a terminal.
func newBar(what string, size int64, bytes bool) *progressbar.ProgressBar {
	return progressbar.NewOptions64(size,
		progressbar.OptionSetWriter(os.Stderr),
		progressbar.OptionSetVisibility(isatty.IsTerminal(os.Stderr.Fd())),
		progressbar.OptionShowBytes(bytes),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionSetDescription(what),
	)
}

// speed says on standard error how fast a log was played: on standard output two runs are the same.
func speed(w io.Writer, calls int64, took time.Duration) {
	fmt.Fprintf(w, "%d calls in %v, %.0f calls/s\n", calls, took.Round(time.Millisecond), float64(calls)/max(took.Seconds(), 1e-9))
}
