package statefile

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
)

// Compact writes a new file that holds only the records at some places, and puts it in the place of the old one. It
// returns the new file and the new places, in the order of the old ones; a place below 0 stays so. The old file can be
// read until it is closed.
func (s *File) Compact(places []int64) (*File, []int64, error) {
	f, err := os.OpenFile(s.path+".new", os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot write the state file anew: %w", err)
	}
	compact := &File{Slack: s.Slack, path: s.path, owner: s.owner, f: f}
	moved, err := compact.copy(s, places)
	if err == nil {
		err = os.Rename(f.Name(), s.path)
	}
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("cannot write the state file anew: %w", err), f.Close(), os.Remove(f.Name()))
	}
	compact.lock, s.lock = s.lock, nil
	return compact, moved, nil
}

// copy fills the empty file with the records of another one, in their order.
func (s *File) copy(from *File, places []int64) ([]int64, error) {
	if err := s.Reset(); err != nil {
		return nil, err
	}
	order := make([]int, 0, len(places))
	for i, place := range places {
		if place >= 0 {
			order = append(order, i)
		}
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(places[a], places[b]) })
	moved := slices.Clone(places)
	in, out := reader{f: from.f}, writer{f: s.f, at: s.size}
	for _, i := range order {
		r, err := in.skipTo(places[i])
		if err != nil {
			return nil, err
		}
		moved[i] = out.at + int64(len(out.b))
		if err := out.add(r); err != nil {
			return nil, err
		}
	}
	if err := out.flush(); err != nil {
		return nil, err
	}
	s.size, s.base = out.at, out.at
	return moved, nil
}

// skipTo returns the record at a place that lies ahead.
func (in *reader) skipTo(place int64) (Record, error) {
	for {
		r, at, ok := in.next()
		switch {
		case !ok:
			return r, errors.Join(ErrGarbled, in.err)
		case at == place:
			return r, nil
		case at > place:
			return r, fmt.Errorf("no record begins at %d: %w", place, ErrGarbled)
		}
	}
}
