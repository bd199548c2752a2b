package eval

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/estop-project/estop/pipeline/telemetry"
)

// edge is one connection of the DARPA set.
type edge struct {
	src, dst uint64
	tick     int64 // number of the minute
	bad      bool
}

// darpaSet measures the models of edges, which see the graph only, and the false kills of the
// detectors on the weeks that are nearly clean.
func darpaSet(m *measurement) error {
	if err := m.step("reading"); err != nil {
		return err
	}
	edges, err := readEdges(m.file("edges.csv.gz"))
	if err != nil {
		return err
	}
	minutes, err := readMinutes(m.file("minutes.csv.gz"))
	if err != nil {
		return err
	}
	if m.opt.Quick {
		edges = edges[:min(len(edges), 50_000)]
	}
	return darpaHonest(m, edges, minutes)
}

func readEdges(path string) ([]edge, error) {
	var edges []edge
	err := eachRecord(path, func(field []string) error {
		src, err1 := strconv.ParseUint(field[0], 10, 64)
		dst, err2 := strconv.ParseUint(field[1], 10, 64)
		tick, err3 := strconv.ParseInt(field[2], 10, 64)
		edges = append(edges, edge{src, dst, tick, field[3] == "1"})
		return errors.Join(err1, err2, err3)
	}, 4)
	return edges, err
}

// readMinutes returns the time of each minute that has edges, by its number.
func readMinutes(path string) (map[int64]time.Time, error) {
	minutes := map[int64]time.Time{}
	err := eachRecord(path, func(field []string) error {
		tick, err1 := strconv.ParseInt(field[0], 10, 64)
		at, err2 := time.Parse("01/02/2006-15:04", field[1])
		minutes[tick] = at
		return errors.Join(err1, err2)
	}, 2)
	return minutes, err
}

// eachRecord reads a gzipped file of comma-separated values with n fields. A first line that
// cannot be read names the columns.
func eachRecord(path string, f func([]string) error, n int) error {
	in, err := unpacked(path)
	if err != nil {
		return err
	}
	defer in.Close()
	records := csv.NewReader(in)
	records.FieldsPerRecord, records.ReuseRecord = n, true
	for line := 1; ; line++ {
		field, err := records.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = f(field)
		}
		if err != nil {
			return fmt.Errorf("%s, line %d: %w", path, line, err)
		}
	}
}

// warmUpEnd is the end of the two weeks of June that are nearly clean.
var warmUpEnd = time.Date(1998, time.June, 15, 0, 0, 0, 0, time.UTC)

// darpaHonest plays the edges of the clean weeks that are no attack: an address is an agent, and
// what it connects to a resource. Inside a minute the edges are spread evenly.
func darpaHonest(m *measurement, edges []edge, minutes map[int64]time.Time) error {
	if err := m.step("false kills in the clean weeks"); err != nil {
		return err
	}
	h := newHonest(m.opt.Plan)
	for first := 0; first < len(edges); {
		last := first
		for last < len(edges) && edges[last].tick == edges[first].tick {
			last++
		}
		at, ok := minutes[edges[first].tick]
		if !ok {
			return fmt.Errorf("the time of minute %d is missing", edges[first].tick)
		}
		if !at.Before(warmUpEnd) {
			break
		}
		for i, e := range edges[first:last] {
			if !e.bad {
				*h.next() = connection(e, first+i, at.Add(time.Duration(i)*time.Minute/time.Duration(last-first)))
			}
		}
		first = last
	}
	h.report(m, "connections of 1–14 June that are no attack (real)")
	return nil
}

// connection is an edge as a call.
func connection(e edge, n int, at time.Time) telemetry.Call {
	agent := strconv.AppendUint([]byte("address-"), e.src, 10)
	return telemetry.Call{
		ID: strconv.AppendInt([]byte("edge-"), int64(n), 10), Time: at.UnixNano(), Tenant: []byte("darpa"), Agent: agent, Chain: [][]byte{agent},
		Action: []byte("connect"), Resource: strconv.AppendUint([]byte("address-"), e.dst, 10),
	}
}
