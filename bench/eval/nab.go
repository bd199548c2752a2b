package eval

import (
	"archive/tar"
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/estop-project/estop/models"
)

// NABResult is what baselines of counts find in series of the Numenta Anomaly Benchmark
// (Lavin and Ahmad, "Evaluating real-time anomaly detection algorithms", 2015): how often ten
// companies were named on Twitter in each five minutes, with windows that people labelled.
type NABResult struct {
	Series  int
	Windows int     // that begin after the probation
	Days    float64 // after the probation and outside of windows, all series together
	Rows    []NABRow
}

// NABRow is one baseline with one length of slots.
type NABRow struct {
	Model string
	Slot  time.Duration
	Hit   int // windows with an alarm
	False int // alarms outside of windows
	// LogScore is the mean of the log probability of what came, over the slots that were
	// judged outside of windows: higher is better.
	LogScore float64
	Series   []NABSeries
}

// NABSeries is one row's outcome on one series.
type NABSeries struct {
	Name                string
	Windows, Hit, False int
	score               float64 // sum of log probabilities
	judged              int
}

// What NAB measures with was fixed before anything was measured: NAB's own probation,
// the catalogue's budget, and a memory of a week.
const (
	nabProbation = 0.15 // of each series, in which nothing is judged
	nabBudget    = 1000 * 24 * time.Hour
	nabMemory    = 7 * 24 * time.Hour
	nabQuiet     = 6 * time.Hour // after an alarm nothing is judged or learned
)

// NAB reads data.tar.gz and combined_windows.json from dir and runs each baseline over each
// series, through an e-detector as production has it, with learning frozen while evidence is above half
// of the level.
func NAB(dir string) (NABResult, error) {
	all, err := readNAB(dir)
	if err != nil {
		return NABResult{}, err
	}
	out := NABResult{Series: len(all)}
	for _, s := range all {
		out.Windows += len(s.windows)
		out.Days += s.quietDays()
	}
	for _, slot := range []time.Duration{5 * time.Minute, time.Hour} {
		for _, seasonal := range []bool{false, true} {
			row := NABRow{Model: "CountBaseline", Slot: slot}
			if seasonal {
				row.Model = "SeasonalCount"
			}
			score, judged := 0.0, 0
			for _, s := range all {
				r := s.judge(slot, seasonal)
				row.Hit += r.Hit
				row.False += r.False
				row.Series = append(row.Series, r)
				score += r.score
				judged += r.judged
			}
			row.LogScore = score / float64(max(judged, 1))
			out.Rows = append(out.Rows, row)
		}
	}
	return out, nil
}

// series is one file of NAB.
type series struct {
	name    string
	times   []int64
	counts  []float64
	from    int64      // the end of the probation
	windows [][2]int64 // that begin after it
}

func (s *series) quietDays() float64 {
	rest := s.times[len(s.times)-1] - s.from
	for _, w := range s.windows {
		rest -= min(w[1], s.times[len(s.times)-1]) - w[0]
	}
	return time.Duration(rest).Hours() / 24
}

// nabBaseline is either model behind one face.
type nabBaseline struct {
	flat     models.CountBaseline
	seasonal models.SeasonalCount
	hours    bool // whether the seasonal one is asked
}

func (b *nabBaseline) logTails(n float64, t int64) (tail, next float64) {
	if b.hours {
		return b.seasonal.LogTails(n, t)
	}
	return b.flat.LogTails(n)
}

func (b *nabBaseline) learn(n float64, t int64) {
	if b.hours {
		b.seasonal.Learn(n, t)
	} else {
		b.flat.Learn(n)
	}
}

