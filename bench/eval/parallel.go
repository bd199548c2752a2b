package eval

import (
	"runtime"

	"golang.org/x/sync/errgroup"
)

// parallel runs what depends on nothing of one another, as many at a time as there are cores.
func parallel(tasks ...func() error) error {
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, task := range tasks {
		g.Go(task)
	}
	return g.Wait()
}
