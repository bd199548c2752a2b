package midas

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/estop-project/estop/bench/metrics"
)

// Edge is one labelled connection of the DARPA set.
type Edge struct {
	Src, Dst uint64 // hashes of the addresses' numbers
	Tick     int64  // minute
	Attack   bool
}

// ReadEdges reads lines of src,dst,tick,label, in the order of time. A label is 0 or 1.
func ReadEdges(r io.Reader) ([]Edge, error) {
	var edges []Edge
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		e, err := parseEdge(lines.Text())
		if err != nil {
			return nil, fmt.Errorf("cannot read edge %d: %w", len(edges)+1, err)
		}
		edges = append(edges, e)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("cannot read edges: %w", err)
	}
	return edges, nil
}

func parseEdge(line string) (Edge, error) {
	fields := strings.Split(line, ",")
	if len(fields) != 4 || fields[3] != "0" && fields[3] != "1" {
		return Edge{}, errors.New("want src,dst,tick,label")
	}
	src, err1 := strconv.ParseUint(fields[0], 10, 64)
	dst, err2 := strconv.ParseUint(fields[1], 10, 64)
	tick, err3 := strconv.ParseInt(fields[2], 10, 64)
	return Edge{Src: mix(src), Dst: mix(dst), Tick: tick, Attack: fields[3] == "1"}, errors.Join(err1, err2, err3)
}

// ScoreAll scores the edges, one after the other.
func ScoreAll(s Scorer, edges []Edge) []metrics.Scored {
	scored := make([]metrics.Scored, len(edges))
	for i, e := range edges {
		scored[i] = metrics.Scored{Score: s.Score(e.Src, e.Dst, e.Tick), Bad: e.Attack}
	}
	return scored
}