// judge runs a baseline over the series.
func (s *series) judge(slot time.Duration, seasonal bool) NABSeries {
	out := NABSeries{Name: s.name, Windows: len(s.windows)}
	prior := models.CountPrior{Mean: 1, Weight: 1, Memory: float64(nabMemory / slot)}
	b := nabBaseline{flat: models.NewCountBaseline(prior), seasonal: models.NewSeasonalCount(prior), hours: seasonal}
	level := models.AlarmLevel(nabBudget, slot)
	var d models.EDetector
	hit := make([]bool, len(s.windows))
	quietUntil := int64(0)
	s.slots(slot, func(n float64, t, end int64) {
		if n < 1 || t < quietUntil {
			return
		}
		if t < s.from {
			b.learn(n, t)
			return
		}
		tail, next := b.logTails(n, t)
		w := s.windowAt(t, end)
		if w < 0 {
			out.judged++
			out.score += tail + math.Log(-math.Expm1(min(next-tail, -1e-9)))
		}
		d.Set(models.LogEFromLogP(models.LogMidP(tail, next)))
		if d.Log() >= level {
			d.Reset()
			quietUntil = end + int64(nabQuiet)
			if w >= 0 {
				hit[w] = true
			} else {
				out.False++
			}
			return
		}
		if d.Log() <= level/2 {
			b.learn(n, t)
		}
		d.Close()
	})
	for _, h := range hit {
		if h {
			out.Hit++
		}
	}
	return out
}

// slots gives the sum of each slot, with its begin and end.
func (s *series) slots(slot time.Duration, yield func(n float64, t, end int64)) {
	step := int64(slot)
	sum := 0.0
	for i, t := range s.times {
		sum += s.counts[i]
		if i+1 == len(s.times) || s.times[i+1]/step != t/step {
			begin := t / step * step
			yield(sum, begin, begin+step)
			sum = 0
		}
	}
}

// windowAt returns which window the slot from t to end touches, -1 for none.
func (s *series) windowAt(t, end int64) int {
	return slices.IndexFunc(s.windows, func(w [2]int64) bool { return end > w[0] && t <= w[1] })
}

func readNAB(dir string) ([]series, error) {
	text, err := os.ReadFile(filepath.Join(dir, "combined_windows.json"))
	if err != nil {
		return nil, fmt.Errorf("cannot read the windows of NAB: %w", err)
	}
	var windows map[string][][2]string
	if err := json.Unmarshal(text, &windows); err != nil {
		return nil, fmt.Errorf("cannot read the windows of NAB: %w", err)
	}
	in, err := unpacked(filepath.Join(dir, "data.tar.gz"))
	if err != nil {
		return nil, err
	}
	defer in.Close()
	var all []series
	files := tar.NewReader(bufio.NewReader(in))
	for {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("cannot unpack the series of NAB: %w", err)
		}
		if !strings.HasSuffix(h.Name, ".csv") {
			continue
		}
		s, err := readSeries(files, windows[strings.TrimPrefix(h.Name, "data/")])
		if err != nil {
			return nil, fmt.Errorf("cannot read %s of NAB: %w", h.Name, err)
		}
		s.name = strings.TrimSuffix(filepath.Base(h.Name), ".csv")
		all = append(all, s)
	}
}

// readSeries reads lines of a time and a count, after a head.
func readSeries(in io.Reader, windows [][2]string) (series, error) {
	rows, err := csv.NewReader(in).ReadAll()
	if err != nil {
		return series{}, err
	}
	if len(rows) < 2 {
		return series{}, errors.New("no rows")
	}
	var s series
	for _, row := range rows[1:] {
		t, err := nabTime(row[0])
		if err != nil {
			return series{}, err
		}
		n, err := strconv.ParseFloat(row[1], 64)
		if err != nil {
			return series{}, err
		}
		s.times, s.counts = append(s.times, t), append(s.counts, n)
	}
	s.from = s.times[int(nabProbation*float64(len(s.times)))]
	for _, w := range windows {
		begin, err := nabTime(w[0])
		if err != nil {
			return series{}, err
		}
		end, err := nabTime(w[1])
		if err != nil {
			return series{}, err
		}
		if begin >= s.from {
			s.windows = append(s.windows, [2]int64{begin, end})
		}
	}
	return s, nil
}

func nabTime(text string) (int64, error) {
	t, err := time.Parse("2006-01-02 15:04:05", text) // a fraction is taken too
	return t.UnixNano(), err
}
