//go:build race

package pipeline_test

// slower is how much longer the race detector's bookkeeping may make a kill take.
const slower = 20
