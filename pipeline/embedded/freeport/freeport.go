// Package freeport finds ports of loopback for servers that need to know theirs before they
// start, or that come back on the same one.
//
// To listen on port 0 and close again gives a port of the range from which the kernel takes
// the local ends of connections too: on a busy machine the next connection may have it before
// the server does. The ports given here lie below that range on every common system.
package freeport

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// The range is above what packages install servers on, and below Linux's 32768.
const (
	lowest = 15000
	beyond = 32000
	tries  = 1000
)

var (
	mu    sync.Mutex
	given = map[int]bool{}
)

// Find returns a port of 127.0.0.1 that nobody listens on, and which it has not given to this
// process before.
func Find() (int, error) {
	mu.Lock()
	defer mu.Unlock()
	var last error
	for range tries {
		port := lowest + rand.IntN(beyond-lowest)
		if given[port] {
			continue
		}
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			last = err
			continue
		}
		l.Close()
		given[port] = true
		return port, nil
	}
	return 0, fmt.Errorf("no free port among %d tried between %d and %d: %w", tries, lowest, beyond, last)
}
