// Package references holds plain ways to score calls, which the detectors are measured
// against in the same run: fixed thresholds, a first-order Markov chain of actions beside
// the rarity of resources, and, where Python has them, two forests.
package references

import "github.com/estop-project/estop/pipeline/telemetry"

// Scorer gives each call a score before it learns from it. A higher score is more
// suspicious. Calls come in order of time.
type Scorer interface {
	Score(c *telemetry.Call) float64
}
