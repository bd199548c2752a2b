// Package models is the mathematics of estop: sliding windows and sketches; baselines of
// counts, sizes and tails; novelty, sequences and sessions, bursts of edges, the access graph;
// ranks, evidence, and how high evidence rose in the past. What is guaranteed of each, and what is
// only measured, is told in docs/models.md. The package is pure: no input or output, no clock, no
// goroutine, no lock. A value is owned by one goroutine and may be kept by value inside a bigger
// struct.
//
// Times are Unix nanoseconds, log is the natural logarithm, sizes are bytes on a 64-bit
// machine. Updates are O(1) amortised and allocate nothing once a value's memory has grown
// to what its entity needs; every bound on that memory is stated with the type.
//
// Hashes are 64-bit and must be uniformly distributed. Where agents choose the hashed
// text, hash it with a secret key, or an agent can choose names that collide.
package models
