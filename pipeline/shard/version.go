package shard

import (
	"errors"
	"fmt"
)

// stateVersion is the encoding of entities and of peers that this version writes. It rises with every change of it;
// testdata/state holds states of each version that is read, and a test says when one is missing.
const stateVersion = 13

// oldestState is the oldest encoding that is read: that of the version before, so that an upgrade goes on with what was
// learned. What it had otherwise is told apart by reader.version. Before 13 no state of an older version was read.
const oldestState = max(stateVersion-1, 13)

// ErrStateVersion says that a state was written in an encoding that this version does not know.
var ErrStateVersion = errors.New("unknown version of shard state")

// CheckVersion returns what to do about a record of the state topic in encoding wrote, nil where it is one of those
// from oldest to newest, which this version reads.
func CheckVersion(what string, wrote, oldest, newest byte) error {
	reads := fmt.Sprint(newest)
	if oldest < newest {
		reads = fmt.Sprintf("%d and %d", oldest, newest)
	}
	switch {
	case wrote > newest:
		return fmt.Errorf("%w: %s of version %d, written by a newer estop; this one reads %s. Run the newer estop again, "+
			"or delete the topic estop.state while no node runs to learn anew", ErrStateVersion, what, wrote, reads)
	case wrote < oldest:
		return fmt.Errorf("%w: %s of version %d, written by an older estop; this one reads %s. Run an estop between the two "+
			"until it has written everything anew, or delete the topic estop.state while no node runs to learn anew", ErrStateVersion, what, wrote, reads)
	}
	return nil
}

// versioned returns a reader of what follows the version of a state.
func versioned(b []byte) (reader, error) {
	if len(b) == 0 {
		return reader{}, fmt.Errorf("%w: a state without any", ErrStateVersion)
	}
	return reader{b: b[1:], version: b[0]}, CheckVersion("state", b[0], oldestState, stateVersion)
}
