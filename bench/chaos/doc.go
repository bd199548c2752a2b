// Package chaos runs estop as it is installed, each role and each server a process of its own on this machine, does
// harm to it by a seed while agents work, and holds what came of it against what estop promises. docs/chaos.md tells
// how to run it; package check has the promises.
package chaos
